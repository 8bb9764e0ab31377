// The router: the norm before it, choice by corrected score within the best groups, weight by the
// score itself.

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "tests/kernels/backends_under_test.h"
#include "tests/kernels/op_test_support.h"

namespace hlwq::test {
namespace {

using Route = BackendTest;

struct Router {
  PlainMatrix gate;
  std::vector<float> bias;
  int64_t groups = 1, groups_used = 1, experts_used = 1;
  bool normalize = true;
  float scale = 1.0f;
  std::vector<float> norm = std::vector<float>(static_cast<size_t>(gate.cols), 1.0f);
};

struct Choice {
  TestActivation u;
  Array<int32_t> ids;
  Array<float> weights;
};

constexpr float kEps = 1e-5f;

Choice run(Backend& backend, const Router& router, const MutF32View& x) {
  const Array<float> bias(router.bias), norm(router.norm);
  Choice choice{TestActivation(x.rows, x.cols), Array<int32_t>(x.rows * router.experts_used),
                Array<float>(x.rows * router.experts_used)};
  backend.route({.norm = {.x = x, .weight = norm.data(), .eps = kEps},
                 .u = choice.u.view(),
                 .gate = router.gate.matrix(),
                 .correction_bias = bias.data(),
                 .groups = router.groups,
                 .groups_used = router.groups_used,
                 .experts_used = router.experts_used,
                 .normalize = router.normalize,
                 .scale = router.scale,
                 .ids = choice.ids.data(),
                 .weights = choice.weights.data()});
  EXPECT_TRUE(choice.u.x.gaps_untouched());
  return choice;
}

// u is what the norm alone makes of x, bit for bit, with its int8 form.
void expect_normed(Backend& backend, const Router& router, const MutF32View& x,
                   const TestActivation& u) {
  const Array<float> norm(router.norm);
  const TestActivation want(x.rows, x.cols);
  backend.rms_norm({.x = x, .weight = norm.data(), .eps = kEps, .out = want.view()});
  EXPECT_TRUE(same_bits(want.x.values(), u.x.values()));
  u.expect_quantized();
}

struct Expected {
  std::vector<int32_t> ids;  // ascending
  std::vector<double> weights;
  double margin;  // least distance of any decision from going the other way
};

// Indices by falling value, lower index first among equals.
std::vector<size_t> order(const std::vector<double>& values) {
  std::vector<size_t> index(values.size());
  std::iota(index.begin(), index.end(), size_t{0});
  std::stable_sort(index.begin(), index.end(),
                   [&](size_t a, size_t b) { return values[a] > values[b]; });
  return index;
}

Expected expected_choice(const Router& router, const std::vector<float>& u) {
  const std::vector<double> logits = product(u, router.gate.values, router.gate.cols);
  const size_t experts = logits.size(), groups = static_cast<size_t>(router.groups);
  const size_t group_size = experts / groups;
  const auto groups_used = static_cast<size_t>(router.groups_used);
  const auto used = static_cast<size_t>(router.experts_used);
  std::vector<double> scores, corrected, group_scores;
  for (size_t e = 0; e < experts; ++e) {
    scores.push_back(1.0 / (1.0 + std::exp(-logits[e])));
    corrected.push_back(scores[e] + router.bias[e]);
  }
  Expected want{{}, {}, std::numeric_limits<double>::infinity()};
  if (groups > 1) {
    for (size_t g = 0; g < groups; ++g) {
      std::vector<double> members(corrected.begin() + static_cast<int64_t>(g * group_size),
                                  corrected.begin() + static_cast<int64_t>((g + 1) * group_size));
      std::sort(members.rbegin(), members.rend());
      group_scores.push_back(members[0] + (group_size > 1 ? members[1] : 0.0));
    }
    const std::vector<size_t> best = order(group_scores);
    if (groups_used < groups) {
      want.margin = group_scores[best[groups_used - 1]] - group_scores[best[groups_used]];
    }
    for (size_t g = groups_used; g < groups; ++g) {
      for (size_t e = 0; e < group_size; ++e) {
        corrected[best[g] * group_size + e] = -std::numeric_limits<double>::infinity();
      }
    }
  }
  const std::vector<size_t> best = order(corrected);
  if (used < experts) {
    want.margin = std::min(want.margin, corrected[best[used - 1]] - corrected[best[used]]);
  }
  double sum = 0;
  for (size_t i = 0; i < used; ++i) {
    want.ids.push_back(static_cast<int32_t>(best[i]));
    sum += scores[best[i]];
  }
  std::sort(want.ids.begin(), want.ids.end());
  for (const int32_t id : want.ids) {
    const double score = scores[static_cast<size_t>(id)];
    want.weights.push_back((router.normalize ? score / (sum + 1e-20) : score) * router.scale);
  }
  return want;
}

TEST_P(Route, MatchesFp64) {
  Random random(401);
  struct Case {
    int64_t experts, width, groups, groups_used, used;
    bool normalize;
    DType dtype;
  };
  for (const Case& c : {Case{128, 96, 1, 1, 6, true, DType::kBF16},
                        {16, 200, 4, 2, 3, true, DType::kF32},
                        {24, 33, 8, 3, 4, false, DType::kF16},
                        {512, 64, 8, 8, 22, true, DType::kBF16},
                        {600, 32, 1, 1, 8, true, DType::kF32},
                        {2048, 16, 64, 5, 33, true, DType::kF16},
                        {7, 16, 7, 3, 2, true, DType::kF32},
                        {5, 1, 1, 1, 5, false, DType::kF32}}) {
    const Router router{random_plain(random, c.dtype, c.experts, c.width, 1.0 / std::sqrt(c.width)),
                        random.normals(c.experts, 0.3),
                        c.groups,
                        c.groups_used,
                        c.used,
                        c.normalize,
                        2.5f,
                        random.normals(c.width, 0.3, 1.0)};
    const auto backend =
        make({.tokens = 33, .width = c.width, .experts = c.experts, .experts_used = c.used});
    const Rows x(33, c.width, random.normals(33 * c.width));
    const Choice got = run(*backend, router, x.view());
    expect_normed(*backend, router, x.view(), got.u);
    int clear = 0;
    for (int64_t t = 0; t < 33; ++t) {
      const std::span<const float> u = got.u.x.row_values(t);
      const Expected want = expected_choice(router, {u.begin(), u.end()});
      if (want.margin < 1e-5) continue;  // FP32 rounding of a score may decide
      ++clear;
      for (int64_t i = 0; i < c.used; ++i) {
        SCOPED_TRACE(testing::Message()
                     << c.experts << " experts, token " << t << ", choice " << i);
        EXPECT_EQ(want.ids[static_cast<size_t>(i)], got.ids[t * c.used + i]);
        // The sigmoid of an FP32 logit of size up to 4: absolute error near 1e-6.
        EXPECT_NEAR(want.weights[static_cast<size_t>(i)], got.weights[t * c.used + i], 5e-6);
      }
    }
    EXPECT_GT(clear, 20);
  }
}

// Nor does it matter where rows start. One token may take a path of its own.
TEST_P(Route, TokensDoNotSeeEachOther) {
  Random random(402);
  struct Case {
    int64_t experts, width, groups, groups_used, used;
    DType dtype;
  };
  for (const Case& c : {Case{40, 130, 1, 1, 6, DType::kBF16},
                        {128, 1024, 1, 1, 6, DType::kF32},
                        {24, 96, 4, 2, 3, DType::kF16},
                        {16, 204, 1, 1, 4, DType::kF32},
                        {512, 256, 8, 4, 22, DType::kBF16},
                        {600, 64, 1, 1, 8, DType::kBF16},
                        {300, 4224, 1, 1, 8, DType::kF16},
                        {1, 8, 1, 1, 1, DType::kF32},
                        {128, 2688, 1, 1, 6, DType::kF32}}) {
    const int64_t most = slow() && c.width > 200 ? 9 : kLargestBatch;
    const Router router{random_plain(random, c.dtype, c.experts, c.width, 1.0 / std::sqrt(c.width)),
                        random.normals(c.experts, 0.1),
                        c.groups,
                        c.groups_used,
                        c.used,
                        true,
                        2.5f,
                        random.normals(c.width, 0.3, 1.0)};
    const std::vector<float> values = random.normals(most * c.width);
    const auto backend =
        make({.tokens = most, .width = c.width, .experts = c.experts, .experts_used = c.used});
    std::vector<float> want_u, want_weights;  // from one token at a time
    std::vector<int32_t> want_ids;
    const auto expect_same = [&](int64_t first, const Choice& got) {
      SCOPED_TRACE(testing::Message() << c.experts << " x " << c.width << ", " << got.u.tokens
                                      << " tokens from " << first);
      const auto u = std::span(want_u).subspan(static_cast<size_t>(first * c.width));
      const auto at = static_cast<size_t>(first * c.used), count = got.ids.span().size();
      EXPECT_TRUE(
          same_bits(u.first(static_cast<size_t>(got.u.tokens * c.width)), got.u.x.values()));
      got.u.expect_quantized();
      EXPECT_TRUE(same_bits(std::span(want_weights).subspan(at, count), got.weights.span()));
      EXPECT_TRUE(std::equal(got.ids.span().begin(), got.ids.span().end(),
                             want_ids.begin() + static_cast<int64_t>(at)));
    };
    for (const RowStart start : kRowStarts) {
      const Rows x(most, c.width, values, start);
      for (int64_t t = 0; t < most; ++t) {
        const Choice one = run(*backend, router, x.row_view(t));
        if (start == kRowStarts[0]) {
          const std::vector<float> u = one.u.x.values();
          want_u.insert(want_u.end(), u.begin(), u.end());
          want_weights.insert(want_weights.end(), one.weights.span().begin(),
                              one.weights.span().end());
          want_ids.insert(want_ids.end(), one.ids.span().begin(), one.ids.span().end());
        }
        expect_same(t, one);
      }
      for (const int64_t tokens : kBatches) {
        if (tokens > most) break;
        expect_same(most - tokens, run(*backend, router, x.part(most - tokens, tokens)));
      }
    }
  }
}

TEST_P(Route, WithoutQuantizedRows) {
  Random random(405);
  for (const int64_t tokens : {1, 3}) {
    const Router router{random_plain(random, DType::kF32, 16, 256), random.normals(16)};
    const TestActivation x(tokens, 256, random.normals(tokens * 256)), u(tokens, 256);
    const Array<float> norm(router.norm), bias(router.bias), weights(tokens);
    const Array<int32_t> ids(tokens);
    make({.tokens = tokens, .width = 256, .experts = 16, .experts_used = 1})
        ->route({.norm = {.x = x.x.view(), .weight = norm.data(), .eps = kEps},
                 .u = u.floats(),
                 .gate = router.gate.matrix(),
                 .correction_bias = bias.data(),
                 .groups = 1,
                 .groups_used = 1,
                 .experts_used = 1,
                 .normalize = true,
                 .scale = 1.0f,
                 .ids = ids.data(),
                 .weights = weights.data()});
    for (int64_t t = 0; t < tokens; ++t) {
      EXPECT_TRUE(std::isfinite(u.x.row(t)[255]));
      EXPECT_FLOAT_EQ(weights[t], 1.0f);
    }
    EXPECT_EQ(u.xq[0], -1);  // as the test filled it
  }
}

// A zero gate makes every score 1/2.
Router flat_router(int64_t experts, std::vector<float> bias) {
  Random random(403);
  return {random_plain(random, DType::kF32, experts, 8, 0.0), std::move(bias), 1, 1, 1, true, 1.0f};
}

TEST_P(Route, TiesGoToTheLowerId) {
  Router router = flat_router(12, std::vector<float>(12, 0.0f));
  router.experts_used = 3;
  const Rows x(1, 8, std::vector<float>(8, 1.0f));
  const auto backend = make({.tokens = 1, .width = 8, .experts = 12, .experts_used = 3});
  const Choice flat = run(*backend, router, x.view());
  for (int32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(flat.ids[i], i);
    EXPECT_FLOAT_EQ(flat.weights[i], 1.0f / 3);
  }
  router.groups = 4;
  router.groups_used = 2;
  router.bias[10] = router.bias[4] = 1.0f;  // group 3, then 1; both scores 2: group 1 ties with 3
  const Choice grouped = run(*backend, router, x.view());
  EXPECT_EQ(grouped.ids[0], 3);  // the best: 4 and 10, then the lowest of groups 1 and 3
  EXPECT_EQ(grouped.ids[1], 4);
  EXPECT_EQ(grouped.ids[2], 10);
  router.bias.assign(12, 0.0f);
  const Choice low_groups = run(*backend, router, x.view());
  for (int32_t i = 0; i < 3; ++i) EXPECT_EQ(low_groups.ids[i], i);
}

// A masked group must lose even to negative corrected scores; the bias must not reach the weights.
TEST_P(Route, MaskedGroupsLoseAndBiasOnlyChooses) {
  Router router = flat_router(8, {-5, -5, -5, -9, -6, -6, -6, -6});
  router.groups = 2;
  router.groups_used = 1;
  router.experts_used = 4;
  router.normalize = false;
  router.scale = 3.0f;
  const Rows x(1, 8, std::vector<float>(8, 1.0f));
  const Choice got =
      run(*make({.tokens = 1, .width = 8, .experts = 8, .experts_used = 4}), router, x.view());
  for (int32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(got.ids[i], i);  // with masked scores at 0, experts 4..7 would win
    EXPECT_EQ(got.weights[i], 1.5f);
  }
}

// Whatever comes in, ids stay ascending, different and in range: they index memory.
TEST_P(Route, NonFiniteInputGivesValidIds) {
  Random random(404);
  for (const int64_t groups : {1, 4}) {
    const Router router{random_plain(random, DType::kF32, 16, 24),
                        random.normals(16),
                        groups,
                        groups > 1 ? 2 : 1,
                        5,
                        true,
                        1.0f};
    std::vector<float> values = random.normals(3 * 24);
    values[3] = std::numeric_limits<float>::quiet_NaN();
    values[24 + 5] = std::numeric_limits<float>::infinity();
    values[48 + 5] = -std::numeric_limits<float>::infinity();
    const Rows x(3, 24, values);
    const auto backend = make({.tokens = 3, .width = 24, .experts = 16, .experts_used = 5});
    for (const int64_t tokens : {1, 3}) {
      const Choice got = run(*backend, router, x.part(0, tokens));
      EXPECT_TRUE(backend->take_non_finite());
      for (int64_t t = 0; t < tokens; ++t) {
        int32_t before = -1;
        for (int64_t i = 0; i < 5; ++i) {
          EXPECT_GT(got.ids[t * 5 + i], before);
          before = got.ids[t * 5 + i];
        }
        EXPECT_LT(before, 16);
      }
    }
  }
}

HLWQ_ON_EVERY_BACKEND(Route);

}  // namespace
}  // namespace hlwq::test
