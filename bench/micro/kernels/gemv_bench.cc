// Coded matrix products of the CPU back end, per instruction set and number of threads.
//   kernels_gemv_bench [--benchmark_...]
// read      the floor: bytes/s of an F32 product, matrices larger than the caches
// gemv      one token: bytes of codes, signs and norms a second, and their share of the floor
// gemm/N    N tokens: multiply-adds a second, and those bytes
// Every instruction set's output is first compared with the portable one's, bit for bit.

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/cpu_features.h"
#include "base/random.h"
#include "kernels/backends.h"
#include "quant/codebook.h"

namespace hlwq {
namespace {

constexpr int64_t kRows = 14848, kCols = 2688;  // the largest matrix of a 30B layer, 26 MB
constexpr int64_t kCopies = 8;                  // read in turn, so that caches do not help
constexpr int64_t kOnesRows = 3072;             // of an F32 matrix of about as many bytes
constexpr int64_t kMostTokens = 512;
constexpr uint64_t kSeed = 20261122;

struct Inputs {
  LevelGrid grid;
  CodedShape shape;
  std::vector<Buffer> matrices;
  Buffer ones;  // kCopies F32 matrices
  Buffer x, xq, sx, sum, y;

  [[nodiscard]] Matrix matrix(int64_t copy) const {
    Matrix m{matrices[static_cast<size_t>(copy % kCopies)].data(), kRows, kCols};
    m.grid = &grid;
    m.layout = CodeLayout::kTiled5;
    return m;
  }
  [[nodiscard]] Activation activation(int64_t tokens) const {
    return {dense(x.as<float>().data(), tokens, kCols),
            {xq.as<int8_t>().data(), sx.as<float>().data(), sum.as<int32_t>().data(), tokens,
             blocks_of(kCols)}};
  }
};

template <typename T>
T value_or_exit(Result<T> result) {
  if (result) return std::move(*result);
  std::fprintf(stderr, "%s\n", result.error().message.c_str());
  std::exit(1);
}

Inputs make_inputs() {
  Inputs in;
  in.grid = value_or_exit(snap_to_grid(codebook(CodebookKind::kGrid, 5)));
  in.shape = {CodeLayout::kTiled5, 5, kRows, kCols};
  for (int64_t copy = 0; copy < kCopies; ++copy) {
    Buffer matrix = value_or_exit(allocate_host(static_cast<size_t>(in.shape.bytes()), "matrix"));
    const auto words = matrix.as<uint64_t>();
    for (size_t i = 0; i < words.size(); ++i) words[i] = random_bits(kSeed + copy, i);
    // Norms of 0.5 to 1: any other bytes are valid codes.
    for (int64_t i = in.shape.norms_offset(); i < in.shape.bytes(); i += 2) {
      uint16_t* norm = reinterpret_cast<uint16_t*>(matrix.data() + i);
      *norm = static_cast<uint16_t>(0x3800 | (*norm & 0x3ff));
    }
    in.matrices.push_back(std::move(matrix));
  }
  const auto allocate = [](int64_t bytes) {
    return value_or_exit(allocate_host(static_cast<size_t>(bytes), "activations"));
  };
  const int64_t blocks = blocks_of(kCols) * kMostTokens;
  in.ones = allocate(kCopies * kOnesRows * kCols * 4);
  std::ranges::fill(in.ones.as<float>(), 1.0f);
  in.x = allocate(kMostTokens * kCols * 4);
  in.xq = allocate(blocks * kBlock);
  in.sx = allocate(blocks * 4);
  in.sum = allocate(blocks * 4);
  in.y = allocate(kMostTokens * kRows * 4);
  for (size_t i = 0; i < in.x.as<float>().size(); ++i) {
    in.x.as<float>()[i] = static_cast<float>(random_uniform(kSeed, i) - 0.5);
  }
  value_or_exit(make_cpu_backend({.threads = 1}))->quantize({in.activation(kMostTokens)});
  return in;
}

const Inputs& inputs() {
  static const Inputs in = make_inputs();
  return in;
}

void multiply(Backend& backend, int64_t copy, int64_t tokens) {
  const Projection projection{.weight = inputs().matrix(copy),
                              .y = dense(inputs().y.as<float>().data(), tokens, kRows)};
  backend.project({inputs().activation(tokens), {&projection, 1}});
}

std::unique_ptr<Backend> make_backend(const std::string& isa, int threads) {
  auto backend = value_or_exit(make_cpu_backend({.threads = threads, .isa = isa}));
  const Status reserved = backend->reserve({.tokens = kMostTokens, .width = kCols});
  if (!reserved) std::exit(1);
  return backend;
}

// Bytes a second that a product with F32 weights reads: one load and one fma for 64 bytes, so
// memory is all it waits for. Best of several passes over all copies.
double read_rate(int threads) {
  const auto backend = make_backend("best", threads);
  double best = 0;
  for (int pass = 0; pass < 5; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    for (int64_t copy = 0; copy < kCopies; ++copy) {
      const Matrix matrix{inputs().ones.data() + copy * kOnesRows * kCols * 4, kOnesRows, kCols};
      const Projection projection{.weight = matrix,
                                  .y = dense(inputs().y.as<float>().data(), 1, kOnesRows)};
      backend->project({inputs().activation(1), {&projection, 1}});
    }
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(inputs().ones.bytes()) / time.count());
  }
  return best;
}

void run_read(benchmark::State& state, int threads) {
  double rate = 0;
  for (auto _ : state) rate = std::max(rate, read_rate(threads));
  state.counters["GB/s"] = rate / 1e9;
}

void run_product(benchmark::State& state, const std::string& isa, int threads, int64_t tokens) {
  const auto backend = make_backend(isa, threads);
  multiply(*make_backend("portable", usable_cpus()), 0, tokens);
  const auto y = inputs().y.as<float>();
  const std::vector<float> want(y.begin(), y.begin() + tokens * kRows);
  multiply(*backend, 0, tokens);
  if (!std::equal(want.begin(), want.end(), y.begin())) {
    state.SkipWithError("differs from the portable kernels");
    return;
  }
  // The fastest repetition: others share the machine.
  int64_t copy = 0;
  double best_s = 1e9;
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    multiply(*backend, ++copy, tokens);
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    best_s = std::min(best_s, time.count());
  }
  const double rate = static_cast<double>(inputs().shape.bytes()) / best_s;
  state.counters["GB/s"] = rate / 1e9;
  if (tokens == 1) {
    state.counters["of_floor"] = rate / read_rate(threads);
  } else {
    state.counters["GMAC/s"] = static_cast<double>(tokens * kRows * kCols) / best_s / 1e9;
  }
}

void register_all() {
  std::vector<int> thread_counts{1};
  if (usable_cpus() > 1) thread_counts.push_back(usable_cpus());
  for (const int threads : thread_counts) {
    benchmark::RegisterBenchmark(fmt::format("read/threads:{}", threads).c_str(),
                                 [threads](benchmark::State& state) { run_read(state, threads); })
        ->Iterations(3)
        ->UseRealTime();
  }
  for (const std::string isa : {"portable", "avx2", "avx512", "amx"}) {
    if (!make_cpu_backend({.threads = 1, .isa = isa})) continue;  // not on this machine
    for (const int threads : thread_counts) {
      for (const int64_t tokens : {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 512}) {
        const std::string kind = tokens == 1 ? "gemv" : fmt::format("gemm/{}", tokens);
        benchmark::RegisterBenchmark(
            fmt::format("{}/{}/threads:{}", kind, isa, threads).c_str(),
            [=](benchmark::State& state) { run_product(state, isa, threads, tokens); })
            ->UseRealTime()
            ->MinTime(0.3);
      }
    }
  }
}

}  // namespace
}  // namespace hlwq

int main(int argc, char** argv) {
  hlwq::register_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
