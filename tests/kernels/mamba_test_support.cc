#include "tests/kernels/mamba_test_support.h"

#include <algorithm>
#include <cmath>

namespace hlwq::test {
namespace {

double silu(double v) { return v / (1.0 + std::exp(-v)); }

}  // namespace

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

ExpectedMamba expected_sequence(const Mixer& m, const std::vector<float>& p) {
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
  ExpectedMamba want;
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
    std::vector<double> left;  // of each token's input in the last state
    for (size_t i = 0; i < dt.size(); ++i)
      left.push_back(std::exp(decay.back() - decay[i]) * dt[i]);
    for (int64_t q = 0; q < s.head_dim; ++q) {
      const int64_t channel = h * s.head_dim + q;
      for (int64_t n = 0; n < s.state; ++n) {
        double sum = 0;
        for (int64_t i = 0; i < tokens; ++i)
          sum += left[static_cast<size_t>(i)] * at(i, channel) * at(i, b + n);
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

ScratchNeeds mamba_needs(const MambaShape& shape, int64_t tokens) {
  return {.tokens = tokens, .width = shape.inner(), .context = tokens, .mamba = shape};
}

}  // namespace hlwq::test
