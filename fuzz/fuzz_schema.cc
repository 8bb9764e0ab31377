// Any JSON as a schema: a refusal, or a grammar whose texts are JSON. The input's first byte says
// how the rest is used: as a schema, or as the parameters of a tool in one of the formats. Its last
// bytes choose among the bytes that the grammar allows.
// Links: hlwq::text

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/random.h"
#include "base/utf8.h"
#include "text/grammar/grammar_state.h"
#include "text/grammar/schema.h"
#include "text/grammar/tool_grammar.h"

namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr size_t kMostInput = 1 << 14;
constexpr int kMostSteps = 300;

void require(bool holds) {
  if (!holds) std::abort();
}

// Whether this text of a grammar from `start` came to an end; it is then in `text`.
bool walk(const hlwq::Grammar& grammar, uint64_t seed, std::string& text) {
  constexpr std::string_view kClosing = "\"}]>\n";
  hlwq::GrammarState state = hlwq::GrammarState::start(grammar);
  for (int step = 0; step < kMostSteps; ++step) {
    std::array<char, 256> allowed{};
    size_t count = 0;
    bool is_known = true;
    for (int byte = 0; byte < 256; ++byte) {
      const char c = static_cast<char>(byte);
      if (state.accepts(std::string_view(&c, 1))) allowed[count++] = c;
      is_known = is_known && !state.too_complex();
    }
    if (!is_known) return false;
    require(state.must_end() == (count == 0 && state.can_end()));
    require(count > 0 || state.can_end());  // no dead ends
    const uint64_t draw = hlwq::random_bits(seed, static_cast<uint64_t>(step));
    if (state.can_end() && (count == 0 || draw % 2 == 0)) return true;
    char next = allowed[(draw >> 8) % count];
    if (draw % 3 == 0) {
      for (size_t i = 0; i < count; ++i) {
        if (kClosing.find(allowed[i]) != std::string_view::npos) next = allowed[i];
      }
    }
    require(state.advance(std::string_view(&next, 1)));
    text += next;
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  if (bytes < 2 || bytes > kMostInput) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), bytes);
  const OrderedJson schema = OrderedJson::parse(input.substr(1), nullptr, false);
  if (schema.is_discarded()) return 0;
  hlwq::SchemaLimits limits;
  limits.work = 1 << 13;  // inputs a second
  limits.grammar.nodes = 1 << 14;
  uint64_t seed = bytes;
  for (const char c : input) seed = hlwq::random_bits(seed, static_cast<uint8_t>(c));

  const int use = data[0] % 4;
  constexpr std::array<hlwq::ToolFormat, 3> kFormats = {
      hlwq::ToolFormat::kXml, hlwq::ToolFormat::kJson, hlwq::ToolFormat::kNemotronV2};
  const std::array<hlwq::ToolSpec, 1> tools = {hlwq::ToolSpec{"f", schema}};
  const auto grammar = use == 0 ? hlwq::compile_json_schema(schema, limits)
                                : hlwq::tool_call_grammar(
                                      tools, kFormats[static_cast<size_t>(use - 1)], true, limits);
  if (!grammar) {
    require(hlwq::is_utf8(grammar.error().message));
    require(grammar.error().code == hlwq::ErrorCode::kUnsupported ||
            grammar.error().code == hlwq::ErrorCode::kInvalidArgument);
    return 0;
  }
  for (uint64_t turn = 0; turn < 2; ++turn) {
    std::string text;
    if (!walk(*grammar, seed + turn, text)) continue;
    require(hlwq::is_utf8(text));
    if (use == 0) require(!nlohmann::json::parse(text, nullptr, false).is_discarded());
    hlwq::GrammarState whole = hlwq::GrammarState::start(*grammar);
    require(whole.advance(text) && whole.can_end());
  }
  return 0;
}
