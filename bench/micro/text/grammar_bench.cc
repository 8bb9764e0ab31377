// Constrained decoding: compiling a schema, masks over a whole vocabulary, and single tokens.
//   text_grammar_bench [tokenizer folder] [--benchmark_...]
// Default: the unpacked test data, tokenizer nemotron-3. A "cold" mask is the first of its state, a
// "warm" one repeats it; "allowed" counts its tokens.

#include <benchmark/benchmark.h>

#include <bit>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "text/grammar/schema.h"
#include "text/grammar/token_trie.h"
#include "text/grammar/tool_grammar.h"
#include "text/tokenizer.h"

namespace {

std::string tokenizer_path = HLWQ_TEST_DATA "/tokenizers/nemotron-3";

constexpr const char* kSchema = R"({"type":"object","properties":{
    "name":{"type":"string"},"short":{"type":"string","maxLength":200},"age":{"type":"integer"},
    "kind":{"enum":["apple","banana","cherry"]},
    "tags":{"type":"array","items":{"type":"string","pattern":"^[a-z][a-z0-9-]{0,30}$"}}},
    "required":["name","short","age","kind","tags"],"additionalProperties":false})";

struct Place {
  const char* name;
  const char* text;  // so far
};
constexpr Place kPlaces[] = {
    {"free_string", R"({"name": "Ada)"},
    {"bounded_string", R"({"name": "Ada", "short": "x)"},
    {"number", R"({"name": "Ada", "short": "x", "age": 1)"},
    {"between_members", R"({"name": "Ada", "short": "x", "age": 1,)"},
    {"enum", R"({"name": "Ada", "short": "x", "age": 1, "kind": ")"},
    {"pattern", R"({"name": "Ada", "short": "x", "age": 1, "kind": "apple", "tags": ["a)"},
};

template <typename T>
T value_or_exit(hlwq::Result<T> result) {
  if (result) return std::move(*result);
  std::fprintf(stderr, "%s\n", result.error().message.c_str());
  std::exit(1);
}

const hlwq::Tokenizer& tokenizer() {
  static const hlwq::Tokenizer instance = value_or_exit(hlwq::Tokenizer::open(tokenizer_path));
  return instance;
}

const hlwq::TokenTrie& trie() {
  static const hlwq::TokenTrie instance(tokenizer());
  return instance;
}

hlwq::GrammarState state_after(const hlwq::Grammar& grammar, const char* text) {
  hlwq::GrammarState state = hlwq::GrammarState::start(grammar);
  if (!state.advance(text)) {
    std::fprintf(stderr, "the grammar refuses: %s\n", text);
    std::exit(1);
  }
  return state;
}

hlwq::Grammar schema_grammar() {
  return value_or_exit(hlwq::compile_json_schema(nlohmann::ordered_json::parse(kSchema)));
}

void count_allowed(const std::vector<uint64_t>& mask, benchmark::State& state) {
  int count = 0;
  for (const uint64_t word : mask) count += std::popcount(word);
  state.counters["allowed"] = count;
}

void BM_Compile(benchmark::State& state) {
  const auto schema = nlohmann::ordered_json::parse(kSchema);
  for (auto _ : state) benchmark::DoNotOptimize(hlwq::compile_json_schema(schema));
}

void BM_BuildTrie(benchmark::State& state) {
  tokenizer();
  for (auto _ : state) benchmark::DoNotOptimize(hlwq::TokenTrie(tokenizer()));
}

void BM_MaskCold(benchmark::State& state, const Place& place) {
  const hlwq::GrammarState there = state_after(schema_grammar(), place.text);
  std::vector<uint64_t> mask(trie().mask_words());
  for (auto _ : state) {
    state.PauseTiming();
    const hlwq::GrammarState copy = there;
    state.ResumeTiming();
    trie().allowed(copy, mask);
  }
  count_allowed(mask, state);
}

void BM_MaskWarm(benchmark::State& state, const Place& place) {
  const hlwq::GrammarState there = state_after(schema_grammar(), place.text);
  std::vector<uint64_t> mask(trie().mask_words());
  for (auto _ : state) trie().allowed(there, mask);
  count_allowed(mask, state);
}

// The free text of an XML parameter.
void BM_MaskParameter(benchmark::State& state) {
  const std::vector<hlwq::ToolSpec> tools = {
      {"write", {{"properties", {{"text", {{"type", "string"}}}}}, {"required", {"text"}}}}};
  const hlwq::GrammarState there =
      state_after(value_or_exit(hlwq::tool_call_grammar(tools, hlwq::ToolFormat::kXml, true)),
                  "<tool_call>\n<function=write>\n<parameter=text>\nabc");
  std::vector<uint64_t> mask(trie().mask_words());
  for (auto _ : state) {
    state.PauseTiming();
    const hlwq::GrammarState copy = there;
    state.ResumeTiming();
    trie().allowed(copy, mask);
  }
  count_allowed(mask, state);
}

// Per token: asking and taking those of a document in turn.
void BM_AcceptAndAdvance(benchmark::State& state) {
  const std::string text =
      R"({"name": "Ada Lovelace", "short": "wrote programs for a machine that was not built", )"
      R"("age": 36, "kind": "cherry", "tags": ["mathematics", "analytical-engine"]})";
  const auto ids = value_or_exit(tokenizer().encode(text, {.add_special = false}));
  const hlwq::Grammar grammar = schema_grammar();
  for (auto _ : state) {
    hlwq::GrammarState there = hlwq::GrammarState::start(grammar);
    for (const int32_t id : ids) {
      if (!trie().accepts(there, id) || !there.advance(tokenizer().bytes(id))) std::exit(1);
    }
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * ids.size()));
}

BENCHMARK(BM_Compile)->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_BuildTrie)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_MaskParameter)->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_AcceptAndAdvance);

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (argc > 1) tokenizer_path = argv[1];
  for (const Place& place : kPlaces) {
    const std::string name = place.name;
    benchmark::RegisterBenchmark(("BM_MaskCold/" + name).c_str(), BM_MaskCold, place)
        ->Unit(benchmark::kMicrosecond);
    benchmark::RegisterBenchmark(("BM_MaskWarm/" + name).c_str(), BM_MaskWarm, place)
        ->Unit(benchmark::kMicrosecond);
  }
  benchmark::RunSpecifiedBenchmarks();
}
