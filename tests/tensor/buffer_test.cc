#include "tensor/buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

namespace hlwq {
namespace {

// Counts what the deleter was told, and for which address.
struct Freed {
  int calls = 0;
  void* data = nullptr;
  size_t bytes = 0;
};
Freed freed;
void count_free(void* data, size_t bytes) noexcept { freed = {freed.calls + 1, data, bytes}; }

class BufferOwnership : public testing::Test {
 protected:
  void SetUp() override { freed = {}; }
  Buffer make(size_t index) { return Buffer(storage_ + 16 * index, 16, Device::kCuda, count_free); }
  std::byte storage_[64] = {};
};

static_assert(!std::is_copy_constructible_v<Buffer> && !std::is_copy_assignable_v<Buffer>);

TEST_F(BufferOwnership, FreesOnceWithItsOwnAddressAndLength) {
  { const Buffer buffer = make(1); }
  EXPECT_EQ(freed.calls, 1);
  EXPECT_EQ(freed.data, storage_ + 16);
  EXPECT_EQ(freed.bytes, 16u);
}

TEST_F(BufferOwnership, MoveConstructionLeavesNothingBehind) {
  Buffer from = make(0);
  {
    const Buffer to = std::move(from);
    EXPECT_EQ(to.data(), storage_);
    EXPECT_EQ(to.bytes(), 16u);
    EXPECT_EQ(to.device(), Device::kCuda);
    EXPECT_EQ(from.data(), nullptr);  // NOLINT(bugprone-use-after-move)
    EXPECT_TRUE(from.empty());
  }
  EXPECT_EQ(freed.calls, 1);
}

TEST_F(BufferOwnership, MoveAssignmentFreesTheOldMemoryFirst) {
  Buffer from = make(0);
  Buffer to = make(1);
  to = std::move(from);
  EXPECT_EQ(freed.calls, 1);
  EXPECT_EQ(freed.data, storage_ + 16);
  EXPECT_EQ(to.data(), storage_);
  EXPECT_EQ(to.device(), Device::kCuda);
  to = Buffer();
  EXPECT_EQ(freed.calls, 2);
  EXPECT_EQ(freed.data, storage_);
  EXPECT_EQ(to.data(), nullptr);
}

TEST_F(BufferOwnership, AssigningItselfKeepsTheMemory) {
  Buffer buffer = make(2);
  Buffer& same = buffer;
  buffer = std::move(same);
  EXPECT_EQ(freed.calls, 0);
  EXPECT_EQ(buffer.data(), storage_ + 32);
  EXPECT_EQ(buffer.bytes(), 16u);
}

class AllocateHost : public testing::TestWithParam<size_t> {};

TEST_P(AllocateHost, GivesZeroedAlignedWritableMemory) {
  const size_t bytes = GetParam();
  constexpr size_t kHugeFrom = size_t{4} << 20;
  const size_t align = bytes >= kHugeFrom ? size_t{2} << 20 : 256;
  // Twice, so that memory given back dirty would show.
  for (int round = 0; round < 2; ++round) {
    Result<Buffer> made = allocate_host(bytes, "test");
    ASSERT_TRUE(made.has_value()) << made.error().message;
    const std::span<uint8_t> all = made->as<uint8_t>();
    ASSERT_EQ(all.size(), bytes);
    EXPECT_EQ(made->bytes(), bytes);
    EXPECT_EQ(made->device(), Device::kHost);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(all.data()) % align, 0u);
    EXPECT_TRUE(std::all_of(all.begin(), all.end(), [](uint8_t b) { return b == 0; }));
    std::fill(all.begin(), all.end(), uint8_t{0xAB});
    EXPECT_EQ(all.back(), 0xAB);
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, AllocateHost,
                         testing::Values(1, 255, 4097, (size_t{4} << 20) - 1, size_t{4} << 20,
                                         size_t{5'000'000}, (size_t{6} << 20) + 1));

TEST(AllocateHostEdges, ZeroBytesIsAnEmptyBuffer) {
  const Result<Buffer> made = allocate_host(0, "test");
  ASSERT_TRUE(made.has_value());
  EXPECT_TRUE(made->empty());
  EXPECT_EQ(made->data(), nullptr);
}

TEST(AllocateHostEdges, RefusalNamesWhatAndHowMuch) {
  for (const size_t bytes : {size_t{1} << 60, std::numeric_limits<size_t>::max()}) {
    const Result<Buffer> made = allocate_host(bytes, "expert records");
    ASSERT_FALSE(made.has_value());
    EXPECT_EQ(made.error().code, ErrorCode::kOutOfMemory);
    EXPECT_NE(made.error().message.find("expert records"), std::string::npos);
  }
}

TEST(AllocateHostEdges, ElementsAreWholeOnes) {
  const Result<Buffer> made = allocate_host(11, "test");
  ASSERT_TRUE(made.has_value());
  EXPECT_EQ(made->as<float>().size(), 2u);
}

}  // namespace
}  // namespace hlwq
