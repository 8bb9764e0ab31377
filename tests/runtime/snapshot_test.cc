#include "runtime/snapshot.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "tests/runtime/fake_model.h"

namespace hlwq {
namespace {

class SnapshotTest : public testing::Test {
 protected:
  void SetUp() override {
    auto made = SequencePool::create(backend_, FakeModel(10).state_shape(),
                                     {.sequences = 3, .context = 512});
    ASSERT_TRUE(made);
    pool_.emplace(std::move(*made));
    auto store = SnapshotStore::create(backend_, *pool_, 1 << 20);
    ASSERT_TRUE(store);
    store_ = *store;
  }
  // Random bytes in everything the slot has.
  void fill(int64_t slot, int64_t tokens, uint64_t seed) {
    ASSERT_TRUE(pool_->grow(slot, tokens));
    uint64_t counter = 0;
    for (const auto part : parts_of(slot, tokens))
      for (std::byte& byte : part) byte = static_cast<std::byte>(random_bits(seed, counter++));
  }
  std::vector<std::span<std::byte>> parts_of(int64_t slot, int64_t tokens) {
    std::vector<std::span<std::byte>> parts = pool_->states_of(slot);
    for (int64_t page = 0; page * kPageTokens < tokens; ++page)
      for (const auto part : pool_->page_of(slot, page)) parts.push_back(part);
    return parts;
  }
  std::vector<std::byte> bytes_of(int64_t slot, int64_t tokens) {
    std::vector<std::byte> bytes;
    for (const auto part : parts_of(slot, tokens))
      bytes.insert(bytes.end(), part.begin(), part.end());
    return bytes;
  }

  FakeBackend backend_;
  std::optional<SequencePool> pool_;
  std::shared_ptr<SnapshotStore> store_;
};

TEST_F(SnapshotTest, ComesBackByteForByteInAnotherSlot) {
  for (const int64_t tokens : {1, 63, 64, 65, 200, 256}) {
    SCOPED_TRACE(tokens);
    const int64_t from = *pool_->open();
    fill(from, tokens, 1 + static_cast<uint64_t>(tokens));
    const std::vector<std::byte> before = bytes_of(from, tokens);
    auto snapshot = save_sequence(backend_, *pool_, from, tokens, *store_, {});
    ASSERT_TRUE(snapshot) << snapshot.error().message;
    EXPECT_EQ(store_->blocks() - store_->free_blocks(), snapshot_blocks(*store_, *pool_, tokens));
    const int64_t to = *pool_->open();
    fill(from, tokens, 999);  // what is kept is a copy
    fill(to, 1, 998);
    pool_->close(to);
    const int64_t again = *pool_->open();
    ASSERT_TRUE(restore_sequence(backend_, *pool_, again, *snapshot));
    EXPECT_EQ(bytes_of(again, tokens), before);
    pool_->close(again);
    pool_->close(from);
  }
  EXPECT_EQ(store_->free_blocks(), store_->blocks());
}

TEST_F(SnapshotTest, LaterSnapshotsShareFullPages) {
  const int64_t slot = *pool_->open();
  fill(slot, 300, 4);
  auto early = save_sequence(backend_, *pool_, slot, 150, *store_, {});
  ASSERT_TRUE(early);
  const size_t before = store_->free_blocks();
  const auto bytes = bytes_of(slot, 300);
  auto late = save_sequence(backend_, *pool_, slot, 300, *store_, early->pages);
  ASSERT_TRUE(late);
  EXPECT_EQ(before - store_->free_blocks(), snapshot_blocks(*store_, *pool_, 300) - 2);
  *early = {};
  pool_->close(slot);
  const int64_t again = *pool_->open();
  ASSERT_TRUE(restore_sequence(backend_, *pool_, again, *late));
  EXPECT_EQ(bytes_of(again, 300), bytes);
}

TEST_F(SnapshotTest, AFullStoreKeepsNothingOfWhatDoesNotFit) {
  auto small = SnapshotStore::create(backend_, *pool_, 3 * (16 << 10));
  ASSERT_TRUE(small);
  const int64_t slot = *pool_->open();
  fill(slot, 400, 5);
  const auto refused = save_sequence(backend_, *pool_, slot, 400, **small, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kOutOfMemory);
  EXPECT_EQ((*small)->free_blocks(), (*small)->blocks());
  EXPECT_TRUE(save_sequence(backend_, *pool_, slot, 128, **small, {}));
}

}  // namespace
}  // namespace hlwq
