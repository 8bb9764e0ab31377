#include "ops/host_bandwidth.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "ops/host_memory.h"
#include "tensor/buffer.h"

namespace hlwq {
namespace {

constexpr size_t kMostBytes = size_t{1} << 30;
constexpr size_t kLeastBytes = size_t{64} << 20;
constexpr size_t kPieceBytes = size_t{2} << 20;  // of a task; divides both
constexpr int kRounds = 5;                       // the first one warms up

// Four chains, so that loads and not the xor are waited for.
uint64_t read_words(const uint64_t* words, size_t count) {
  uint64_t sums[4] = {};
  for (size_t i = 0; i + 4 <= count; i += 4)
    for (size_t c = 0; c < 4; ++c) sums[c] ^= words[i + c];
  return sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
}

}  // namespace

Result<double> host_read_bandwidth(ThreadPool& pool) {
  // A quarter of what is free, because writing to memory that is not there ends the process.
  const size_t wanted = std::clamp(host_memory().free / 4, kLeastBytes, kMostBytes);
  const size_t bytes = wanted / kPieceBytes * kPieceBytes;
  HLWQ_TRY_ASSIGN(const Buffer buffer, allocate_host(bytes, "buffer of the bandwidth measurement"));
  const auto pieces = static_cast<int64_t>(bytes / kPieceBytes);
  const auto piece = [&](int64_t i) {
    return buffer.data() + static_cast<size_t>(i) * kPieceBytes;
  };
  // Memory nobody wrote to is one page of zeros that every cache holds.
  pool.run(pieces,
           [&](int64_t i) { std::memset(piece(i), static_cast<int>(i % 251), kPieceBytes); });

  std::atomic<uint64_t> sum{0};
  double best = 0;
  for (int round = 0; round < kRounds; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    pool.run(pieces, [&](int64_t i) {
      sum ^=
          read_words(reinterpret_cast<const uint64_t*>(piece(i)), kPieceBytes / sizeof(uint64_t));
    });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    if (round > 0) best = std::max(best, static_cast<double>(bytes) / seconds.count());
  }
  return best;
}

}  // namespace hlwq
