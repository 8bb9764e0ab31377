// Attention over codes of keys and values, against FP64 over the same codes.

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>
#include <vector>

#include "ops/host_kv.h"
#include "tests/kernels/attention_test_support.h"
#include "tests/kernels/backends_under_test.h"

namespace hlwq::test {
namespace {

class CodedAttention : public BackendTest {
 protected:
  // FP32 sums, as with plain pages. Tensor cores take decoded elements rounded to FP16: each errs
  // by up to 2^-11 of itself, 2^-24 of its square on average.
  [[nodiscard]] double most_error() const {
    return GetParam().name.starts_with("cuda") ? 1e-6 : 1e-10;
  }
};

struct Case {
  AttentionShape shape;
  KvWidths widths;
};
constexpr Case kCases[] = {
    {{4, 2, 128}, {3, 3}}, {{16, 1, 128}, {4, 4}},  {{4, 1, 64}, {2, 2}},  {{2, 2, 64}, {8, 8}},
    {{8, 2, 128}, {4, 3}}, {{17, 1, 128}, {3, 16}}, {{4, 4, 64}, {16, 4}}, {{2, 1, 128}, {16, 8}},
    {{4, 2, 32}, {3, 3}},  {{2, 1, 256}, {4, 2}},   {{2, 2, 32}, {16, 3}}, {{1, 1, 256}, {8, 16}},
};
void PrintTo(const Case& c, std::ostream* out) {
  *out << c.shape.heads << ":" << c.shape.kv_heads << " of " << c.shape.head_dim << ", "
       << c.widths.keys << " and " << c.widths.values << " bits";
}

// Every row is a context of its own, so that all of the window's edges (127 to 129, 191 to 193, 255
// to 257) are met.
TEST_P(CodedAttention, WholeSequencesMatchFp64) {
  // The same for every back end: a second and more of FP64.
  static std::map<std::pair<const Case*, int64_t>, std::vector<double>> expected;
  for (const Case& c : kCases) {
    SCOPED_TRACE(testing::PrintToString(c));
    Random random(721);
    for (const int64_t tokens : {int64_t{1}, slow() ? int64_t{260} : int64_t{331}}) {
      const auto backend = make(attention_needs(c.shape, tokens, tokens));
      const CodedPool pool(c.shape, c.widths, 3, tokens, tokens);
      const AttentionInputs in(random, c.shape, tokens, 2.0);
      const TestActivation out(tokens, c.shape.heads * c.shape.head_dim);
      const Segment segment{.first_token = 0, .tokens = tokens, .position = 0, .slot = 2};
      run(*backend, pool, in, 0, tokens, {&segment, 1}, out.view());
      std::vector<double>& answer = expected[{&c, tokens}];
      if (answer.empty()) answer = expected_coded_sequence(in, c.shape, c.widths, tokens);
      EXPECT_LT(nmse(answer, out.x.values()), most_error());
      EXPECT_TRUE(out.x.gaps_untouched());
      out.expect_quantized();
      EXPECT_FALSE(backend->take_non_finite());
      // What was stored: the codes of each vector, and its exact copy.
      const CodedPool stored(c.shape, c.widths, 3, tokens, tokens);
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t h = 0; h < c.shape.kv_heads; ++h) {
          const int64_t at = h * c.shape.head_dim;
          store_coded_kv(stored.pages(), c.shape, {KvHalf::kKeys, 2, t, h}, in.k.row(t) + at);
          store_coded_kv(stored.pages(), c.shape, {KvHalf::kValues, 2, t, h}, in.v.row(t) + at);
        }
      }
      EXPECT_TRUE(pool.same_codes(stored)) << tokens << " tokens";
    }
  }
}

// However a sequence is cut into steps, and however large the ring is, a token's bits are the same.
TEST_P(CodedAttention, CutsDoNotChangeBits) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(testing::PrintToString(c));
    const int64_t tokens = slow() ? 260 : 331, width = c.shape.heads * c.shape.head_dim;
    Random random(722);
    const AttentionInputs in(random, c.shape, tokens, 3.0);
    const auto backend = make(attention_needs(c.shape, tokens, tokens));
    const CodedPool whole_pool(c.shape, c.widths, 2, tokens, tokens);
    const TestActivation whole(tokens, width);
    const Segment all{.first_token = 0, .tokens = tokens, .position = 0, .slot = 1};
    run(*backend, whole_pool, in, 0, tokens, {&all, 1}, whole.view());
    struct Way {
      RowStart start;
      std::vector<int64_t> cuts;
    };
    for (const auto& [start, cuts] :
         {Way{RowStart::kAnywhere, std::vector<int64_t>(static_cast<size_t>(tokens), 1)},
          {RowStart::kAligned, {2, 61, 1, 64, 1, 62, 2, tokens - 193}},
          {RowStart::kAnywhere, {127, 1, 64, 3, tokens - 195}},
          {RowStart::kAligned, {191, 1, tokens - 192}}}) {
      Random again(722);
      const AttentionInputs rows(again, c.shape, tokens, 3.0, start);
      const CodedPool pool(c.shape, c.widths, 2, tokens,
                           *std::max_element(cuts.begin(), cuts.end()));
      int64_t position = 0;
      for (const int64_t count : cuts) {
        const TestActivation out(count, width, start);
        const Segment segment{.first_token = 0, .tokens = count, .position = position, .slot = 1};
        run(*backend, pool, rows, position, count, {&segment, 1}, out.view());
        if (position % 16 == 0) out.expect_quantized();
        ASSERT_TRUE(out.x.gaps_untouched());
        for (int64_t t = 0; t < count; ++t) {
          ASSERT_TRUE(same_bits(whole.x.row_values(position + t), out.x.row_values(t)))
              << cuts.size() << " pieces, position " << position + t;
        }
        position += count;
      }
      EXPECT_TRUE(pool.same_codes(whole_pool)) << cuts.size() << " pieces";
    }
  }
}

// Prompts, their pieces and single tokens in one step have the bits that they have alone.
TEST_P(CodedAttention, MixedBatches) {
  Random random(723);
  const int64_t sequences = 5, longest = slow() ? 200 : 300, context = longest + 100;
  for (const Case& c : {Case{{8, 2, 128}, {3, 3}}, Case{{4, 1, 64}, {4, 2}}}) {
    const auto backend = make(attention_needs(c.shape, context + 400, context));
    const CodedPool together(c.shape, c.widths, sequences, context, longest);
    const CodedPool alone(c.shape, c.widths, sequences, context, longest);
    const int64_t width = c.shape.heads * c.shape.head_dim;
    std::vector<int64_t> position(static_cast<size_t>(sequences), 0);
    for (int64_t step = 0; step < 4; ++step) {
      std::vector<Segment> segments;
      int64_t tokens = 0;
      for (int64_t s = 0; s < sequences; ++s) {
        const int64_t slot = (s * 2 + 1) % sequences;
        const int64_t prompt = s == 3 ? longest : 1 + s * 50;
        const int64_t count = step == 0 ? prompt : step == 1 ? 1 : s % 4 == step % 4 ? 2 + s : 1;
        int64_t& at = position[static_cast<size_t>(slot)];
        segments.push_back({tokens, count, at, slot});
        at += count;
        tokens += count;
      }
      const AttentionInputs in(random, c.shape, tokens);
      const TestActivation out(tokens, width);
      run(*backend, together, in, 0, tokens, segments, out.view());
      out.expect_quantized();
      for (const Segment& segment : segments) {
        const TestActivation one(segment.tokens, width);
        Segment shifted = segment;
        shifted.first_token = 0;
        run(*backend, alone, in, segment.first_token, segment.tokens, {&shifted, 1}, one.view());
        for (int64_t t = 0; t < segment.tokens; ++t) {
          ASSERT_TRUE(same_bits(one.x.row_values(t), out.x.row_values(segment.first_token + t)))
              << "slot " << segment.slot << " token " << t;
        }
      }
      EXPECT_TRUE(together.same_codes(alone));
    }
  }
}

// Single tokens over many splits.
TEST_P(CodedAttention, LongContexts) {
  Random random(724);
  const int64_t context = slow() ? 1'100 : 6'100;
  for (const Case& c : {Case{{4, 1, 64}, {3, 3}}, Case{{16, 1, 128}, {4, 3}}}) {
    const auto backend = make(attention_needs(c.shape, 8, context));
    const int64_t positions[] = {context - 100, 191, 192, 128, context / 2, 1'023, 64, 700};
    const CodedPool pool(c.shape, c.widths, 8, context, 1);
    pool.fill(random);
    const int64_t width = c.shape.heads * c.shape.head_dim;
    const AttentionInputs in(random, c.shape, 8);
    for (int64_t t = 0; t < 8; ++t) {
      const Segment segment{.first_token = 0, .tokens = 1, .position = positions[t], .slot = t};
      // The ring has what was written last: that of this position's window.
      for (int64_t at = std::max<int64_t>(positions[t] - 255, 0); at <= positions[t]; ++at) {
        for (int64_t h = 0; h < c.shape.kv_heads; ++h) {
          const std::vector<float> v = random.normals(c.shape.head_dim, 1.0);
          store_coded_kv(pool.pages(), c.shape, {KvHalf::kKeys, t, at, h}, v.data());
          store_coded_kv(pool.pages(), c.shape, {KvHalf::kValues, t, at, h}, v.data());
        }
      }
      const TestActivation one(1, width);
      run(*backend, pool, in, t, 1, {&segment, 1}, one.view());
      const std::span<const float> got = one.x.row_values(0);
      EXPECT_LT(nmse(expected_coded_token(pool, t, positions[t] + 1, in.q.row(t)),
                     {got.begin(), got.end()}),
                most_error())
          << testing::PrintToString(c) << ", position " << positions[t];
    }
  }
}

// A NaN shows, when it is read exactly and when it is read from codes; infinity counts as the
// largest that FP16 holds.
TEST_P(CodedAttention, ValuesThatAreNotFinite) {
  Random random(725);
  const Case c{{4, 2, 128}, {3, 3}};
  for (const bool is_key : {false, true}) {
    for (const int64_t at : {int64_t{3}, int64_t{250}}) {
      for (const float bad :
           {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        const int64_t tokens = 256;
        const AttentionInputs in(random, c.shape, tokens);
        (is_key ? in.k : in.v).row(at)[130] = bad;
        const auto backend = make(attention_needs(c.shape, tokens, tokens));
        const CodedPool pool(c.shape, c.widths, 1, tokens, tokens);
        const TestActivation out(1, 512), before(tokens - 1, 512);
        const Segment first{.first_token = 0, .tokens = tokens - 1, .position = 0, .slot = 0};
        run(*backend, pool, in, 0, tokens - 1, {&first, 1}, before.view());
        EXPECT_EQ(backend->take_non_finite(), std::isnan(bad)) << is_key << at << bad;
        const Segment last{.first_token = 0, .tokens = 1, .position = tokens - 1, .slot = 0};
        run(*backend, pool, in, tokens - 1, 1, {&last, 1}, out.view());
        EXPECT_EQ(backend->take_non_finite(), std::isnan(bad)) << is_key << at << bad;
      }
    }
  }
}

HLWQ_ON_EVERY_BACKEND(CodedAttention);

}  // namespace
}  // namespace hlwq::test
