#pragma once
// relu2 MLPs, alone or as experts, and what they give: by the test's own arithmetic.

#include <cstdint>
#include <vector>

#include "ops/backend.h"
#include "tests/kernels/op_test_support.h"

namespace hlwq::test {

struct CodedMlp {
  CodedMatrix up, down;
  [[nodiscard]] Mlp mlp() const { return {up.matrix(), down.matrix()}; }
};

// 5 bits, tiled.
[[nodiscard]] CodedMlp random_mlp(Random& random, int64_t width, int64_t hidden);

// y of D1 for one MLP, bit for bit: [tokens, width].
[[nodiscard]] std::vector<float> integer_mlp(const CodedMlp& mlp, const TestActivation& x,
                                             const std::vector<float>* up_bias = nullptr);
// The same in FP64 from decoded or plain weights: up [hidden, width], down [width, hidden].
[[nodiscard]] std::vector<double> fp64_mlp(const std::vector<double>& up,
                                           const std::vector<double>& down,
                                           const std::vector<float>& x, int64_t width);

[[nodiscard]] ScratchNeeds mlp_needs(int64_t tokens, int64_t width, int64_t hidden,
                                     int64_t experts = 1, int64_t used = 1);

// What the router leaves: for each token `used` experts, ascending, with weights.
struct Choices {
  int64_t used = 0;
  Array<int32_t> ids;    // [tokens, used]
  Array<float> weights;  // [tokens, used]
};

// Chosen out of `allowed` (ascending); seven of eight tokens keep `favourite` when it is not -1.
[[nodiscard]] Choices random_choices(Random& random, int64_t tokens, int64_t used,
                                     const std::vector<int32_t>& allowed, int32_t favourite = -1);

// The sum over a token's experts in the order of ExpertsArgs, from `outputs` of every expert
// (empty: never chosen), each [tokens, width]. As the op must round it, and in FP64.
[[nodiscard]] std::vector<float> sum_of_experts(const std::vector<std::vector<float>>& outputs,
                                                const Choices& choices, int64_t tokens,
                                                int64_t width);
[[nodiscard]] std::vector<double> sum_of_experts(const std::vector<std::vector<double>>& outputs,
                                                 const Choices& choices, int64_t tokens,
                                                 int64_t width);

}  // namespace hlwq::test
