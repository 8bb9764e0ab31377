// Mamba-2 between its projections, against the closed (quadratic) form of the recurrence in FP64.

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "tests/kernels/backends_under_test.h"
#include "tests/kernels/op_test_support.h"

namespace hlwq::test {
namespace {

using Mamba = BackendTest;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Mixer {
  MambaShape shape;
  Array<float> conv_weight, conv_bias, dt_bias, a_log, d, norm_weight;
  float dt_min = 0.0f, dt_max = kInfinity, eps = 1e-5f;
  bool has_conv_bias = true;
};

Mixer random_mixer(Random& random, const MambaShape& shape) {
  Mixer m;
  m.shape = shape;
  m.conv_weight = Array<float>(random.normals(shape.conv_channels() * shape.kernel, 0.5));
  m.conv_bias = Array<float>(random.normals(shape.conv_channels(), 0.2));
  m.dt_bias = Array<float>(random.normals(shape.heads, 1.0, -2.0));
  m.a_log = Array<float>(random.normals(shape.heads, 1.0));
  m.d = Array<float>(random.normals(shape.heads));
  m.norm_weight = Array<float>(random.normals(shape.inner(), 0.3, 1.0));
  return m;
}

// Pools of `slots` states, all NaN until a sequence starts.
struct States {
  States(const MambaShape& s, int64_t slots)
      : conv_floats(s.conv_channels() * (s.kernel - 1)),
        ssm_floats(s.heads * s.head_dim * s.state),
        conv(slots * conv_floats),
        ssm(slots * ssm_floats) {}
  [[nodiscard]] std::vector<float> ssm_of(int64_t slot) const {
    return {ssm.data() + slot * ssm_floats, ssm.data() + (slot + 1) * ssm_floats};
  }
  [[nodiscard]] std::vector<float> conv_of(int64_t slot) const {
    return {conv.data() + slot * conv_floats, conv.data() + (slot + 1) * conv_floats};
  }
  int64_t conv_floats, ssm_floats;
  Array<float> conv, ssm;
};

void run(Backend& backend, const Mixer& m, const MutF32View& projected, const States& states,
         std::span<const Segment> segments, const Activation& out) {
  backend.mamba({.shape = m.shape,
                 .projected = projected,
                 .conv_weight = m.conv_weight.data(),
                 .conv_bias = m.has_conv_bias ? m.conv_bias.data() : nullptr,
                 .dt_bias = m.dt_bias.data(),
                 .a_log = m.a_log.data(),
                 .d = m.d.data(),
                 .dt_min = m.dt_min,
                 .dt_max = m.dt_max,
                 .norm_weight = m.norm_weight.data(),
                 .eps = m.eps,
                 .conv_state = states.conv.data(),
                 .ssm_state = states.ssm.data(),
                 .segments = segments,
                 .out = out});
}

struct Expected {
  std::vector<double> out;  // [tokens, inner]
  std::vector<double> ssm;  // [heads, head_dim, state] after the last token
  std::vector<float> conv;  // [conv_channels, kernel-1] after the last token
};

double silu(double v) { return v / (1.0 + std::exp(-v)); }

// One whole sequence from position 0; `p` is [tokens, projected].
Expected expected_sequence(const Mixer& m, const std::vector<float>& p) {
  const MambaShape& s = m.shape;
  const int64_t width = s.projected(), inner = s.inner(), channels = s.conv_channels();
  const int64_t tokens = static_cast<int64_t>(p.size()) / width, per_group = s.heads / s.groups;
  const auto raw = [&](int64_t t, int64_t j) {
    return t < 0 ? 0.0f : p[static_cast<size_t>(t * width + inner + j)];
  };
  std::vector<double> mixed(static_cast<size_t>(tokens * channels));
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t j = 0; j < channels; ++j) {
      double sum = m.has_conv_bias ? m.conv_bias[j] : 0.0;
      for (int64_t i = 0; i < s.kernel; ++i) {
        sum +=
            static_cast<double>(m.conv_weight[j * s.kernel + i]) * raw(t - (s.kernel - 1) + i, j);
      }
      mixed[static_cast<size_t>(t * channels + j)] = silu(sum);
    }
  }
  const auto at = [&](int64_t t, int64_t j) {
    return mixed[static_cast<size_t>(t * channels + j)];
  };
  Expected want;
  want.out.resize(static_cast<size_t>(tokens * inner));
  for (int64_t h = 0; h < s.heads; ++h) {
    const int64_t b = inner + h / per_group * s.state, c = b + s.groups * s.state;
    std::vector<double> dt, decay;  // decay: sum of dt * A up to and with t
    double running = 0;
    for (int64_t t = 0; t < tokens; ++t) {
      const double v =
          static_cast<double>(p[static_cast<size_t>(t * width + inner + channels + h)]) +
          m.dt_bias[h];
      const double soft = v > 20 ? v : std::log1p(std::exp(v));
      dt.push_back(std::min<double>(std::max<double>(soft, m.dt_min), m.dt_max));
      running -= dt.back() * std::exp(static_cast<double>(m.a_log[h]));
      decay.push_back(running);
    }
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t i = 0; i <= t; ++i) {
        double bc = 0;
        for (int64_t n = 0; n < s.state; ++n) bc += at(t, c + n) * at(i, b + n);
        const double factor =
            std::exp(decay[static_cast<size_t>(t)] - decay[static_cast<size_t>(i)]) *
            dt[static_cast<size_t>(i)] * bc;
        for (int64_t q = 0; q < s.head_dim; ++q) {
          want.out[static_cast<size_t>(t * inner + h * s.head_dim + q)] +=
              factor * at(i, h * s.head_dim + q);
        }
      }
    }
    for (int64_t q = 0; q < s.head_dim; ++q) {
      const int64_t channel = h * s.head_dim + q;
      for (int64_t n = 0; n < s.state; ++n) {
        double sum = 0;
        for (int64_t i = 0; i < tokens; ++i) {
          sum += std::exp(decay.back() - decay[static_cast<size_t>(i)]) *
                 dt[static_cast<size_t>(i)] * at(i, channel) * at(i, b + n);
        }
        want.ssm.push_back(sum);
      }
      for (int64_t t = 0; t < tokens; ++t) {
        double& y = want.out[static_cast<size_t>(t * inner + channel)];
        y = (y + m.d[h] * at(t, channel)) * silu(p[static_cast<size_t>(t * width + channel)]);
      }
    }
  }
  const int64_t group_width = inner / s.groups;
  for (size_t first = 0; first < want.out.size(); first += static_cast<size_t>(group_width)) {
    double squares = 0;
    for (int64_t i = 0; i < group_width; ++i) {
      squares += std::pow(want.out[first + static_cast<size_t>(i)], 2);
    }
    const double root = std::sqrt(squares / static_cast<double>(group_width) + m.eps);
    for (int64_t i = 0; i < group_width; ++i) {
      const size_t index = first + static_cast<size_t>(i);
      want.out[index] *= m.norm_weight[static_cast<int64_t>(index) % inner] / root;
    }
  }
  for (int64_t j = 0; j < channels; ++j) {
    for (int64_t i = 0; i < s.kernel - 1; ++i) {
      want.conv.push_back(raw(tokens - (s.kernel - 1) + i, j));
    }
  }
  return want;
}

ScratchNeeds needs_for(const MambaShape& shape, int64_t tokens) {
  return {.tokens = tokens, .width = shape.inner(), .context = tokens, .mamba = shape};
}

constexpr MambaShape kShapes[] = {
    {4, 16, 2, 16, 4},   // the miniature models' kind
    {6, 8, 2, 32, 4},    // three heads share B and C
    {2, 64, 1, 128, 4},  // the 30B's head
    {2, 80, 2, 128, 4},  // heads of 80, as in the 9B
    {3, 5, 1, 7, 3},     // nothing divides anything
};

TEST_P(Mamba, WholeSequencesMatchFp64) {
  Random random(601);
  for (const MambaShape& shape : kShapes) {
    const Mixer mixer = random_mixer(random, shape);
    const auto backend = make(needs_for(shape, 150));
    for (const int64_t tokens : {1, 2, 7, 33, 150}) {
      SCOPED_TRACE(testing::Message() << shape.heads << " heads of " << shape.head_dim << ", state "
                                      << shape.state << ", " << tokens << " tokens");
      const std::vector<float> p = random.normals(tokens * shape.projected());
      const Rows projected(tokens, shape.projected(), p);
      const TestActivation out(tokens, shape.inner());
      const States states(shape, 3);
      const Segment segment{.first_token = 0, .tokens = tokens, .position = 0, .slot = 1};
      run(*backend, mixer, projected.view(), states, {&segment, 1}, out.view());
      const Expected want = expected_sequence(mixer, p);
      // FP32 exponentials and sums over the state: relative errors near 1e-6.
      EXPECT_LT(nmse(want.out, out.x.values()), 1e-10);
      EXPECT_LT(nmse(want.ssm, states.ssm_of(1)), 1e-10);
      EXPECT_TRUE(same_bits(want.conv, states.conv_of(1)));
      EXPECT_TRUE(out.x.gaps_untouched());
      out.expect_quantized();
      EXPECT_FALSE(backend->take_non_finite());
      for (const int64_t other : {0, 2}) {  // other sequences' states are not touched
        EXPECT_TRUE(std::isnan(states.ssm_of(other).front()) &&
                    std::isnan(states.ssm_of(other).back()));
        EXPECT_TRUE(std::isnan(states.conv_of(other).front()) &&
                    std::isnan(states.conv_of(other).back()));
      }
    }
  }
}

// The same sequence in pieces (single tokens and odd cuts) agrees with the whole.
TEST_P(Mamba, CutsAgreeWithTheWhole) {
  Random random(602);
  const MambaShape shape{4, 16, 2, 24, 4};
  const Mixer mixer = random_mixer(random, shape);
  const int64_t tokens = 150;
  const std::vector<float> p = random.normals(tokens * shape.projected());
  const Rows projected(tokens, shape.projected(), p);
  const Expected want = expected_sequence(mixer, p);
  const auto backend = make(needs_for(shape, tokens));
  for (const std::vector<int64_t>& cuts :
       {std::vector<int64_t>{1, 1, 1, 1, 1, 145}, {2, 63, 64, 21}, {149, 1}, {128, 22}}) {
    const States states(shape, 1);
    std::vector<float> got;
    int64_t position = 0;
    for (const int64_t count : cuts) {
      const TestActivation out(count, shape.inner());
      const Segment segment{.first_token = 0, .tokens = count, .position = position, .slot = 0};
      MutF32View piece = projected.view();
      piece.data = projected.row(position);
      piece.rows = count;
      run(*backend, mixer, piece, states, {&segment, 1}, out.view());
      const std::vector<float> values = out.x.values();
      got.insert(got.end(), values.begin(), values.end());
      position += count;
    }
    EXPECT_LT(nmse(want.out, got), 1e-10) << cuts.size() << " cuts";
    EXPECT_LT(nmse(want.ssm, states.ssm_of(0)), 1e-10);
    EXPECT_TRUE(same_bits(want.conv, states.conv_of(0)));
  }
}

// A step of several sequences, prompt pieces and single tokens mixed, gives each the bits and the
// states it gets alone.
TEST_P(Mamba, SequencesDoNotSeeEachOther) {
  Random random(603);
  const MambaShape shape{4, 16, 2, 24, 4};
  const Mixer mixer = random_mixer(random, shape);
  const auto backend = make(needs_for(shape, 90));
  const States together(shape, 5), alone(shape, 5);
  const Segment steps[2][4] = {
      {{0, 5, 0, 3}, {5, 1, 0, 0}, {6, 70, 0, 4}, {76, 2, 0, 1}},
      {{0, 1, 1, 0}, {1, 1, 2, 1}, {2, 60, 5, 3}, {62, 1, 70, 4}},
  };
  for (const auto& segments : steps) {
    const int64_t tokens = segments[3].first_token + segments[3].tokens;
    const Rows projected(tokens, shape.projected(), random.normals(tokens * shape.projected()));
    const TestActivation out(tokens, shape.inner());
    run(*backend, mixer, projected.view(), together, segments, out.view());
    out.expect_quantized();
    for (const Segment& segment : segments) {
      const TestActivation one(segment.tokens, shape.inner());
      MutF32View piece = projected.view();
      piece.data = projected.row(segment.first_token);
      piece.rows = segment.tokens;
      Segment shifted = segment;
      shifted.first_token = 0;
      run(*backend, mixer, piece, alone, {&shifted, 1}, one.view());
      for (int64_t t = 0; t < segment.tokens; ++t) {
        ASSERT_TRUE(
            same_bits(std::span<const float>(one.x.row(t), static_cast<size_t>(shape.inner())),
                      std::span<const float>(out.x.row(segment.first_token + t),
                                             static_cast<size_t>(shape.inner()))))
            << "slot " << segment.slot << " token " << t;
      }
      EXPECT_TRUE(same_bits(alone.ssm_of(segment.slot), together.ssm_of(segment.slot)));
      EXPECT_TRUE(same_bits(alone.conv_of(segment.slot), together.conv_of(segment.slot)));
    }
  }
}

// Heads that forget at once (|A| of 2e4, dt of 20 and more), heads that never forget, both clamps,
// no convolution bias.
TEST_P(Mamba, ExtremeRatesAndClamps) {
  Random random(604);
  const MambaShape shape{6, 8, 2, 16, 4};
  Mixer mixer = random_mixer(random, shape);
  mixer.has_conv_bias = false;
  mixer.a_log[0] = 10.0f;
  mixer.dt_bias[0] = 25.0f;
  mixer.a_log[1] = -20.0f;
  mixer.dt_bias[1] = -30.0f;
  mixer.dt_bias[2] = 19.5f;  // both sides of the softplus switch
  const std::vector<float> p = random.normals(140 * shape.projected());
  const Rows projected(140, shape.projected(), p);
  const auto backend = make(needs_for(shape, 140));
  for (const auto& [low, high] : {std::pair{0.0f, kInfinity}, {0.05f, 0.4f}}) {
    mixer.dt_min = low;
    mixer.dt_max = high;
    const TestActivation out(140, shape.inner());
    const States states(shape, 1);
    const Segment segment{.first_token = 0, .tokens = 140, .position = 0, .slot = 0};
    run(*backend, mixer, projected.view(), states, {&segment, 1}, out.view());
    const Expected want = expected_sequence(mixer, p);
    EXPECT_LT(nmse(want.out, out.x.values()), 1e-10) << low;
    EXPECT_LT(nmse(want.ssm, states.ssm_of(0)), 1e-10) << low;
  }
}

HLWQ_ON_EVERY_BACKEND(Mamba);

}  // namespace
}  // namespace hlwq::test
