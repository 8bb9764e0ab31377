// Rotary positions of queries and keys.

#include <array>
#include <cmath>

#include "tests/kernels/attention_test_support.h"
#include "tests/kernels/backends_under_test.h"
#include "tests/kernels/op_test_support.h"

namespace hlwq::test {
namespace {

using Rotary = BackendTest;

// [positions, head_dim] of random angles: cosines, then sines.
Array<float> random_table(Random& random, int64_t positions, int64_t head_dim) {
  Array<float> table(positions * head_dim);
  for (int64_t p = 0; p < positions; ++p) {
    for (int64_t i = 0; i < head_dim / 2; ++i) {
      const double angle = random.uniform(-10, 10);
      table[p * head_dim + i] = static_cast<float>(std::cos(angle));
      table[p * head_dim + head_dim / 2 + i] = static_cast<float>(std::sin(angle));
    }
  }
  return table;
}

// One row of heads at `position`, each element rounded as ops/rotary.h says.
std::vector<float> turned(const float* row, int64_t heads, int64_t head_dim, const float* angles) {
  std::vector<float> out(static_cast<size_t>(heads * head_dim));
  const int64_t pairs = head_dim / 2;
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t i = 0; i < pairs; ++i) {
      const float a = row[h * head_dim + i], b = row[h * head_dim + pairs + i];
      const float cosine = angles[i], sine = angles[pairs + i];
      out[static_cast<size_t>(h * head_dim + i)] = a * cosine - b * sine;
      out[static_cast<size_t>(h * head_dim + pairs + i)] = b * cosine + a * sine;
    }
  }
  return out;
}

TEST_P(Rotary, TurnsEveryPairByItsPosition) {
  Random random(801);
  constexpr int64_t kContext = 90;
  const std::array<Segment, 3> segments = {
      {{.first_token = 0, .tokens = 40, .position = 3, .slot = 1},
       {.first_token = 40, .tokens = 1, .position = kContext - 1, .slot = 0},
       {.first_token = 41, .tokens = 2, .position = 0, .slot = 2}}};
  const int64_t tokens = 43;
  for (const AttentionShape& shape : {AttentionShape{9, 3, 64}, AttentionShape{4, 2, 128},
                                      AttentionShape{2, 1, 2}, AttentionShape{3, 3, 38}}) {
    SCOPED_TRACE(testing::Message() << shape.heads << " heads of " << shape.head_dim);
    const Array<float> table = random_table(random, kContext, shape.head_dim);
    const AttentionInputs before(random, shape, tokens);
    const Rows q(tokens, shape.heads * shape.head_dim, before.q.values());
    const Rows k(tokens, shape.kv_heads * shape.head_dim, before.k.values());
    make(attention_needs(shape, tokens, kContext))
        ->rotary({.shape = shape,
                  .table = table.data(),
                  .segments = segments,
                  .q = q.view(),
                  .k = k.view()});
    for (const Segment& segment : segments) {
      for (int64_t t = 0; t < segment.tokens; ++t) {
        const int64_t row = segment.first_token + t;
        const float* const angles = table.data() + (segment.position + t) * shape.head_dim;
        EXPECT_TRUE(same_bits(turned(before.q.row(row), shape.heads, shape.head_dim, angles),
                              {q.row_values(row).begin(), q.row_values(row).end()}))
            << "token " << row;
        EXPECT_TRUE(same_bits(turned(before.k.row(row), shape.kv_heads, shape.head_dim, angles),
                              {k.row_values(row).begin(), k.row_values(row).end()}))
            << "token " << row;
      }
    }
    EXPECT_TRUE(q.gaps_untouched() && k.gaps_untouched());
  }
}

// Scores depend on how far apart two tokens are, not on where they are: with angles in proportion
// to the position, as a model's are.
TEST_P(Rotary, ScoresDependOnDistanceAlone) {
  Random random(802);
  const AttentionShape shape{1, 1, 16};
  constexpr int64_t kContext = 300, kPairs = 8;
  const Array<float> table(kContext * shape.head_dim);
  for (int64_t p = 0; p < kContext; ++p) {
    for (int64_t i = 0; i < kPairs; ++i) {
      const double angle =
          static_cast<double>(p) * std::pow(1e4, -static_cast<double>(i) / double{kPairs});
      table[p * shape.head_dim + i] = static_cast<float>(std::cos(angle));
      table[p * shape.head_dim + kPairs + i] = static_cast<float>(std::sin(angle));
    }
  }
  const std::vector<float> query = random.normals(16), key = random.normals(16);
  const auto score = [&](int64_t query_at, int64_t key_at) {
    const auto backend = make(attention_needs(shape, 1, kContext));
    const Rows q(1, 16, query), k(1, 16, key), unused_q(1, 16, query), unused_k(1, 16, key);
    const Segment of_query{.first_token = 0, .tokens = 1, .position = query_at, .slot = 0};
    const Segment of_key{.first_token = 0, .tokens = 1, .position = key_at, .slot = 0};
    backend->rotary({.shape = shape,
                     .table = table.data(),
                     .segments = {&of_query, 1},
                     .q = q.view(),
                     .k = unused_k.view()});
    backend->rotary({.shape = shape,
                     .table = table.data(),
                     .segments = {&of_key, 1},
                     .q = unused_q.view(),
                     .k = k.view()});
    double sum = 0;
    for (int64_t i = 0; i < 16; ++i) sum += static_cast<double>(q.row(0)[i]) * k.row(0)[i];
    return sum;
  };
  // 16 products of values near 1, each rounded a few times in FP32.
  EXPECT_NEAR(score(7, 4), score(250, 247), 1e-5);
  EXPECT_NEAR(score(0, 0), score(299, 299), 1e-5);
  EXPECT_GT(std::abs(score(7, 4) - score(7, 5)), 1e-3);
}

HLWQ_ON_EVERY_BACKEND(Rotary);

}  // namespace
}  // namespace hlwq::test
