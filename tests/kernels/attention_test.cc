// Paged causal attention against FP64.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "base/float16.h"
#include "tests/kernels/backends_under_test.h"
#include "tests/kernels/op_test_support.h"

namespace hlwq::test {
namespace {

using Attention = BackendTest;

// A pool of scrambled pages: the tables name pages in a stirred order and are -1 beyond the used
// part; unwritten memory reads as NaN.
struct Pool {
  Pool(const AttentionShape& shape_in, DType dtype_in, int64_t slots_in, int64_t context)
      : shape(shape_in), dtype(dtype_in), slots(slots_in) {
    used = (context + kPageTokens - 1) / kPageTokens;
    stride = used + 2;
    page_bytes = 2 * shape.kv_heads * kPageTokens * shape.head_dim * bytes_of(dtype) + 256;
    memory = Array<std::byte>(slots * used * page_bytes);
    tables = Array<int32_t>(slots * stride);
    const int64_t pages = slots * used;
    int64_t step = 5;  // walks through all pages, far apart
    while (std::gcd(step, pages) != 1) ++step;
    for (int64_t s = 0; s < slots; ++s) {
      for (int64_t i = 0; i < stride; ++i) {
        tables[s * stride + i] =
            i < used ? static_cast<int32_t>((s * used + i + 3) * step % pages) : -1;
      }
    }
  }
  [[nodiscard]] KvPages pages() const {
    return {memory.data(), dtype, page_bytes, tables.data(), stride};
  }
  // An element as stored.
  [[nodiscard]] float element(bool value, int64_t slot, int64_t position, int64_t head,
                              int64_t i) const {
    const int64_t page = tables[slot * stride + position / kPageTokens];
    const int64_t row =
        ((value ? shape.kv_heads : 0) + head) * kPageTokens + position % kPageTokens;
    const std::byte* at =
        memory.data() + page * page_bytes + (row * shape.head_dim + i) * bytes_of(dtype);
    if (dtype == DType::kF32) {
      float v;
      std::memcpy(&v, at, sizeof(v));
      return v;
    }
    uint16_t bits;
    std::memcpy(&bits, at, sizeof(bits));
    return f16_to_f32(bits);
  }
  AttentionShape shape;
  DType dtype;
  int64_t slots, used = 0, stride = 0, page_bytes = 0;
  Array<std::byte> memory;
  Array<int32_t> tables;
};

struct Inputs {
  Inputs(Random& random, const AttentionShape& s, int64_t tokens, double spread = 1.0)
      : q(tokens, s.heads * s.head_dim, random.normals(tokens * s.heads * s.head_dim, spread)),
        k(tokens, s.kv_heads * s.head_dim, random.normals(tokens * s.kv_heads * s.head_dim)),
        v(tokens, s.kv_heads * s.head_dim, random.normals(tokens * s.kv_heads * s.head_dim)) {}
  Rows q, k, v;
};

MutF32View rows_of(const Rows& rows, int64_t first, int64_t count) {
  MutF32View view = rows.view();
  view.data = rows.row(first);
  view.rows = count;
  return view;
}

void run(Backend& backend, const Pool& pool, const Inputs& in, int64_t first, int64_t count,
         std::span<const Segment> segments, const Activation& out) {
  backend.attention({.shape = pool.shape,
                     .q = rows_of(in.q, first, count),
                     .k = rows_of(in.k, first, count),
                     .v = rows_of(in.v, first, count),
                     .pages = pool.pages(),
                     .segments = segments,
                     .out = out});
}

float as_stored(float value, DType dtype) {
  if (dtype == DType::kF32) return value;
  return f16_to_f32(f32_to_f16(std::min(std::max(value, -65504.0f), 65504.0f)));
}

// One whole sequence of the inputs' rows, from position 0.
std::vector<double> expected_sequence(const Inputs& in, const AttentionShape& s, DType dtype,
                                      int64_t tokens) {
  std::vector<double> out;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t h = 0; h < s.heads; ++h) {
      const int64_t offset = h * s.kv_heads / s.heads * s.head_dim;
      std::vector<double> scores, sum(static_cast<size_t>(s.head_dim));
      for (int64_t i = 0; i <= t; ++i) {
        double dot = 0;
        for (int64_t c = 0; c < s.head_dim; ++c) {
          dot += static_cast<double>(in.q.row(t)[h * s.head_dim + c]) *
                 as_stored(in.k.row(i)[offset + c], dtype);
        }
        scores.push_back(dot / std::sqrt(static_cast<double>(s.head_dim)));
      }
      const double largest = *std::max_element(scores.begin(), scores.end());
      double total = 0;
      for (int64_t i = 0; i <= t; ++i) {
        const double weight = std::exp(scores[static_cast<size_t>(i)] - largest);
        total += weight;
        for (int64_t c = 0; c < s.head_dim; ++c) {
          sum[static_cast<size_t>(c)] += weight * as_stored(in.v.row(i)[offset + c], dtype);
        }
      }
      for (const double v : sum) out.push_back(v / total);
    }
  }
  return out;
}

ScratchNeeds needs_for(const AttentionShape& shape, int64_t tokens, int64_t context) {
  return {.tokens = tokens,
          .width = shape.heads * shape.head_dim,
          .context = context,
          .attention = shape};
}

constexpr AttentionShape kShapes[] = {{4, 2, 16}, {8, 1, 64}, {4, 4, 128}, {6, 2, 20}, {1, 1, 5}};

TEST_P(Attention, WholeSequencesMatchFp64) {
  Random random(701);
  for (const AttentionShape& shape : kShapes) {
    for (const DType dtype : {DType::kF16, DType::kF32}) {
      for (const int64_t tokens : {1, 2, 7, 64, 65, 200}) {
        SCOPED_TRACE(testing::Message()
                     << shape.heads << ":" << shape.kv_heads << " of " << shape.head_dim << " "
                     << name_of(dtype) << ", " << tokens);
        const auto backend = make(needs_for(shape, tokens, tokens));
        const Pool pool(shape, dtype, 3, tokens);
        const Inputs in(random, shape, tokens);
        const TestActivation out(tokens, shape.heads * shape.head_dim);
        const Segment segment{.first_token = 0, .tokens = tokens, .position = 0, .slot = 2};
        run(*backend, pool, in, 0, tokens, {&segment, 1}, out.view());
        EXPECT_LT(nmse(expected_sequence(in, shape, dtype, tokens), out.x.values()), 1e-10);
        EXPECT_TRUE(out.x.gaps_untouched());
        out.expect_quantized();
        EXPECT_FALSE(backend->take_non_finite());
        for (const int64_t t : {int64_t{0}, tokens / 2, tokens - 1}) {
          for (int64_t i = 0; i < shape.head_dim; ++i) {
            const int64_t last = shape.kv_heads - 1;
            ASSERT_EQ(pool.element(false, 2, t, last, i),
                      as_stored(in.k.row(t)[last * shape.head_dim + i], dtype));
            ASSERT_EQ(pool.element(true, 2, t, last, i),
                      as_stored(in.v.row(t)[last * shape.head_dim + i], dtype));
          }
        }
      }
    }
  }
}

// However a sequence is cut into steps, a token's bits are the same: splits lie at absolute
// positions.
TEST_P(Attention, CutsDoNotChangeBits) {
  Random random(702);
  const AttentionShape shape{4, 2, 16};
  const int64_t tokens = 300, width = shape.heads * shape.head_dim;
  const Inputs in(random, shape, tokens);
  const auto backend = make(needs_for(shape, tokens, tokens));
  const Pool whole_pool(shape, DType::kF16, 1, tokens);
  const TestActivation whole(tokens, width);
  const Segment all{.first_token = 0, .tokens = tokens, .position = 0, .slot = 0};
  run(*backend, whole_pool, in, 0, tokens, {&all, 1}, whole.view());
  for (const std::vector<int64_t>& cuts :
       {std::vector<int64_t>(300, 1), {2, 61, 64, 173}, {256, 44}, {299, 1}}) {
    const Pool pool(shape, DType::kF16, 1, tokens);
    int64_t position = 0;
    for (const int64_t count : cuts) {
      const TestActivation out(count, width);
      const Segment segment{.first_token = 0, .tokens = count, .position = position, .slot = 0};
      run(*backend, pool, in, position, count, {&segment, 1}, out.view());
      for (int64_t t = 0; t < count; ++t) {
        ASSERT_TRUE(
            same_bits(std::span<const float>(whole.x.row(position + t), static_cast<size_t>(width)),
                      std::span<const float>(out.x.row(t), static_cast<size_t>(width))))
            << cuts.size() << " pieces, position " << position + t;
      }
      position += count;
    }
  }
}

TEST_P(Attention, SequencesDoNotSeeEachOther) {
  Random random(703);
  const AttentionShape shape{6, 2, 20};
  const int64_t width = shape.heads * shape.head_dim;
  const auto backend = make(needs_for(shape, 140, 140));
  const Pool together(shape, DType::kF32, 4, 140), alone(shape, DType::kF32, 4, 140);
  const Segment steps[2][3] = {{{0, 3, 0, 3}, {3, 70, 0, 0}, {73, 1, 0, 2}},
                               {{0, 1, 1, 2}, {1, 60, 70, 0}, {61, 2, 3, 3}}};
  for (const auto& segments : steps) {
    const int64_t tokens = segments[2].first_token + segments[2].tokens;
    const Inputs in(random, shape, tokens);
    const TestActivation out(tokens, width);
    run(*backend, together, in, 0, tokens, segments, out.view());
    out.expect_quantized();
    for (const Segment& segment : segments) {
      const TestActivation one(segment.tokens, width);
      Segment shifted = segment;
      shifted.first_token = 0;
      run(*backend, alone, in, segment.first_token, segment.tokens, {&shifted, 1}, one.view());
      for (int64_t t = 0; t < segment.tokens; ++t) {
        ASSERT_TRUE(same_bits(
            std::span<const float>(one.x.row(t), static_cast<size_t>(width)),
            std::span<const float>(out.x.row(segment.first_token + t), static_cast<size_t>(width))))
            << "slot " << segment.slot << " token " << t;
      }
    }
  }
}

// Sharp attention: scores of hundreds, where a softmax without its maximum would overflow, and the
// answer is the value of one token.
TEST_P(Attention, LargeScoresPickOneToken) {
  Random random(704);
  const AttentionShape shape{4, 2, 16};
  const int64_t tokens = 130;
  const Inputs in(random, shape, tokens, 300.0);
  const Pool pool(shape, DType::kF32, 1, tokens);
  const TestActivation out(tokens, 64);
  const Segment segment{.first_token = 0, .tokens = tokens, .position = 0, .slot = 0};
  run(*make(needs_for(shape, tokens, tokens)), pool, in, 0, tokens, {&segment, 1}, out.view());
  // Scores near 1000 err by 1e-4 in FP32, and so do the weights where two tokens compete.
  EXPECT_LT(nmse(expected_sequence(in, shape, DType::kF32, tokens), out.x.values()), 1e-6);
}

// Values FP16 cannot hold are stored as the largest it can, never as infinity.
TEST_P(Attention, HalfPagesSaturate) {
  Random random(705);
  const AttentionShape shape{1, 1, 8};
  const Inputs in(random, shape, 2);
  in.k.row(0)[1] = 1e6f;
  in.k.row(0)[2] = -65510.0f;
  in.v.row(0)[3] = -3e38f;
  in.v.row(1)[4] = 65519.0f;
  in.v.row(1)[5] = std::numeric_limits<float>::infinity();
  const Pool pool(shape, DType::kF16, 1, 2);
  const TestActivation out(2, 8);
  const Segment segment{.first_token = 0, .tokens = 2, .position = 0, .slot = 0};
  run(*make(needs_for(shape, 2, 2)), pool, in, 0, 2, {&segment, 1}, out.view());
  EXPECT_EQ(pool.element(false, 0, 0, 0, 1), 65504.0f);
  EXPECT_EQ(pool.element(false, 0, 0, 0, 2), -65504.0f);
  EXPECT_EQ(pool.element(true, 0, 0, 0, 3), -65504.0f);
  EXPECT_EQ(pool.element(true, 0, 1, 0, 4), 65504.0f);
  EXPECT_EQ(pool.element(true, 0, 1, 0, 5), 65504.0f);
  EXPECT_EQ(out.x.row(0)[3], -65504.0f);  // the first token sees only itself
}

HLWQ_ON_EVERY_BACKEND(Attention);

}  // namespace
}  // namespace hlwq::test
