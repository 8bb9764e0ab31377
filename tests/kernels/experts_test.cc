// relu2 MLPs and the weighted sum of a token's experts.

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/kernels/backends_under_test.h"
#include "tests/kernels/op_test_support.h"

namespace hlwq::test {
namespace {

using MlpOp = BackendTest;
class IntegerMlp : public BackendTest {};
using Experts = BackendTest;

struct CodedMlp {
  CodedMatrix up, down;
  [[nodiscard]] Mlp mlp() const { return {up.matrix(), down.matrix()}; }
};

CodedMlp random_mlp(Random& random, int64_t width, int64_t hidden) {
  return {random_coded(random, symmetric_grid(5), CodeLayout::kTiled5, hidden, width),
          random_coded(random, symmetric_grid(5), CodeLayout::kTiled5, width, hidden)};
}

std::vector<float> relu2(std::vector<float> h) {
  for (float& v : h) {
    v = std::max(v, 0.0f);
    v = v * v;
  }
  return h;
}

// y of D1 for one MLP, from the test's own integer products: [tokens, width].
std::vector<float> integer_mlp(const CodedMlp& mlp, const TestActivation& x,
                               const std::vector<float>* up_bias = nullptr) {
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

ScratchNeeds needs_for(int64_t tokens, int64_t width, int64_t hidden, int64_t experts = 1,
                       int64_t used = 1) {
  return {.tokens = tokens,
          .width = std::max(width, hidden),
          .mlp_width = hidden,
          .experts = experts,
          .experts_used = used};
}

TEST_P(MlpOp, Coded) {
  Random random(501);
  struct Shape {
    int64_t width, hidden;
  };
  for (const Shape shape : {Shape{256, 160}, {72, 200}, {128, 128}, {200, 1}, {384, 1288}}) {
    const CodedMlp mlp = random_mlp(random, shape.width, shape.hidden);
    const auto backend = make(needs_for(33, shape.width, shape.hidden));
    for (const int64_t tokens : {1, 2, 7, 33}) {
      SCOPED_TRACE(testing::Message() << shape.width << " to " << shape.hidden << ", " << tokens);
      TestActivation x(tokens, shape.width, random.normals(tokens * shape.width));
      x.quantize();
      const Rows y(tokens, shape.width);
      if (integer()) {
        backend->mlp({.x = x.view(), .mlp = mlp.mlp(), .y = y.view()});
        EXPECT_TRUE(same_bits(integer_mlp(mlp, x), y.values()));
      } else if (tokens <= 2) {
        backend->mlp({.x = x.floats(), .mlp = mlp.mlp(), .y = y.view()});
        EXPECT_LT(nmse(fp64_mlp(decoded_weights(mlp.up), decoded_weights(mlp.down), x.x.values(),
                                shape.width),
                       y.values()),
                  1e-10);
      }
      EXPECT_FALSE(backend->take_non_finite());
    }
  }
}

TEST_P(MlpOp, BiasesAndAccumulate) {
  Random random(502);
  const int64_t width = 130, hidden = 90, tokens = 5;
  const CodedMlp mlp = random_mlp(random, width, hidden);
  const std::vector<float> up_bias = random.normals(hidden), down_bias = random.normals(width);
  const std::vector<float> old = random.normals(tokens * width);
  const Array<float> up_array(up_bias), down_array(down_bias);
  TestActivation x(tokens, width, random.normals(tokens * width));
  x.quantize();
  const auto backend = make(needs_for(tokens, width, hidden));
  const Rows without_down(tokens, width), y(tokens, width, old);
  backend->mlp(
      {.x = x.view(), .mlp = mlp.mlp(), .up_bias = up_array.data(), .y = without_down.view()});
  backend->mlp({.x = x.view(),
                .mlp = mlp.mlp(),
                .up_bias = up_array.data(),
                .down_bias = down_array.data(),
                .y = y.view(),
                .accumulate = true});
  if (integer()) {
    EXPECT_TRUE(same_bits(integer_mlp(mlp, x, &up_bias), without_down.values()));
  }
  std::vector<float> want = without_down.values();
  for (size_t i = 0; i < want.size(); ++i) want[i] = old[i] + (want[i] + down_bias[i % 130]);
  EXPECT_TRUE(same_bits(want, y.values()));
}

TEST_P(MlpOp, Plain) {
  Random random(503);
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const PlainMatrix up = random_plain(random, dtype, 70, 150, 0.1);
    const PlainMatrix down = random_plain(random, dtype, 150, 70, 0.1);
    const std::vector<float> x = random.normals(7 * 150);
    const Rows in(7, 150, x), y(7, 150);
    make(needs_for(7, 150, 70))
        ->mlp({.x = {in.view(), {}}, .mlp = {up.matrix(), down.matrix()}, .y = y.view()});
    EXPECT_LT(nmse(fp64_mlp(up.values, down.values, x, 150), y.values()), 1e-10);
  }
}

// A hidden layer that overflows must not reach the output as ordinary numbers unnoticed.
TEST_P(IntegerMlp, NonFiniteHiddenLayerSetsTheFlag) {
  Random random(504);
  const CodedMlp mlp = random_mlp(random, 128, 128);
  TestActivation x(2, 128, random.normals(256, 1e30));
  x.quantize();
  const Rows y(2, 128);
  const auto backend = make(needs_for(2, 128, 128));
  backend->mlp({.x = x.view(), .mlp = mlp.mlp(), .y = y.view()});
  EXPECT_TRUE(backend->take_non_finite());
  EXPECT_FALSE(backend->take_non_finite());
}

// Tokens that choose `used` of the experts of `allowed`, ascending, with weights.
struct Choices {
  Array<int32_t> ids;
  Array<float> weights;
};

Choices random_choices(Random& random, int64_t tokens, int64_t used,
                       const std::vector<int32_t>& allowed) {
  Choices choices{Array<int32_t>(tokens * used), Array<float>(tokens * used)};
  for (int64_t t = 0; t < tokens; ++t) {
    std::vector<int32_t> pool = allowed;
    while (static_cast<int64_t>(pool.size()) > used) {
      pool.erase(pool.begin() + random.below(static_cast<int64_t>(pool.size())));
    }
    for (int64_t i = 0; i < used; ++i) {
      choices.ids[t * used + i] = pool[static_cast<size_t>(i)];
      choices.weights[t * used + i] = static_cast<float>(random.uniform(0.05, 1.5));
    }
  }
  return choices;
}

TEST_P(Experts, WeightedSumInAscendingOrder) {
  Random random(505);
  constexpr int64_t kWidth = 256, kHidden = 160, kUsed = 3;
  std::vector<CodedMlp> mlps;
  for (int e = 0; e < 6; ++e) mlps.push_back(random_mlp(random, kWidth, kHidden));
  // Experts 0 and 4 are nowhere in memory: nobody chooses them.
  std::vector<Mlp> experts;
  for (const CodedMlp& mlp : mlps) experts.push_back(mlp.mlp());
  experts[0] = Mlp{};
  experts[4].up.data = experts[4].down.data = nullptr;
  std::vector<std::vector<double>> up, down;
  if (!integer()) {
    for (const CodedMlp& mlp : mlps) {
      up.push_back(decoded_weights(mlp.up));
      down.push_back(decoded_weights(mlp.down));
    }
  }
  const auto backend = make(needs_for(33, kWidth, kHidden, 6, kUsed));
  for (const int64_t tokens : {1, 2, 7, 33}) {
    SCOPED_TRACE(tokens);
    TestActivation x(tokens, kWidth, random.normals(tokens * kWidth));
    x.quantize();
    const Choices choices = random_choices(random, tokens, kUsed, {1, 2, 3, 5});
    const auto run = [&](const Activation& in, int64_t first) {
      const Rows y(in.x.rows, kWidth);
      backend->experts({.x = in,
                        .experts = experts,
                        .ids = choices.ids.data() + first * kUsed,
                        .weights = choices.weights.data() + first * kUsed,
                        .experts_used = kUsed,
                        .y = y.view()});
      EXPECT_TRUE(y.gaps_untouched());
      return y.values();
    };
    const std::vector<float> got = run(x.view(), 0);

    std::vector<float> want_bits(got.size(), 0.0f);
    std::vector<double> want(got.size(), 0.0);
    for (size_t e = 0; e < mlps.size(); ++e) {
      if (e == 0 || e == 4) continue;
      const std::vector<float> all_bits =
          integer() ? integer_mlp(mlps[e], x) : std::vector<float>(got.size());
      const std::vector<double> all = integer() ? std::vector<double>(got.size())
                                                : fp64_mlp(up[e], down[e], x.x.values(), kWidth);
      for (int64_t i = 0; i < tokens * kUsed; ++i) {
        if (choices.ids[i] != static_cast<int32_t>(e)) continue;
        for (int64_t c = 0; c < kWidth; ++c) {
          const auto at = static_cast<size_t>(i / kUsed * kWidth + c);
          want_bits[at] = std::fma(choices.weights[i], all_bits[at], want_bits[at]);
          want[at] += choices.weights[i] * all[at];
        }
      }
    }
    if (integer()) {
      EXPECT_TRUE(same_bits(want_bits, got));
    } else {
      EXPECT_LT(nmse(want, got), 1e-10);
    }
    for (int64_t t = 0; t < tokens; ++t) {  // and each token alone
      EXPECT_TRUE(same_bits(std::span(got).subspan(static_cast<size_t>(t * kWidth), kWidth),
                            run(x.token(t), t)))
          << "token " << t;
    }
  }
  EXPECT_FALSE(backend->take_non_finite());
}

TEST_P(Experts, Plain) {
  Random random(506);
  std::vector<PlainMatrix> up, down;
  std::vector<Mlp> experts;
  for (int e = 0; e < 4; ++e) {
    up.push_back(random_plain(random, DType::kBF16, 40, 64, 0.2));
    down.push_back(random_plain(random, DType::kBF16, 64, 40, 0.2));
  }
  for (size_t e = 0; e < 4; ++e) experts.push_back({up[e].matrix(), down[e].matrix()});
  const std::vector<float> x = random.normals(9 * 64);
  const Rows in(9, 64, x), y(9, 64);
  const Choices choices = random_choices(random, 9, 2, {0, 1, 2, 3});
  make(needs_for(9, 64, 40, 4, 2))
      ->experts({.x = {in.view(), {}},
                 .experts = experts,
                 .ids = choices.ids.data(),
                 .weights = choices.weights.data(),
                 .experts_used = 2,
                 .y = y.view()});
  std::vector<double> want(9 * 64, 0.0);
  for (int64_t i = 0; i < 18; ++i) {
    const auto e = static_cast<size_t>(choices.ids[i]);
    const std::vector<double> all = fp64_mlp(up[e].values, down[e].values, x, 64);
    for (int64_t c = 0; c < 64; ++c) {
      const auto at = static_cast<size_t>(i / 2 * 64 + c);
      want[at] += choices.weights[i] * all[at];
    }
  }
  EXPECT_LT(nmse(want, y.values()), 1e-10);
}

// The shared expert joins the routed sum by one addition, and the whole the residual by another.
TEST_P(Experts, SharedExpertAndResidual) {
  Random random(507);
  constexpr int64_t kWidth = 200, kHidden = 144, kSharedHidden = 280, kUsed = 2;
  std::vector<CodedMlp> mlps;
  std::vector<Mlp> experts;
  for (int e = 0; e < 5; ++e) mlps.push_back(random_mlp(random, kWidth, kHidden));
  for (const CodedMlp& mlp : mlps) experts.push_back(mlp.mlp());
  const CodedMlp shared_mlp = random_mlp(random, kWidth, kSharedHidden);
  const Mlp shared = shared_mlp.mlp();
  const auto backend = make(needs_for(33, kWidth, kSharedHidden, 5, kUsed));
  for (const int64_t tokens : {1, 3, 33}) {
    SCOPED_TRACE(tokens);
    TestActivation x(tokens, kWidth, random.normals(tokens * kWidth));
    x.quantize();
    const std::vector<float> old = random.normals(tokens * kWidth);
    const Choices choices = random_choices(random, tokens, kUsed, {0, 1, 2, 3, 4});
    const Rows routed(tokens, kWidth), alone(tokens, kWidth), y(tokens, kWidth);
    const Rows only_routed(tokens, kWidth, old), residual(tokens, kWidth, old);
    ExpertsArgs args{.x = x.view(),
                     .experts = experts,
                     .ids = choices.ids.data(),
                     .weights = choices.weights.data(),
                     .experts_used = kUsed,
                     .y = routed.view()};
    args.residual = only_routed.view();
    backend->experts(args);
    args.y = y.view();
    args.shared = &shared;
    args.residual = residual.view();
    backend->experts(args);
    backend->mlp({.x = x.view(), .mlp = shared, .y = alone.view()});
    if (integer()) {
      EXPECT_TRUE(same_bits(integer_mlp(shared_mlp, x), alone.values()));
    }
    std::vector<float> want = routed.values(), want_routed = old, want_residual = old;
    for (size_t i = 0; i < want.size(); ++i) {
      want_routed[i] = want_routed[i] + want[i];
      want[i] = want[i] + alone.values()[i];
      want_residual[i] = want_residual[i] + want[i];
    }
    EXPECT_TRUE(same_bits(want_routed, only_routed.values()));
    EXPECT_TRUE(same_bits(want, y.values()));
    EXPECT_TRUE(same_bits(want_residual, residual.values()));
    EXPECT_TRUE(y.gaps_untouched() && residual.gaps_untouched());
  }
  EXPECT_FALSE(backend->take_non_finite());
}

// A shared expert that is plain beside coded ones, and the other way round.
TEST_P(Experts, SharedExpertOfAnotherType) {
  Random random(508);
  constexpr int64_t kWidth = 128, kHidden = 64, kUsed = 2, kTokens = 5;
  std::vector<CodedMlp> coded;
  std::vector<PlainMatrix> up, down;
  std::vector<Mlp> coded_experts, plain_experts;
  for (int e = 0; e < 3; ++e) {
    coded.push_back(random_mlp(random, kWidth, kHidden));
    up.push_back(random_plain(random, DType::kBF16, kHidden, kWidth, 0.1));
    down.push_back(random_plain(random, DType::kBF16, kWidth, kHidden, 0.1));
  }
  for (size_t e = 0; e < 3; ++e) {
    coded_experts.push_back(coded[e].mlp());
    plain_experts.push_back({up[e].matrix(), down[e].matrix()});
  }
  TestActivation x(kTokens, kWidth, random.normals(kTokens * kWidth));
  x.quantize();
  const Choices choices = random_choices(random, kTokens, kUsed, {0, 1, 2});
  const auto backend = make(needs_for(kTokens, kWidth, kHidden, 3, kUsed));
  for (const bool plain_shared : {true, false}) {
    const std::vector<Mlp>& experts = plain_shared ? coded_experts : plain_experts;
    const Mlp& shared = plain_shared ? plain_experts[1] : coded_experts[1];
    const Rows routed(kTokens, kWidth), alone(kTokens, kWidth), y(kTokens, kWidth);
    ExpertsArgs args{.x = x.view(),
                     .experts = experts,
                     .ids = choices.ids.data(),
                     .weights = choices.weights.data(),
                     .experts_used = kUsed,
                     .y = routed.view()};
    backend->experts(args);
    args.y = y.view();
    args.shared = &shared;
    backend->experts(args);
    backend->mlp({.x = x.view(), .mlp = shared, .y = alone.view()});
    std::vector<float> want = routed.values();
    for (size_t i = 0; i < want.size(); ++i) want[i] = want[i] + alone.values()[i];
    EXPECT_TRUE(same_bits(want, y.values())) << plain_shared;
  }
}

HLWQ_ON_EVERY_BACKEND(MlpOp);
HLWQ_ON_INTEGER_BACKENDS(IntegerMlp);
HLWQ_ON_EVERY_BACKEND(Experts);

}  // namespace
}  // namespace hlwq::test
