#pragma once
// Weights, states and FP64 answers of the Mamba-2 tests.

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "ops/backend.h"
#include "tests/kernels/op_test_support.h"

namespace hlwq::test {

struct Mixer {
  MambaShape shape;
  Array<float> conv_weight, conv_bias, dt_bias, a_log, d, norm_weight;
  float dt_min = 0.0f, dt_max = std::numeric_limits<float>::infinity(), eps = 1e-5f;
  bool has_conv_bias = true;
};

[[nodiscard]] Mixer random_mixer(Random& random, const MambaShape& shape);

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

void run(Backend& backend, const Mixer& mixer, const MutF32View& projected, const States& states,
         std::span<const Segment> segments, const Activation& out);

struct ExpectedMamba {
  std::vector<double> out;  // [tokens, inner]
  std::vector<double> ssm;  // [heads, head_dim, state] after the last token
  std::vector<float> conv;  // [conv_channels, kernel-1] after the last token
};

// One whole sequence from position 0, by the closed (quadratic) form of the recurrence; `p` is
// [tokens, projected].
[[nodiscard]] ExpectedMamba expected_sequence(const Mixer& mixer, const std::vector<float>& p);

[[nodiscard]] ScratchNeeds mamba_needs(const MambaShape& shape, int64_t tokens);

}  // namespace hlwq::test
