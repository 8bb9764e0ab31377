// Paged causal attention against FP64.

#include <limits>
#include <vector>

#include "tests/kernels/attention_test_support.h"
#include "tests/kernels/backends_under_test.h"

namespace hlwq::test {
namespace {

using Attention = BackendTest;

constexpr AttentionShape kShapes[] = {{4, 2, 16}, {8, 1, 64}, {4, 4, 128},
                                      {6, 2, 20}, {1, 1, 5},  {2, 1, 300}};

TEST_P(Attention, WholeSequencesMatchFp64) {
  Random random(701);
  for (const AttentionShape& shape : kShapes) {
    for (const DType dtype : {DType::kF16, DType::kF32}) {
      for (const int64_t tokens : {1, 2, 7, 64, 65, 200}) {
        SCOPED_TRACE(testing::Message()
                     << shape.heads << ":" << shape.kv_heads << " of " << shape.head_dim << " "
                     << name_of(dtype) << ", " << tokens);
        const auto backend = make(attention_needs(shape, tokens, tokens));
        const Pool pool(shape, dtype, 3, tokens);
        const AttentionInputs in(random, shape, tokens);
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
// positions. Nor does it matter where rows start.
TEST_P(Attention, CutsDoNotChangeBits) {
  struct Case {
    AttentionShape shape;
    int64_t tokens;
  };
  for (const auto& [shape, most] : {Case{{4, 2, 16}, 267},
                                    {{4, 2, 128}, 267},
                                    {{4, 2, 64}, 267},
                                    {{3, 1, 128}, 140},
                                    {{17, 1, 128}, 140},
                                    {{17, 1, 64}, 140}}) {
    SCOPED_TRACE(testing::Message()
                 << shape.heads << ":" << shape.kv_heads << " of " << shape.head_dim);
    const int64_t tokens = slow() ? 140 : most, width = shape.heads * shape.head_dim;
    Random random(702);
    const AttentionInputs in(random, shape, tokens, 3.0);
    const auto backend = make(attention_needs(shape, tokens, tokens));
    const Pool whole_pool(shape, DType::kF16, 1, tokens);
    const TestActivation whole(tokens, width);
    const Segment all{.first_token = 0, .tokens = tokens, .position = 0, .slot = 0};
    run(*backend, whole_pool, in, 0, tokens, {&all, 1}, whole.view());
    whole.expect_quantized();
    EXPECT_LT(nmse(expected_sequence(in, shape, DType::kF16, tokens), whole.x.values()), 1e-10);
    struct Way {
      RowStart start;
      std::vector<int64_t> cuts;
    };
    for (const auto& [start, cuts] :
         {Way{RowStart::kAligned, {tokens}},
          {RowStart::kAnywhere, std::vector<int64_t>(static_cast<size_t>(tokens), 1)},
          {RowStart::kAligned, {2, 61, 1, 64, 1, tokens - 129}},
          {RowStart::kAnywhere, {127, 1, tokens - 128}}}) {
      Random again(702);
      const AttentionInputs rows(again, shape, tokens, 3.0, start);
      const Pool pool(shape, DType::kF16, 1, tokens);
      int64_t position = 0;
      for (const int64_t count : cuts) {
        const TestActivation out(count, width, start);
        const Segment segment{.first_token = 0, .tokens = count, .position = position, .slot = 0};
        run(*backend, pool, rows, position, count, {&segment, 1}, out.view());
        if (position % 16 == 0) out.expect_quantized();
        ASSERT_TRUE(out.x.gaps_untouched());
        for (int64_t t = 0; t < count; ++t) {
          ASSERT_TRUE(same_bits(whole.x.row_values(position + t), out.x.row_values(t)))
              << cuts.size() << " pieces, position " << position + t;
        }
        position += count;
      }
      EXPECT_TRUE(pool.same_bytes(whole_pool)) << cuts.size() << " pieces";
    }
  }
}

// A step of several sequences gives each the bits and the pages it gets alone.
void expect_as_alone(Backend& backend, const Pool& together, const Pool& alone,
                     const AttentionInputs& in, std::span<const Segment> segments) {
  const int64_t tokens = segments.back().first_token + segments.back().tokens;
  const int64_t width = together.shape.heads * together.shape.head_dim;
  const TestActivation out(tokens, width);
  run(backend, together, in, 0, tokens, segments, out.view());
  out.expect_quantized();
  for (const Segment& segment : segments) {
    const TestActivation one(segment.tokens, width);
    Segment shifted = segment;
    shifted.first_token = 0;
    run(backend, alone, in, segment.first_token, segment.tokens, {&shifted, 1}, one.view());
    for (int64_t t = 0; t < segment.tokens; ++t) {
      ASSERT_TRUE(same_bits(one.x.row_values(t), out.x.row_values(segment.first_token + t)))
          << "slot " << segment.slot << " token " << t;
    }
  }
  EXPECT_TRUE(together.same_bytes(alone));
}

TEST_P(Attention, SequencesDoNotSeeEachOther) {
  Random random(703);
  const AttentionShape shape{6, 2, 20};
  const auto backend = make(attention_needs(shape, 140, 140));
  const Pool together(shape, DType::kF32, 4, 140), alone(shape, DType::kF32, 4, 140);
  const Segment steps[2][3] = {{{0, 3, 0, 3}, {3, 70, 0, 0}, {73, 1, 0, 2}},
                               {{0, 1, 1, 2}, {1, 60, 70, 0}, {61, 2, 3, 3}}};
  for (const auto& segments : steps) {
    const int64_t tokens = segments[2].first_token + segments[2].tokens;
    expect_as_alone(*backend, together, alone, AttentionInputs(random, shape, tokens), segments);
  }
}

// Prompts, their pieces and single tokens in one step, over several splits, in any order of slots.
TEST_P(Attention, MixedBatches) {
  Random random(707);
  const int64_t sequences = 9, longest = slow() ? 150 : 300, context = longest + 100;
  for (const AttentionShape& shape : {AttentionShape{8, 2, 128}, AttentionShape{4, 1, 64}}) {
    const auto backend = make(attention_needs(shape, context + 400, context));
    const Pool together(shape, DType::kF16, sequences, context);
    const Pool alone(shape, DType::kF16, sequences, context);
    std::vector<int64_t> position(static_cast<size_t>(sequences), 0);
    for (int64_t step = 0; step < 4; ++step) {
      std::vector<Segment> segments;
      int64_t tokens = 0;
      for (int64_t s = 0; s < sequences; ++s) {
        const int64_t slot = (s * 4 + 1) % sequences;
        const int64_t prompt = s == 3 ? longest : 1 + s * 9;
        const int64_t count = step == 0 ? prompt : step == 1 ? 1 : s % 4 == step % 4 ? 2 + s : 1;
        int64_t& at = position[static_cast<size_t>(slot)];
        segments.push_back({tokens, count, at, slot});
        at += count;
        tokens += count;
      }
      expect_as_alone(*backend, together, alone, AttentionInputs(random, shape, tokens), segments);
    }
  }
}

// Single tokens of sequences so long that a launch cannot hold the parts of all of them.
TEST_P(Attention, LongContexts) {
  Random random(708);
  const int64_t context = 20'100, width = 4 * 64;
  const AttentionShape shape{4, 1, 64};
  const auto backend = make(attention_needs(shape, 8, context));
  const int64_t positions[] = {20'000, 0, 127, 128, 9'999, 20'063, 64, 12'345};
  const Pool pool(shape, DType::kF16, 8, context);
  pool.fill(random);
  std::vector<Segment> segments;
  for (const int64_t position : positions) {
    const auto s = static_cast<int64_t>(segments.size());
    segments.push_back({s, 1, position, (s * 3 + 1) % 8});
  }
  const AttentionInputs in(random, shape, 8);
  const TestActivation out(8, width);
  run(*backend, pool, in, 0, 8, segments, out.view());
  out.expect_quantized();
  for (const Segment& segment : segments) {
    const int64_t t = segment.first_token;
    const std::span<const float> got = out.x.row_values(t);
    EXPECT_LT(nmse(expected_token(pool, segment.slot, segment.position + 1, in.q.row(t)),
                   {got.begin(), got.end()}),
              1e-10)
        << "position " << segment.position;
    const TestActivation one(1, width);
    Segment alone = segment;
    alone.first_token = 0;
    run(*backend, pool, in, t, 1, {&alone, 1}, one.view());
    EXPECT_TRUE(same_bits(one.x.row_values(0), out.x.row_values(t)))
        << "position " << segment.position;
  }
}

// Sharp attention: scores of hundreds, where a softmax without its maximum would overflow, and the
// answer is the value of one token.
TEST_P(Attention, LargeScoresPickOneToken) {
  Random random(704);
  const AttentionShape shape{4, 2, 16};
  const int64_t tokens = 130;
  const AttentionInputs in(random, shape, tokens, 300.0);
  const Pool pool(shape, DType::kF32, 1, tokens);
  const TestActivation out(tokens, 64);
  const Segment segment{.first_token = 0, .tokens = tokens, .position = 0, .slot = 0};
  run(*make(attention_needs(shape, tokens, tokens)), pool, in, 0, tokens, {&segment, 1},
      out.view());
  // Scores near 1000 err by 1e-4 in FP32, and so do the weights where two tokens compete.
  EXPECT_LT(nmse(expected_sequence(in, shape, DType::kF32, tokens), out.x.values()), 1e-6);
}

// Queries of any size, also where half precision would lose or overflow them, and all zero ones.
TEST_P(Attention, QueriesOfAnySize) {
  Random random(709);
  const int64_t tokens = 150;
  struct Case {
    double spread, most_error;
  };
  // Larger scores err by more, as above.
  for (const auto& [spread, most_error] :
       {Case{1e-30, 1e-10}, {1e-6, 1e-10}, {30.0, 1e-9}, {1e4, 1e-6}}) {
    for (const AttentionShape& shape : {AttentionShape{4, 2, 128}, AttentionShape{2, 1, 64}}) {
      const AttentionInputs in(random, shape, tokens, spread);
      for (int64_t i = 0; i < shape.head_dim; ++i) in.q.row(7)[i] = 0.0f;
      const auto backend = make(attention_needs(shape, tokens, tokens));
      const Pool pool(shape, DType::kF16, 1, tokens);
      const TestActivation out(tokens, shape.heads * shape.head_dim);
      const Segment segment{.first_token = 0, .tokens = tokens, .position = 0, .slot = 0};
      run(*backend, pool, in, 0, tokens, {&segment, 1}, out.view());
      const double error = nmse(expected_sequence(in, shape, DType::kF16, tokens), out.x.values());
      EXPECT_LT(error, most_error) << "spread " << spread << ", heads of " << shape.head_dim;
      EXPECT_FALSE(backend->take_non_finite());
    }
  }
}

TEST_P(Attention, NonFiniteSetsTheFlag) {
  Random random(710);
  const AttentionShape shape{4, 2, 128};
  for (const int64_t tokens : {1, 5}) {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      const AttentionInputs in(random, shape, tokens);
      in.q.row(tokens - 1)[130] = bad;
      const auto backend = make(attention_needs(shape, tokens, tokens));
      const Pool pool(shape, DType::kF16, 1, tokens);
      const TestActivation out(tokens, 512);
      const Segment segment{.first_token = 0, .tokens = tokens, .position = 0, .slot = 0};
      run(*backend, pool, in, 0, tokens, {&segment, 1}, out.view());
      EXPECT_TRUE(backend->take_non_finite()) << bad << ", " << tokens << " tokens";
    }
  }
}

// Values FP16 cannot hold are stored as the largest it can, never as infinity.
TEST_P(Attention, HalfPagesSaturate) {
  Random random(705);
  const AttentionShape shape{1, 1, 8};
  const AttentionInputs in(random, shape, 2);
  in.k.row(0)[1] = 1e6f;
  in.k.row(0)[2] = -65510.0f;
  in.v.row(0)[3] = -3e38f;
  in.v.row(1)[4] = 65519.0f;
  in.v.row(1)[5] = std::numeric_limits<float>::infinity();
  const Pool pool(shape, DType::kF16, 1, 2);
  const TestActivation out(2, 8);
  const Segment segment{.first_token = 0, .tokens = 2, .position = 0, .slot = 0};
  run(*make(attention_needs(shape, 2, 2)), pool, in, 0, 2, {&segment, 1}, out.view());
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
