// Encoding and decoding on one core. bytes_per_second counts the weights as BF16, the form they
// have in a checkpoint, so it compares with the speed of a disk; noise_to_signal is the error that
// the same run made. Floor: the FP32 input of 4 bytes a weight at the memory's speed, 10 GB/s or
// more, which is 5 GB/s of BF16.

#include <benchmark/benchmark.h>

#include <vector>

#include "quant/block_dispatch.h"
#include "tests/quant/random_weights.h"

namespace hlwq {
namespace {

// One expert's up matrix in Nemotron-H 30B-A3B.
constexpr int64_t kRows = 1856, kCols = 2688;

const std::vector<float>& weights() {
  static const std::vector<float> values =
      normal_values(static_cast<size_t>(kRows * kCols), 0.02, 1);
  return values;
}

struct Case {
  const char* name;
  CodebookKind kind;
  int bits;
  NormRule rule;
};

void encode(benchmark::State& state, const BlockKernels& kernels, const Case& c) {
  const Levels& levels = codebook(c.kind, c.bits);
  std::vector<uint8_t> codes(weights().size());
  std::vector<uint16_t> norms(weights().size() / kBlock);
  Distortion distortion;
  for (auto _ : state) {
    const auto result = encode_rows_on(kernels, weights(), kCols, levels, c.rule, codes, norms);
    if (!result) return state.SkipWithError(result.error().message.c_str());
    distortion = *result;
  }
  state.SetBytesProcessed(state.iterations() * kRows * kCols * 2);
  state.counters["noise_to_signal"] =
      (distortion.ww - 2 * distortion.wd + distortion.dd) / distortion.ww;
}

void decode(benchmark::State& state, const BlockKernels& kernels, int bits) {
  const std::vector<uint8_t> codes = random_codes(weights().size(), bits, 2);
  const std::vector<uint16_t> norms(weights().size() / kBlock, 0x3400);
  std::vector<float> out(weights().size());
  for (auto _ : state) {
    decode_rows_on(kernels, codes, norms, kCols, codebook(CodebookKind::kGrid, bits), out);
    benchmark::DoNotOptimize(out.data());
  }
  state.SetBytesProcessed(state.iterations() * kRows * kCols * 2);
}

const bool kRegistered = [] {
  const Case kCases[] = {
      {"published/plain", CodebookKind::kWire, 5, NormRule::kPlain},
      {"optimal/plain", CodebookKind::kOptimal, 5, NormRule::kPlain},
      {"grid/plain", CodebookKind::kGrid, 5, NormRule::kPlain},
      {"grid/least_squares", CodebookKind::kGrid, 5, NormRule::kLeastSquares},
      {"grid/search", CodebookKind::kGrid, 5, NormRule::kSearch},
      {"grid/search", CodebookKind::kGrid, 4, NormRule::kSearch},
      {"optimal/search", CodebookKind::kOptimal, 8, NormRule::kSearch},
  };
  for (const BlockKernels* kernels : usable_block_kernels()) {
    for (const Case& c : kCases) {
      const std::string name =
          std::string("encode/") + kernels->name + "/" + c.name + "/bits:" + std::to_string(c.bits);
      benchmark::RegisterBenchmark(name.c_str(), [kernels, c](benchmark::State& state) {
        encode(state, *kernels, c);
      })->Unit(benchmark::kMillisecond);
    }
    for (const int bits : {5, 8}) {
      const std::string name =
          std::string("decode/") + kernels->name + "/bits:" + std::to_string(bits);
      benchmark::RegisterBenchmark(name.c_str(), [kernels, bits](benchmark::State& state) {
        decode(state, *kernels, bits);
      })->Unit(benchmark::kMillisecond);
    }
  }
  return true;
}();

}  // namespace
}  // namespace hlwq
