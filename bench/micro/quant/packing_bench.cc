// Packings of the file formats and the memory layouts. bytes_per_second counts codes, one byte
// each.

#include <benchmark/benchmark.h>

#include <vector>

#include "quant/layout.h"
#include "quant/packing.h"
#include "tests/quant/random_weights.h"

namespace hlwq {
namespace {

constexpr int64_t kRows = 1856, kCols = 2688;
constexpr int64_t kCodes = kRows * kCols;

void pack(benchmark::State& state, Packing packing, int bits) {
  const std::vector<uint8_t> codes = random_codes(kCodes, bits, 1);
  std::vector<std::byte> packed(static_cast<size_t>(packed_bytes(packing, bits, kCodes)));
  for (auto _ : state) {
    pack_codes(packing, bits, codes, packed);
    benchmark::DoNotOptimize(packed.data());
  }
  state.SetBytesProcessed(state.iterations() * kCodes);
}

void unpack(benchmark::State& state, Packing packing, int bits) {
  std::vector<uint8_t> codes = random_codes(kCodes, bits, 1);
  std::vector<std::byte> packed(static_cast<size_t>(packed_bytes(packing, bits, kCodes)));
  pack_codes(packing, bits, codes, packed);
  for (auto _ : state) {
    unpack_codes(packing, bits, packed, codes);
    benchmark::DoNotOptimize(codes.data());
  }
  state.SetBytesProcessed(state.iterations() * kCodes);
}

void layout(benchmark::State& state, CodeLayout layout, int bits) {
  const CodedShape shape{.layout = layout, .bits = bits, .rows = kRows, .cols = kCols};
  const std::vector<uint8_t> codes = random_codes(kCodes, bits, 1);
  const std::vector<uint16_t> norms(kCodes / kBlock, 0x3400);
  std::vector<std::byte> matrix(static_cast<size_t>(shape.bytes()));
  for (auto _ : state) {
    pack_rows(shape, 0, codes, norms, matrix);
    benchmark::DoNotOptimize(matrix.data());
  }
  state.SetBytesProcessed(state.iterations() * kCodes);
}

BENCHMARK_CAPTURE(pack, lsb5, Packing::kLsb, 5);
BENCHMARK_CAPTURE(unpack, lsb5, Packing::kLsb, 5);
BENCHMARK_CAPTURE(pack, msb5, Packing::kMsb, 5);
BENCHMARK_CAPTURE(unpack, msb5, Packing::kMsb, 5);
BENCHMARK_CAPTURE(pack, msb3, Packing::kMsb, 3);
BENCHMARK_CAPTURE(unpack, msb3, Packing::kMsb, 3);
BENCHMARK_CAPTURE(pack, nibble4, Packing::kNibble, 4);
BENCHMARK_CAPTURE(unpack, nibble4, Packing::kNibble, 4);
BENCHMARK_CAPTURE(layout, tiled5, CodeLayout::kTiled5, 5);
BENCHMARK_CAPTURE(layout, planes4, CodeLayout::kPlanes, 4);

}  // namespace
}  // namespace hlwq
