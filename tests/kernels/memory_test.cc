// Memory of a back end: what goes in comes out, and random words are those of base/random.h.

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/random.h"
#include "tests/kernels/backends_under_test.h"
#include "tests/kernels/op_test_support.h"

namespace hlwq::test {
namespace {

using Memory = BackendTest;

std::vector<std::byte> pattern(size_t bytes, uint64_t seed) {
  std::vector<std::byte> out(bytes);
  for (size_t i = 0; i < bytes; ++i) out[i] = static_cast<std::byte>(random_bits(seed, i));
  return out;
}

TEST_P(Memory, AllocatesZeroesAndSaysHowMuchThereIs) {
  const auto backend = make({.tokens = 1});
  const auto buffer = backend->allocate(100'000, "test");
  ASSERT_TRUE(buffer) << buffer.error().message;
  EXPECT_EQ(buffer->device(), backend->device());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % 256, 0u);
  std::vector<std::byte> got(buffer->bytes(), std::byte{1});
  backend->download(got.data(), buffer->data(), got.size());
  EXPECT_TRUE(std::all_of(got.begin(), got.end(), [](std::byte b) { return b == std::byte{0}; }));
  const DeviceMemory memory = backend->memory();
  EXPECT_GT(memory.total, 0u);
  EXPECT_GT(memory.free, 0u);
  EXPECT_LE(memory.free, memory.total);
  EXPECT_LE(memory.allocated, memory.peak);
  const auto huge = backend->allocate(size_t{1} << 60, "the impossible");
  ASSERT_FALSE(huge);
  EXPECT_EQ(huge.error().code, ErrorCode::kOutOfMemory);
  EXPECT_NE(huge.error().message.find("the impossible"), std::string::npos);
}

TEST_P(Memory, UploadsAndDownloads) {
  const auto backend = make({.tokens = 1});
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{4097}, size_t{5'000'003}}) {
    const auto buffer = backend->allocate(bytes + 16, "test");
    ASSERT_TRUE(buffer);
    std::vector<std::byte> from = pattern(bytes, 3), to(bytes);
    const std::vector<std::byte> want = from;
    backend->upload(buffer->data() + 5, from.data(), bytes);
    std::fill(from.begin(), from.end(), std::byte{0});  // the host's side is free again
    backend->download(to.data(), buffer->data() + 5, bytes);
    EXPECT_EQ(to, want) << bytes;
  }
}

// In order with the ops: a download sees what the op before it wrote, an upload comes after it.
TEST_P(Memory, CopiesKeepTheOrderOfTheOps) {
  const auto backend = GetParam().make();
  ASSERT_TRUE(backend->reserve({.tokens = 4}));
  constexpr int64_t kRows = 4, kCols = 3000;
  const size_t bytes = kRows * kCols * sizeof(float);
  const auto x = backend->allocate(bytes, "x"), y = backend->allocate(bytes, "y");
  ASSERT_TRUE(x && y);
  Random random(7);
  const std::vector<float> values = random.normals(kRows * kCols);
  std::vector<float> got(values.size());
  backend->upload(x->data(), values.data(), bytes);
  const auto view = [](const Buffer& b) { return dense(b.as<float>().data(), kRows, kCols); };
  backend->add({.x = view(*x), .y = view(*y)});
  backend->add({.x = view(*x), .y = view(*y)});
  backend->upload(x->data(), got.data(), bytes);  // zeros, after both have read x
  backend->download(got.data(), y->data(), bytes);
  std::vector<float> want = values;
  for (float& v : want) v = v + v;
  EXPECT_TRUE(same_bits(want, got));
}

TEST_P(Memory, FillsWithRandomWords) {
  const auto backend = make({.tokens = 1});
  constexpr uint64_t kKeep = 0x003f003f003f003full, kSet = 0x2e402e402e402e40ull;
  for (const size_t bytes : {size_t{1}, size_t{8}, size_t{4096}, size_t{1'000'005}}) {
    for (const bool masked : {false, true}) {
      const auto buffer = backend->allocate(bytes + 3, "test");
      ASSERT_TRUE(buffer);
      const uint64_t keep = masked ? kKeep : ~uint64_t{0}, set = masked ? kSet : 0;
      backend->fill_random(buffer->data(), bytes, 42, keep, set);
      std::vector<std::byte> want(bytes + 3), got(bytes + 3);
      for (size_t at = 0; at < bytes; at += 8) {
        const uint64_t word = (random_bits(42, at / 8) & keep) | set;
        std::memcpy(want.data() + at, &word, std::min<size_t>(8, bytes - at));
      }
      backend->download(got.data(), buffer->data(), got.size());
      EXPECT_TRUE(want == got) << bytes;  // and nothing behind the end
    }
  }
}

HLWQ_ON_EVERY_BACKEND(Memory);

}  // namespace
}  // namespace hlwq::test
