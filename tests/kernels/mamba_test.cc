// Mamba-2 between its projections, against the closed (quadratic) form of the recurrence in FP64.

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "tests/kernels/backends_under_test.h"
#include "tests/kernels/mamba_test_support.h"

namespace hlwq::test {
namespace {

using Mamba = BackendTest;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

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
    const auto backend = make(mamba_needs(shape, 150));
    for (const int64_t tokens : {1, 2, 7, 33, 150}) {
      SCOPED_TRACE(testing::Message() << shape.heads << " heads of " << shape.head_dim << ", state "
                                      << shape.state << ", " << tokens << " tokens");
      const std::vector<float> p = random.normals(tokens * shape.projected());
      const Rows projected(tokens, shape.projected(), p);
      const TestActivation out(tokens, shape.inner());
      const States states(shape, 3);
      const Segment segment{.first_token = 0, .tokens = tokens, .position = 0, .slot = 1};
      run(*backend, mixer, projected.view(), states, {&segment, 1}, out.view());
      const ExpectedMamba want = expected_sequence(mixer, p);
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

// However a sequence is cut into steps, its bits are the same, outputs and states; wherever rows
// start.
TEST_P(Mamba, CutsDoNotChangeBits) {
  Random random(602);
  const int64_t tokens = 75;
  for (const MambaShape& shape :
       {MambaShape{4, 64, 2, 128, 4}, MambaShape{8, 64, 2, 64, 4}, MambaShape{4, 80, 2, 128, 4},
        MambaShape{4, 16, 2, 24, 4}, MambaShape{4, 4, 4, 4, 1}, MambaShape{2, 12, 1, 100, 2},
        MambaShape{2, 64, 1, 128, 8}, MambaShape{3, 5, 1, 7, 3}}) {
    SCOPED_TRACE(testing::Message() << shape.heads << " heads of " << shape.head_dim << ", state "
                                    << shape.state << ", kernel " << shape.kernel);
    const Mixer mixer = random_mixer(random, shape);
    const std::vector<float> p = random.normals(tokens * shape.projected());
    const auto backend = make(mamba_needs(shape, tokens));
    std::vector<float> whole, whole_ssm, whole_conv;  // of the first way
    for (const RowStart start : kRowStarts) {
      const Rows projected(tokens, shape.projected(), p, start);
      for (const std::vector<int64_t>& cuts : {std::vector<int64_t>{tokens},
                                               std::vector<int64_t>(tokens, 1),
                                               {1, 1, 1, 2, 1, 3, 16, 15, 17, 1, 16, 1},
                                               {33, 42},
                                               {2, 2, 1, 70},
                                               {64, 11}}) {
        const States states(shape, 2);
        std::vector<float> got;
        int64_t position = 0;
        for (const int64_t count : cuts) {
          const TestActivation out(count, shape.inner(), start);
          const Segment segment{.first_token = 0, .tokens = count, .position = position, .slot = 1};
          run(*backend, mixer, projected.part(position, count), states, {&segment, 1}, out.view());
          EXPECT_TRUE(out.x.gaps_untouched());
          out.expect_quantized();
          const std::vector<float> values = out.x.values();
          got.insert(got.end(), values.begin(), values.end());
          position += count;
        }
        if (whole.empty()) {
          whole = got;
          whole_ssm = states.ssm_of(1);
          whole_conv = states.conv_of(1);
          const ExpectedMamba want = expected_sequence(mixer, p);
          EXPECT_LT(nmse(want.out, got), 1e-10);
          EXPECT_LT(nmse(want.ssm, whole_ssm), 1e-10);
          EXPECT_TRUE(same_bits(want.conv, whole_conv));
        }
        EXPECT_TRUE(same_bits(whole, got)) << cuts.size() << " pieces";
        EXPECT_TRUE(same_bits(whole_ssm, states.ssm_of(1))) << cuts.size() << " pieces";
        EXPECT_TRUE(same_bits(whole_conv, states.conv_of(1))) << cuts.size() << " pieces";
      }
    }
  }
}

// A step of several sequences gives each the bits and the states it gets alone.
void expect_as_alone(Backend& backend, const Mixer& mixer, const States& together,
                     const States& alone, std::span<const Segment> segments, const Rows& projected,
                     RowStart start) {
  const MambaShape& shape = mixer.shape;
  const TestActivation out(projected.view().rows, shape.inner(), start);
  run(backend, mixer, projected.view(), together, segments, out.view());
  out.expect_quantized();
  EXPECT_TRUE(out.x.gaps_untouched());
  for (const Segment& segment : segments) {
    const TestActivation one(segment.tokens, shape.inner());
    Segment shifted = segment;
    shifted.first_token = 0;
    run(backend, mixer, projected.part(segment.first_token, segment.tokens), alone, {&shifted, 1},
        one.view());
    for (int64_t t = 0; t < segment.tokens; ++t) {
      ASSERT_TRUE(same_bits(one.x.row_values(t), out.x.row_values(segment.first_token + t)))
          << "slot " << segment.slot << " token " << t;
    }
    EXPECT_TRUE(same_bits(alone.ssm_of(segment.slot), together.ssm_of(segment.slot)));
    EXPECT_TRUE(same_bits(alone.conv_of(segment.slot), together.conv_of(segment.slot)));
  }
}

// Prompt pieces and single tokens mixed.
TEST_P(Mamba, SequencesDoNotSeeEachOther) {
  Random random(603);
  const MambaShape shape{4, 16, 2, 24, 4};
  const Mixer mixer = random_mixer(random, shape);
  const auto backend = make(mamba_needs(shape, 90));
  const States together(shape, 5), alone(shape, 5);
  const Segment steps[2][4] = {
      {{0, 5, 0, 3}, {5, 1, 0, 0}, {6, 70, 0, 4}, {76, 2, 0, 1}},
      {{0, 1, 1, 0}, {1, 1, 2, 1}, {2, 60, 5, 3}, {62, 1, 70, 4}},
  };
  for (const auto& segments : steps) {
    const int64_t tokens = segments[3].first_token + segments[3].tokens;
    const Rows projected(tokens, shape.projected(), random.normals(tokens * shape.projected()));
    expect_as_alone(*backend, mixer, together, alone, segments, projected, RowStart::kAnywhere);
  }
}

// As many sequences as a server has, in any order of slots, each step mixed anew.
TEST_P(Mamba, ManySequences) {
  Random random(605);
  const MambaShape shape{4, 64, 2, 128, 4};
  const Mixer mixer = random_mixer(random, shape);
  const int64_t sequences = slow() ? 13 : 40;
  const auto backend = make(mamba_needs(shape, 400));
  const States together(shape, sequences), alone(shape, sequences);
  std::vector<int64_t> position(static_cast<size_t>(sequences), 0);
  for (int64_t step = 0; step < 3; ++step) {
    std::vector<Segment> segments;
    int64_t tokens = 0;
    for (int64_t s = 0; s < sequences; ++s) {
      const int64_t slot = (s * 3 + 1) % sequences;
      const int64_t count = (s * 7 + step) % 5 == 0 ? 1 + (s * 13 + step * 5) % 20 : 1;
      int64_t& at = position[static_cast<size_t>(slot)];
      segments.push_back({tokens, count, at, slot});
      at += count;
      tokens += count;
    }
    const RowStart start = kRowStarts[step % 2];
    const Rows projected(tokens, shape.projected(), random.normals(tokens * shape.projected()),
                         start);
    expect_as_alone(*backend, mixer, together, alone, segments, projected, start);
  }
}

TEST_P(Mamba, NonFiniteSetsTheFlag) {
  Random random(606);
  const MambaShape shape{4, 64, 2, 64, 4};
  const Mixer mixer = random_mixer(random, shape);
  const auto backend = make(mamba_needs(shape, 5));
  for (const int64_t tokens : {1, 5}) {
    const Rows projected(tokens, shape.projected(), random.normals(tokens * shape.projected()));
    projected.row(tokens - 1)[shape.projected() - 1] = std::numeric_limits<float>::quiet_NaN();
    const TestActivation out(tokens, shape.inner());
    const States states(shape, 1);
    const Segment segment{.first_token = 0, .tokens = tokens, .position = 0, .slot = 0};
    run(*backend, mixer, projected.view(), states, {&segment, 1}, out.view());
    EXPECT_TRUE(backend->take_non_finite()) << tokens;
    EXPECT_FALSE(backend->take_non_finite());
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
  const auto backend = make(mamba_needs(shape, 140));
  for (const auto& [low, high] : {std::pair{0.0f, kInfinity}, {0.05f, 0.4f}}) {
    mixer.dt_min = low;
    mixer.dt_max = high;
    const TestActivation out(140, shape.inner());
    const States states(shape, 1);
    const Segment segment{.first_token = 0, .tokens = 140, .position = 0, .slot = 0};
    run(*backend, mixer, projected.view(), states, {&segment, 1}, out.view());
    const ExpectedMamba want = expected_sequence(mixer, p);
    EXPECT_LT(nmse(want.out, out.x.values()), 1e-10) << low;
    EXPECT_LT(nmse(want.ssm, states.ssm_of(0)), 1e-10) << low;
  }
}

HLWQ_ON_EVERY_BACKEND(Mamba);

}  // namespace
}  // namespace hlwq::test
