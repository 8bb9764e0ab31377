#include "tests/kernels/expert_test_support.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace hlwq::test {
namespace {

std::vector<float> relu2(std::vector<float> h) {
  for (float& v : h) {
    v = std::max(v, 0.0f);
    v = v * v;
  }
  return h;
}

template <typename T, typename Add>
std::vector<T> sum_in_order(const std::vector<std::vector<T>>& outputs, const Choices& choices,
                            int64_t tokens, int64_t width, Add add) {
  std::vector<T> sum(static_cast<size_t>(tokens * width), T{0});
  for (int64_t i = 0; i < tokens * choices.used; ++i) {
    const std::vector<T>& of_expert = outputs[static_cast<size_t>(choices.ids[i])];
    for (int64_t c = 0; c < width; ++c) {
      const auto at = static_cast<size_t>(i / choices.used * width + c);
      sum[at] = add(choices.weights[i], of_expert[at], sum[at]);
    }
  }
  return sum;
}

}  // namespace

CodedMlp random_mlp(Random& random, int64_t width, int64_t hidden) {
  return {random_coded(random, symmetric_grid(5), CodeLayout::kTiled5, hidden, width),
          random_coded(random, symmetric_grid(5), CodeLayout::kTiled5, width, hidden)};
}

std::vector<float> integer_mlp(const CodedMlp& mlp, const TestActivation& x,
                               const std::vector<float>* up_bias) {
  std::vector<float> h = integer_product(mlp.up, x);
  if (up_bias != nullptr) {
    for (size_t i = 0; i < h.size(); ++i) h[i] = h[i] + (*up_bias)[i % up_bias->size()];
  }
  TestActivation hidden(x.tokens, mlp.up.rows, relu2(std::move(h)));
  hidden.quantize();
  return integer_product(mlp.down, hidden);
}

std::vector<double> fp64_mlp(const std::vector<double>& up, const std::vector<double>& down,
                             const std::vector<float>& x, int64_t width) {
  std::vector<double> h = product(x, up, width);
  const auto hidden = static_cast<int64_t>(up.size()) / width;
  const int64_t tokens = static_cast<int64_t>(h.size()) / hidden;
  std::vector<double> y;
  for (double& v : h) v = v > 0 ? v * v : 0;
  const int64_t out = static_cast<int64_t>(down.size()) / hidden;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t o = 0; o < out; ++o) {
      double sum = 0;
      for (int64_t i = 0; i < hidden; ++i) {
        sum += h[static_cast<size_t>(t * hidden + i)] * down[static_cast<size_t>(o * hidden + i)];
      }
      y.push_back(sum);
    }
  }
  return y;
}

ScratchNeeds mlp_needs(int64_t tokens, int64_t width, int64_t hidden, int64_t experts,
                       int64_t used) {
  return {.tokens = tokens,
          .width = std::max(width, hidden),
          .mlp_width = hidden,
          .experts = experts,
          .experts_used = used};
}

Choices random_choices(Random& random, int64_t tokens, int64_t used,
                       const std::vector<int32_t>& allowed, int32_t favourite) {
  Choices choices{used, Array<int32_t>(tokens * used), Array<float>(tokens * used)};
  for (int64_t t = 0; t < tokens; ++t) {
    std::vector<int32_t> pool = allowed;
    while (static_cast<int64_t>(pool.size()) > used) {
      const auto out = pool.begin() + random.below(static_cast<int64_t>(pool.size()));
      if (*out != favourite || t % 8 == 7) pool.erase(out);
    }
    for (int64_t i = 0; i < used; ++i) {
      choices.ids[t * used + i] = pool[static_cast<size_t>(i)];
      choices.weights[t * used + i] = static_cast<float>(random.uniform(0.05, 1.5));
    }
  }
  return choices;
}

std::vector<float> sum_of_experts(const std::vector<std::vector<float>>& outputs,
                                  const Choices& choices, int64_t tokens, int64_t width) {
  return sum_in_order(outputs, choices, tokens, width,
                      [](float w, float y, float sum) { return std::fma(w, y, sum); });
}

std::vector<double> sum_of_experts(const std::vector<std::vector<double>>& outputs,
                                   const Choices& choices, int64_t tokens, int64_t width) {
  return sum_in_order(outputs, choices, tokens, width,
                      [](float w, double y, double sum) { return sum + w * y; });
}

}  // namespace hlwq::test
