// Tokenizer speed: loading tokenizer.json, encoding and decoding a text, on one core.
//   text_tokenizer_bench [tokenizer folder [text file]] [--benchmark_...]
// Defaults: the unpacked test data, tokenizer nemotron-3 and the WikiText-2 test split.
// "cold" gives every call a tokenizer whose caches are empty; "warm" repeats on one.

#include <benchmark/benchmark.h>

#include <cstdio>
#include <string>
#include <vector>

#include "io/file.h"
#include "text/tokenizer.h"

namespace {

constexpr uint64_t kMostTextBytes = uint64_t{1} << 30;

std::string tokenizer_path = HLWQ_TEST_DATA "/tokenizers/nemotron-3";
std::string text_path = HLWQ_TEST_DATA "/wikitext2/wiki.test.raw";

template <typename T>
T value_or_exit(hlwq::Result<T> result) {
  if (result) return std::move(*result);
  std::fprintf(stderr, "%s\n", result.error().message.c_str());
  std::exit(1);
}

void BM_Load(benchmark::State& state) {
  for (auto _ : state) value_or_exit(hlwq::Tokenizer::open(tokenizer_path));
}

void BM_EncodeCold(benchmark::State& state) {
  const std::string text = value_or_exit(hlwq::read_text_file(text_path, kMostTextBytes));
  for (auto _ : state) {
    state.PauseTiming();
    {
      const hlwq::Tokenizer tokenizer = value_or_exit(hlwq::Tokenizer::open(tokenizer_path));
      state.ResumeTiming();
      benchmark::DoNotOptimize(value_or_exit(tokenizer.encode(text)));
      state.PauseTiming();
    }
    state.ResumeTiming();
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
}

void BM_EncodeWarm(benchmark::State& state) {
  const std::string text = value_or_exit(hlwq::read_text_file(text_path, kMostTextBytes));
  const hlwq::Tokenizer tokenizer = value_or_exit(hlwq::Tokenizer::open(tokenizer_path));
  size_t tokens = 0;
  for (auto _ : state) tokens = value_or_exit(tokenizer.encode(text)).size();
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
  state.counters["tokens"] = static_cast<double>(tokens);
}

void BM_Decode(benchmark::State& state) {
  const std::string text = value_or_exit(hlwq::read_text_file(text_path, kMostTextBytes));
  const hlwq::Tokenizer tokenizer = value_or_exit(hlwq::Tokenizer::open(tokenizer_path));
  const std::vector<int32_t> ids = value_or_exit(tokenizer.encode(text));
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer.decode(ids));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
}

BENCHMARK(BM_Load)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_EncodeCold)->Unit(benchmark::kMillisecond)->Iterations(5);
BENCHMARK(BM_EncodeWarm)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_Decode)->Unit(benchmark::kMillisecond);

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (argc > 1) tokenizer_path = argv[1];
  if (argc > 2) text_path = argv[2];
  benchmark::RunSpecifiedBenchmarks();
}
