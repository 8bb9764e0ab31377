// fill_random.cu: weights that nobody trained, for measurements.
// Math    word i = (random_bits(seed, i) & keep) | set
// Shapes  any number of bytes; little-endian words of 64 bits, the last one cut
// Bytes   those written
// Floor   4.3 TB/s: 19 GB in 4.4 ms
// Method  two words, 16 bytes, a thread and turn

#include "base/random.h"
#include "kernels/cuda/fill_random.h"
#include "kernels/cuda/launch.cuh"

namespace hlwq::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostCtas = 4096;

// Pairs of words, the first of the memory at a multiple of 16 bytes.
__global__ void __launch_bounds__(kThreads)
    fill_words(uint64_t* words, int64_t pairs, uint64_t seed, uint64_t keep, uint64_t set) {
  wait_for_inputs();
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < pairs;
       i += step) {
    const auto first = static_cast<uint64_t>(2 * i);
    reinterpret_cast<ulonglong2*>(words)[i] = make_ulonglong2(
        (random_bits(seed, first) & keep) | set, (random_bits(seed, first + 1) & keep) | set);
  }
}

// Bytes [begin, end), one a thread.
__global__ void __launch_bounds__(kThreads) fill_bytes(uint8_t* to, int64_t begin, int64_t end,
                                                       uint64_t seed, uint64_t keep, uint64_t set) {
  wait_for_inputs();
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t at = begin + static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; at < end;
       at += step) {
    const uint64_t word = (random_bits(seed, static_cast<uint64_t>(at / 8)) & keep) | set;
    to[at] = static_cast<uint8_t>(word >> (8 * (at % 8)));
  }
}

unsigned ctas_for(int64_t items) {
  const int64_t ctas = (items + kThreads - 1) / kThreads;
  return static_cast<unsigned>(ctas < kMostCtas ? ctas : kMostCtas);
}

}  // namespace

void fill_random(std::byte* to, size_t bytes, uint64_t seed, uint64_t keep, uint64_t set,
                 cudaStream_t stream) {
  const auto count = static_cast<int64_t>(bytes);
  const bool aligned = reinterpret_cast<uintptr_t>(to) % 16 == 0;
  const int64_t pairs = aligned ? count / 16 : 0;
  if (pairs > 0) {
    launch(fill_words, {.grid = ctas_for(pairs), .block = kThreads, .stream = stream},
           reinterpret_cast<uint64_t*>(to), pairs, seed, keep, set);
  }
  if (pairs * 16 < count) {
    launch(fill_bytes, {.grid = ctas_for(count - pairs * 16), .block = kThreads, .stream = stream},
           reinterpret_cast<uint8_t*>(to), pairs * 16, count, seed, keep, set);
  }
}

}  // namespace hlwq::cuda
