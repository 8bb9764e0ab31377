#include "ops/host_bandwidth.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "base/cpu_features.h"
#include "ops/host_memory.h"
#include "tensor/buffer.h"

namespace hlwq {
namespace {

constexpr size_t kMostBytes = size_t{4} << 30;
constexpr size_t kLeastBytes = size_t{64} << 20;
constexpr size_t kThreadBytes = size_t{256} << 20;  // of the buffer for each thread ...
constexpr size_t kCaches = 8;                       // ... or so many times the last cache
constexpr size_t kPieceBytes = size_t{256} << 10;   // of a task; divides the least and the most
constexpr size_t kPageBytes = 4096;
constexpr size_t kAheadBytes = 4096;  // of the prefetch; 130 to 140 GB/s on a 16-core Xeon
constexpr int kRounds = 3;
constexpr auto kRoundTime = std::chrono::milliseconds(150);

// One load of the widest kind; narrower instruction sets take several for it.
using Words = uint64_t __attribute__((vector_size(64), may_alias));

// Four chains, so that loads and not the xor are waited for.
[[gnu::always_inline]] inline uint64_t xor_of(const std::byte* from, size_t bytes) {
  Words sums[4] = {};
  for (size_t at = 0; at < bytes; at += sizeof(sums)) {
    for (size_t c = 0; c < 4; ++c) {
      const std::byte* const line = from + at + c * sizeof(Words);
      __builtin_prefetch(line + kAheadBytes);
      sums[c] ^= *reinterpret_cast<const Words*>(line);
    }
  }
  const Words sum = (sums[0] ^ sums[1]) ^ (sums[2] ^ sums[3]);
  uint64_t word = 0;
  for (size_t lane = 0; lane < sizeof(Words) / sizeof(uint64_t); ++lane) word ^= sum[lane];
  return word;
}

using Reader = uint64_t (*)(const std::byte* from, size_t bytes);

uint64_t read_portable(const std::byte* from, size_t bytes) { return xor_of(from, bytes); }
#if defined(__x86_64__)
[[gnu::target("avx2")]] uint64_t read_avx2(const std::byte* from, size_t bytes) {
  return xor_of(from, bytes);
}
[[gnu::target("avx512f")]] uint64_t read_avx512(const std::byte* from, size_t bytes) {
  return xor_of(from, bytes);
}
#endif

Reader widest_reader() {
#if defined(__x86_64__)
  if (cpu_features().avx512_vnni) return read_avx512;
  if (cpu_features().avx2) return read_avx2;
#endif
  return read_portable;
}

// Enough that no cache holds much of it from one pass to the next, but no more than a quarter of
// what is free: writing to memory that is not there ends the process.
size_t buffer_bytes(int threads) {
  const auto cache = static_cast<size_t>(std::max(0L, sysconf(_SC_LEVEL3_CACHE_SIZE)));
  const size_t wanted =
      std::min(std::max(static_cast<size_t>(threads) * kThreadBytes, kCaches * cache), kMostBytes);
  return std::max(std::min(wanted, host_memory().free / 4), kLeastBytes) / kPieceBytes *
         kPieceBytes;
}

}  // namespace

Result<double> host_read_bandwidth(ThreadPool& pool) {
  const size_t bytes = buffer_bytes(pool.threads());
  HLWQ_TRY_ASSIGN(const Buffer buffer, allocate_host(bytes, "buffer of the bandwidth measurement"));
  const auto pieces = static_cast<int64_t>(bytes / kPieceBytes);
  const auto piece = [&](int64_t i) {
    return buffer.data() + static_cast<size_t>(i) * kPieceBytes;
  };
  // Memory nobody wrote to is one page of zeros that every cache holds.
  pool.run(pieces, [&](int64_t i) {
    for (size_t at = 0; at < kPieceBytes; at += kPageBytes)
      std::memcpy(piece(i) + at, &i, sizeof(i));
  });

  const Reader read = widest_reader();
  std::atomic<uint64_t> sum{0};
  double best = 0;
  for (int round = 0; round < kRounds; ++round) {
    double done = 0;
    const auto begin = std::chrono::steady_clock::now();
    std::chrono::duration<double> time{};
    do {
      pool.run(pieces, [&](int64_t i) {
        sum.fetch_xor(read(piece(i), kPieceBytes), std::memory_order_relaxed);
      });
      done += static_cast<double>(bytes);
      time = std::chrono::steady_clock::now() - begin;
    } while (time < kRoundTime);
    best = std::max(best, done / time.count());
  }
  return best;
}

}  // namespace hlwq
