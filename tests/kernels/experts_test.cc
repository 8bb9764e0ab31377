// The weighted sum of a token's experts.

#include <memory>
#include <utility>

#include "tests/kernels/backends_under_test.h"
#include "tests/kernels/expert_test_support.h"

namespace hlwq::test {
namespace {

using Experts = BackendTest;

enum class Form { kTiled5, kPlanes, kWide, kPlain };

// A layer of experts of one form. Every third is nowhere in memory: nobody may choose it.
struct Layer {
  Layer(Random& random, Form form, int64_t count, int64_t width, int64_t hidden) {
    const LevelGrid grid = form == Form::kTiled5   ? symmetric_grid(5)
                           : form == Form::kPlanes ? lopsided_grid(4)
                                                   : wide_grid(7);
    for (int32_t e = 0; e < count; ++e) {
      if (form == Form::kPlain) {
        plain.emplace_back(random_plain(random, DType::kBF16, hidden, width, 0.1),
                           random_plain(random, DType::kBF16, width, hidden, 0.1));
      } else {
        coded.push_back({random_coded(random, grid, layout_for(grid), hidden, width),
                         random_coded(random, grid, layout_for(grid), width, hidden)});
      }
      if (e % 3 != 0) present.push_back(e);
    }
    for (const CodedMlp& mlp : coded) experts.push_back(mlp.mlp());
    for (const auto& [up, down] : plain) experts.push_back({up.matrix(), down.matrix()});
    experts[0] = Mlp{};
    for (size_t e = 3; e < experts.size(); e += 3)
      experts[e].up.data = experts[e].down.data = nullptr;
  }
  // What a present expert gives.
  [[nodiscard]] std::vector<double> fp64(size_t e, const std::vector<float>& x,
                                         int64_t width) const {
    if (coded.empty()) return fp64_mlp(plain[e].first.values, plain[e].second.values, x, width);
    return fp64_mlp(decoded_weights(coded[e].up), decoded_weights(coded[e].down), x, width);
  }

  std::vector<CodedMlp> coded;
  std::vector<std::pair<PlainMatrix, PlainMatrix>> plain;  // up and down
  std::vector<Mlp> experts;
  std::vector<int32_t> present;
};

// y of tokens [first, first + count).
std::vector<float> run(Backend& backend, std::span<const Mlp> experts, const TestActivation& x,
                       const Choices& choices, int64_t first, int64_t count,
                       RowStart start = RowStart::kAnywhere) {
  const Rows y(count, x.cols, start);
  backend.experts({.x = x.part(first, count),
                   .experts = experts,
                   .ids = choices.ids.data() + first * choices.used,
                   .weights = choices.weights.data() + first * choices.used,
                   .experts_used = choices.used,
                   .y = y.view()});
  EXPECT_TRUE(y.gaps_untouched());
  return y.values();
}

// Fewer choices than experts, as many and more.
TEST_P(Experts, WeightedSumInAscendingOrder) {
  Random random(505);
  constexpr int64_t kExperts = 24, kUsed = 3, kWidth = 140, kHidden = 72, kMost = 60;
  for (const Form form : {Form::kTiled5, Form::kPlanes, Form::kWide, Form::kPlain}) {
    SCOPED_TRACE(testing::Message() << "form " << static_cast<int>(form));
    const Layer layer(random, form, kExperts, kWidth, kHidden);
    const std::vector<float> values = random.normals(kMost * kWidth);
    const Choices choices = random_choices(random, kMost, kUsed, layer.present);
    const auto backend = make(mlp_needs(kMost, kWidth, kHidden, kExperts, kUsed));
    TestActivation x(kMost, kWidth, values);
    x.quantize();
    std::vector<float> want;  // from one token at a time
    for (int64_t t = 0; t < kMost; ++t) {
      const std::vector<float> one = run(*backend, layer.experts, x, choices, t, 1);
      want.insert(want.end(), one.begin(), one.end());
    }
    if (integer() && form != Form::kPlain) {
      std::vector<std::vector<float>> outputs(kExperts);
      for (const int32_t e : layer.present)
        outputs[static_cast<size_t>(e)] = integer_mlp(layer.coded[static_cast<size_t>(e)], x);
      EXPECT_TRUE(same_bits(sum_of_experts(outputs, choices, kMost, kWidth), want));
    } else {
      std::vector<std::vector<double>> outputs(kExperts);
      for (const int32_t e : layer.present)
        outputs[static_cast<size_t>(e)] = layer.fp64(static_cast<size_t>(e), values, kWidth);
      EXPECT_LT(nmse(sum_of_experts(outputs, choices, kMost, kWidth), want), 1e-10);
    }
    for (const RowStart start : kRowStarts) {
      TestActivation rows(kMost, kWidth, values, start);
      rows.quantize();
      for (const int64_t tokens : {2, 7, 8, 9, 33, 60}) {
        const int64_t first = kMost - tokens;
        EXPECT_TRUE(same_bits(std::span(want).subspan(static_cast<size_t>(first * kWidth)),
                              run(*backend, layer.experts, rows, choices, first, tokens, start)))
            << tokens << " tokens";
      }
    }
    EXPECT_FALSE(backend->take_non_finite());
  }
}

// Ranges of experts one after the other give the bits of the whole.
TEST_P(Experts, InParts) {
  Random random(511);
  constexpr int64_t kExperts = 24, kUsed = 3, kWidth = 140, kHidden = 72, kTokens = 60;
  for (const Form form : {Form::kTiled5, Form::kPlanes, Form::kWide, Form::kPlain}) {
    SCOPED_TRACE(testing::Message() << "form " << static_cast<int>(form));
    const Layer layer(random, form, kExperts, kWidth, kHidden);
    const CodedMlp shared_mlp = random_mlp(random, kWidth, kHidden);
    const Mlp shared = shared_mlp.mlp();
    const auto backend = make(mlp_needs(kTokens, kWidth, kHidden, kExperts, kUsed));
    TestActivation x(kTokens, kWidth, random.normals(kTokens * kWidth));
    x.quantize();
    for (const int64_t tokens : {int64_t{2}, int64_t{9}, kTokens}) {
      const std::vector<float> old = random.normals(tokens * kWidth);
      const Choices choices = random_choices(random, tokens, kUsed, layer.present);
      std::vector<int32_t> counts(kExperts);
      for (int64_t i = 0; i < tokens * kUsed; ++i)
        ++counts[static_cast<size_t>(choices.ids.data()[i])];
      const Rows whole(tokens, kWidth), parts(tokens, kWidth);
      const Rows whole_residual(tokens, kWidth, old), parts_residual(tokens, kWidth, old);
      ExpertsArgs args{.x = x.part(0, tokens),
                       .experts = layer.experts,
                       .ids = choices.ids.data(),
                       .weights = choices.weights.data(),
                       .experts_used = kUsed,
                       .y = whole.view(),
                       .shared = &shared,
                       .residual = whole_residual.view()};
      backend->experts(args);
      args.y = parts.view();
      args.residual = parts_residual.view();
      backend->begin_experts(args);
      for (const auto& [first, last] : {std::pair{0, 1}, {1, 2}, {2, 11}, {11, 11}, {11, 24}})
        backend->some_experts(args, {.first = first, .last = last, .choices = counts});
      backend->end_experts(args);
      EXPECT_TRUE(same_bits(parts.values(), whole.values())) << tokens << " tokens";
      EXPECT_TRUE(same_bits(parts_residual.values(), whole_residual.values()));
    }
  }
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
  const auto backend = make(mlp_needs(33, kWidth, kSharedHidden, 5, kUsed));
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
  const auto backend = make(mlp_needs(kTokens, kWidth, kHidden, 3, kUsed));
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

// More experts a token than kernels for one token hold.
TEST_P(Experts, ManyChoicesOfOneToken) {
  Random random(509);
  constexpr int64_t kExperts = 64, kWidth = 128, kHidden = 40;
  const Layer layer(random, Form::kTiled5, kExperts, kWidth, kHidden);
  for (const int64_t used : {27, 28, 29, 31, 32, 42}) {
    TestActivation x(2, kWidth, random.normals(2 * kWidth));
    x.quantize();
    const Choices choices = random_choices(random, 2, used, layer.present);
    const auto backend = make(mlp_needs(2, kWidth, kHidden, kExperts, used));
    const std::vector<float> both = run(*backend, layer.experts, x, choices, 0, 2);
    for (int64_t t = 0; t < 2; ++t) {
      EXPECT_TRUE(same_bits(std::span(both).subspan(static_cast<size_t>(t * kWidth), kWidth),
                            run(*backend, layer.experts, x, choices, t, 1)))
          << used << " experts, token " << t;
    }
    if (!integer()) continue;
    std::vector<std::vector<float>> outputs(kExperts);
    for (const int32_t e : layer.present)
      outputs[static_cast<size_t>(e)] = integer_mlp(layer.coded[static_cast<size_t>(e)], x);
    EXPECT_TRUE(same_bits(sum_of_experts(outputs, choices, 2, kWidth), both)) << used;
  }
}

// A layer like the 30B's, smaller, with what its experts give, computed once for all back ends. One
// expert is in nearly every token's choice.
class ExpertBatches : public BackendTest {
 protected:
  static constexpr int64_t kExperts = 16, kWidth = 384, kHidden = 232, kSharedHidden = 464;
  static constexpr int64_t kMost = 130;
  struct Known {
    Random random{510};
    std::vector<CodedMlp> mlps;
    std::vector<Mlp> experts;
    CodedMlp shared = random_mlp(random, kWidth, kSharedHidden);
    TestActivation x{kMost, kWidth, random.normals(kMost* kWidth)};
    std::vector<float> residual = random.normals(kMost * kWidth);
    std::vector<std::vector<float>> outputs;  // of every expert for every token
    std::vector<float> shared_output;
    std::vector<int32_t> ids;
  };
  static void SetUpTestSuite() {
    known_ = std::make_unique<Known>();
    known_->x.quantize();
    for (int32_t e = 0; e < kExperts; ++e) {
      known_->mlps.push_back(random_mlp(known_->random, kWidth, kHidden));
      known_->outputs.push_back(integer_mlp(known_->mlps.back(), known_->x));
      known_->ids.push_back(e);
    }
    for (const CodedMlp& mlp : known_->mlps) known_->experts.push_back(mlp.mlp());
    known_->shared_output = integer_mlp(known_->shared, known_->x);
  }
  static void TearDownTestSuite() { known_.reset(); }  // before the GPU is gone

  inline static std::unique_ptr<Known> known_;
};

TEST_P(ExpertBatches, Bits) {
  const Known& known = *known_;
  const Mlp shared = known.shared.mlp();
  for (const int64_t used : {int64_t{6}, int64_t{1}, kExperts}) {
    Random random(511);
    const Choices choices = random_choices(random, kMost, used, known.ids, 3);
    const std::vector<float> routed = sum_of_experts(known.outputs, choices, kMost, kWidth);
    const auto backend = make(mlp_needs(kMost, kWidth, kSharedHidden, kExperts, used));
    for (const int64_t tokens : {1, 2, 3, 5, 8, 17, 40, 130}) {
      if (slow() && tokens > 17) break;
      SCOPED_TRACE(testing::Message() << used << " experts, " << tokens << " tokens");
      const auto count = static_cast<size_t>(tokens * kWidth);
      EXPECT_TRUE(same_bits(std::span(routed).first(count),
                            run(*backend, known.experts, known.x, choices, 0, tokens)));

      const Rows y(tokens, kWidth, RowStart::kAligned);
      const Rows residual(
          tokens, kWidth,
          std::vector<float>(known.residual.begin(), known.residual.begin() + tokens * kWidth),
          RowStart::kAligned);
      backend->experts({.x = known.x.part(0, tokens),
                        .experts = known.experts,
                        .ids = choices.ids.data(),
                        .weights = choices.weights.data(),
                        .experts_used = used,
                        .y = y.view(),
                        .shared = &shared,
                        .residual = residual.view()});
      std::vector<float> want_y(count), want_residual(count);
      for (size_t i = 0; i < count; ++i) {
        want_y[i] = routed[i] + known.shared_output[i];
        want_residual[i] = known.residual[i] + want_y[i];
      }
      EXPECT_TRUE(same_bits(want_y, y.values()));
      EXPECT_TRUE(same_bits(want_residual, residual.values()));
      EXPECT_TRUE(y.gaps_untouched() && residual.gaps_untouched());
    }
    EXPECT_FALSE(backend->take_non_finite());
  }
}

class IntegerExperts : public BackendTest {};

// Outputs of some experts, or of all, come from elsewhere; their rows in any order.
TEST_P(IntegerExperts, SomeArePut) {
  Random random(517);
  constexpr int64_t kExperts = 24, kUsed = 3, kWidth = 140, kHidden = 72, kMost = 60;
  const Layer layer(random, Form::kTiled5, kExperts, kWidth, kHidden);
  const auto backend = make(mlp_needs(kMost, kWidth, kHidden, kExperts, kUsed));
  TestActivation x(kMost, kWidth, random.normals(kMost * kWidth));
  x.quantize();
  for (const int64_t tokens : {int64_t{1}, int64_t{9}, kMost}) {
    const Choices choices = random_choices(random, tokens, kUsed, layer.present);
    for (const int32_t every : {1, 2, 5}) {
      const auto is_put = [&](int32_t e) { return e % every == 0; };
      const Rows whole(tokens, kWidth), y(tokens, kWidth);
      ExpertsArgs args{.x = x.part(0, tokens),
                       .experts = layer.experts,
                       .ids = choices.ids.data(),
                       .weights = choices.weights.data(),
                       .experts_used = kUsed,
                       .y = whole.view()};
      backend->experts(args);

      std::vector<ExpertAddress> addresses;
      for (int32_t e = 0; e < kExperts; ++e) {
        const Mlp& expert = layer.experts[static_cast<size_t>(e)];
        addresses.push_back(is_put(e) ? ExpertAddress{}
                                      : ExpertAddress{expert.up.data, expert.down.data});
      }
      std::vector<int32_t> counts(kExperts), put;
      std::vector<float> rows;
      for (auto i = static_cast<int32_t>(tokens * kUsed) - 1; i >= 0; --i) {
        const int32_t e = choices.ids.data()[i];
        ++counts[static_cast<size_t>(e)];
        if (!is_put(e)) continue;
        put.push_back(i);
        const std::vector<float> out = integer_mlp(layer.coded[static_cast<size_t>(e)], x);
        const auto at = out.begin() + i / kUsed * kWidth;
        rows.insert(rows.end(), at, at + kWidth);
      }
      const Array<ExpertAddress> table(addresses);
      const Array<int32_t> put_choices(put);
      const Array<float> put_rows(rows);
      args.y = y.view();
      args.table = table.data();
      backend->begin_experts(args);
      backend->some_experts(args, {.first = 0, .last = kExperts, .choices = counts});
      backend->put_experts(args, {.choices = put_choices.data(),
                                  .y = put_rows.data(),
                                  .rows = static_cast<int64_t>(put.size())});
      backend->end_experts(args);
      EXPECT_TRUE(same_bits(y.values(), whole.values())) << tokens << " tokens, every " << every;
    }
  }
  EXPECT_FALSE(backend->take_non_finite());
}

HLWQ_ON_EVERY_BACKEND(Experts);
HLWQ_ON_INTEGER_BACKENDS(IntegerExperts);
HLWQ_ON_INTEGER_BACKENDS(ExpertBatches);

}  // namespace
}  // namespace hlwq::test
