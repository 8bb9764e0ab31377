#include "runtime/sequence_pool.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/runtime/fake_model.h"

namespace hlwq {
namespace {

const StateShape kShape = {
    .mamba_layers = 2, .mamba = {2, 8, 1, 4, 4}, .attention_layers = 3, .attention = {4, 2, 8}};

TEST(SequencePool, BytesAreWhatIsAllocated) {
  FakeBackend backend;
  const SequencePoolOptions options = {
      .sequences = 3, .context = 200, .kv = {.dtype = DType::kF32}};
  // Mamba: 24 channels x 3 and 2 x 8 x 4 floats a slot, each layer's pool rounded to 64 floats.
  const size_t states = 2 * (256 + 192) * 4;
  const size_t pages = 3 * (3 * 4) * (2 * 2 * 64 * 8 * 4);
  const size_t tables = 3 * 4 * 4;
  EXPECT_EQ(SequencePool::bytes_for(kShape, options), states + pages + tables);
  backend.most_bytes_ = pages - 1;
  const auto refused = SequencePool::create(backend, kShape, options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kOutOfMemory);
}

TEST(SequencePool, LayersAndSlotsDoNotOverlap) {
  FakeBackend backend;
  const auto pool = SequencePool::create(backend, kShape, {.sequences = 3, .context = 130});
  ASSERT_TRUE(pool) << pool.error().message;
  const SequenceMemory memory = pool->memory();
  ASSERT_EQ(memory.conv.size(), 2u);
  ASSERT_EQ(memory.kv.size(), 3u);
  std::vector<std::pair<const std::byte*, int64_t>> ranges;
  for (size_t l = 0; l < 2; ++l) {
    ranges.emplace_back(reinterpret_cast<const std::byte*>(memory.conv[l]),
                        3 * kShape.conv_floats() * 4);
    ranges.emplace_back(reinterpret_cast<const std::byte*>(memory.ssm[l]),
                        3 * kShape.ssm_floats() * 4);
  }
  for (const KvPages& kv : memory.kv) {
    EXPECT_EQ(kv.page_bytes, 2 * 2 * 64 * 8 * 2);
    EXPECT_EQ(kv.table_stride, 3);
    ranges.emplace_back(kv.data, 9 * kv.page_bytes);
  }
  for (size_t a = 0; a < ranges.size(); ++a)
    for (size_t b = 0; b < a; ++b)
      EXPECT_TRUE(ranges[a].first + ranges[a].second <= ranges[b].first ||
                  ranges[b].first + ranges[b].second <= ranges[a].first);
}

// With codes a page holds them and their scales, and each sequence has a ring of F16 pages: three
// of its window, and those that a step writes.
TEST(SequencePool, CodedPagesAndRings) {
  StateShape shape = kShape;
  shape.attention.head_dim = 128;
  SequencePoolOptions options = {.sequences = 3, .context = 1000, .step_tokens = 100};
  const int64_t plain = 2 * 2 * 64 * 128 * 2;
  const size_t at_16_bits = SequencePool::bytes_for(shape, options);
  options.kv = {.key_bits = 3, .value_bits = 4};
  const int64_t page = 2 * 64 * (50 + 66);
  EXPECT_EQ(options.kv.page_bytes(shape.attention), page);
  EXPECT_EQ((KvForm{.key_bits = 3, .value_bits = 3}.page_bytes(shape.attention)) * 512,
            plain * 100);
  const int64_t ring = 5 * plain;
  EXPECT_EQ(at_16_bits - SequencePool::bytes_for(shape, options),
            static_cast<size_t>(3 * (3 * 16 * (plain - page) - 3 * ring)));

  FakeBackend backend;
  auto pool = SequencePool::create(backend, shape, options);
  ASSERT_TRUE(pool) << pool.error().message;
  EXPECT_EQ(pool->page_bytes(), 3 * page);
  const SequenceMemory memory = pool->memory();
  for (size_t l = 0; l < 3; ++l) {
    const KvPages& kv = memory.kv[l];
    EXPECT_EQ(kv.key_bits, 3);
    EXPECT_EQ(kv.value_bits, 4);
    EXPECT_EQ(kv.page_bytes, page);
    EXPECT_EQ(kv.ring_pages, 5);
    EXPECT_EQ(kv.ring, memory.kv[0].ring + static_cast<int64_t>(l) * 3 * ring);
  }
  // A sequence's ring is of its states.
  const int64_t slot = *pool->open();
  size_t states = 0;
  for (const auto part : pool->states_of(slot)) states += part.size();
  EXPECT_EQ(states, pool->state_bytes());
  EXPECT_EQ(pool->states_of(slot).back().data(), memory.kv[2].ring + slot * ring);
  // No more pages than the context has.
  options.context = 200;
  EXPECT_EQ(SequencePool::create(backend, shape, options)->memory().kv[0].ring_pages, 4);
}

TEST(SequencePool, GrowsPageByPageAndGivesPagesBack) {
  FakeBackend backend;
  auto pool = SequencePool::create(backend, kShape, {.sequences = 2, .context = 256});
  ASSERT_TRUE(pool);
  const int64_t a = *pool->open(), b = *pool->open();
  EXPECT_NE(a, b);
  ASSERT_TRUE(pool->grow(a, 65));
  ASSERT_TRUE(pool->grow(b, 256));
  ASSERT_TRUE(pool->grow(a, 64));  // less than it has: nothing happens
  ASSERT_TRUE(pool->grow(a, 192));
  const KvPages kv = pool->memory().kv[0];
  std::set<int32_t> pages;
  for (int64_t i = 0; i < 3; ++i) pages.insert(kv.tables[a * kv.table_stride + i]);
  for (int64_t i = 0; i < 4; ++i) pages.insert(kv.tables[b * kv.table_stride + i]);
  EXPECT_EQ(pages.size(), 7u) << "two positions share a page";
  for (const int32_t page : pages) EXPECT_TRUE(page >= 0 && page < 8);

  const auto beyond = pool->grow(a, 257);
  ASSERT_FALSE(beyond);
  EXPECT_EQ(beyond.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(beyond.error().message.find("257"), std::string::npos);
  pool->close(b);
  const int64_t again = *pool->open();
  EXPECT_EQ(again, b);
  EXPECT_TRUE(pool->grow(again, 256));
}

// Only the entries that change go to the device.
TEST(SequencePool, UploadsNewTableEntries) {
  FakeBackend backend;
  auto pool = SequencePool::create(backend, kShape, {.sequences = 2, .context = 256});
  ASSERT_TRUE(pool);
  const int64_t slot = *pool->open();
  ASSERT_TRUE(pool->grow(slot, 65));
  EXPECT_EQ(backend.uploaded_, 2 * sizeof(int32_t));
  for (int64_t tokens = 66; tokens <= 128; ++tokens) ASSERT_TRUE(pool->grow(slot, tokens));
  EXPECT_EQ(backend.uploaded_, 2 * sizeof(int32_t));
  ASSERT_TRUE(pool->grow(slot, 129));
  EXPECT_EQ(backend.uploaded_, 3 * sizeof(int32_t));
}

TEST(SequencePool, ReportsExhaustion) {
  FakeBackend backend;
  auto pool = SequencePool::create(backend, kShape, {.sequences = 2, .context = 256, .pages = 5});
  ASSERT_TRUE(pool);
  const int64_t a = *pool->open(), b = *pool->open();
  const auto third = pool->open();
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code, ErrorCode::kOutOfMemory);
  ASSERT_TRUE(pool->grow(a, 192));
  const auto no_page = pool->grow(b, 192);
  ASSERT_FALSE(no_page);
  EXPECT_EQ(no_page.error().code, ErrorCode::kOutOfMemory);
  EXPECT_TRUE(pool->grow(b, 128)) << "a refused request takes nothing";
  pool->close(a);
  EXPECT_TRUE(pool->grow(b, 256));
}

TEST(SequencePool, RefusesBadOptions) {
  FakeBackend backend;
  const auto code = [&](const SequencePoolOptions& options) {
    const auto pool = SequencePool::create(backend, kShape, options);
    return pool ? std::nullopt : std::optional(pool.error().code);
  };
  EXPECT_EQ(code({.sequences = 0}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code({.context = 0}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code({.context = int64_t{1} << 62}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code({.sequences = 1 << 20, .context = int64_t{1} << 40}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code({.kv = {.dtype = DType::kI8}}), ErrorCode::kUnsupported);
  EXPECT_EQ(code({.kv = {.key_bits = 5}}), ErrorCode::kUnsupported);
  EXPECT_EQ(code({.kv = {.dtype = DType::kF32, .key_bits = 4}}), ErrorCode::kUnsupported);
  // Heads of 8 elements have no codes.
  EXPECT_EQ(code({.kv = {.key_bits = 4, .value_bits = 4}}), ErrorCode::kUnsupported);
  EXPECT_EQ(code({.step_tokens = 0}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code({.pages = -1}), ErrorCode::kInvalidArgument);
  StateShape huge = kShape;
  huge.mamba.heads = int64_t{1} << 50;
  EXPECT_EQ(SequencePool::bytes_for(huge, {.sequences = 1 << 20}), SIZE_MAX);
  EXPECT_EQ(SequencePool::create(backend, huge, {.sequences = 1 << 20}).error().code,
            ErrorCode::kOutOfMemory);
}

TEST(SequencePool, ClosingTwiceIsABrokenPromise) {
  FakeBackend backend;
  auto pool = SequencePool::create(backend, kShape, {});
  ASSERT_TRUE(pool);
  const int64_t slot = *pool->open();
  pool->close(slot);
  EXPECT_THROW(pool->close(slot), BrokenPromise);
  EXPECT_THROW((void)pool->grow(slot, 1), BrokenPromise);
}

}  // namespace
}  // namespace hlwq
