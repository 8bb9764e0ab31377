// A template, a NUL, and a JSON object of its variables: an error of those promised, or a rendering
// in UTF-8 whose marks are in order.
// Links: hlwq::text

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/utf8.h"
#include "io/json.h"
#include "text/jinja/from_json.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/parser.h"

namespace {

// Tighter than the server's, for more inputs a second.
constexpr hlwq::jinja::Limits kLimits = {
    .steps = 100'000, .live_bytes = 16u << 20, .text_bytes = 1u << 20};

void check(bool holds) {
  if (!holds) std::abort();
}

void check_error(const hlwq::Error& error) {
  using hlwq::ErrorCode;
  check(error.code == ErrorCode::kInvalidArgument || error.code == ErrorCode::kUnsupported ||
        error.code == ErrorCode::kBadHeader);
  check(hlwq::is_utf8(error.message));
  check(error.message.starts_with("fuzz: "));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  const std::string_view input(reinterpret_cast<const char*>(data), bytes);
  const size_t cut = std::min(input.find('\0'), input.size());
  const auto syntax = hlwq::jinja::parse_template(input.substr(0, cut), "fuzz", kLimits);
  if (!syntax) {
    check_error(syntax.error());
    return 0;
  }
  hlwq::jinja::Interpreter interpreter(**syntax, "fuzz", kLimits, {.tm_mday = 1});
  if (cut < input.size()) {
    const auto json = hlwq::parse_ordered_json(input.substr(cut + 1), "context");
    if (!json || !json->is_object()) return 0;
    for (const auto& [name, member] : json->get_ref<const hlwq::OrderedJson::object_t&>()) {
      auto value = name == "messages"
                       ? hlwq::jinja::messages_from_json(interpreter.runtime(), member)
                       : hlwq::jinja::value_from_json(interpreter.runtime(), member);
      if (!value) {
        check_error(value.error());
        return 0;
      }
      interpreter.set(name, std::move(*value));
    }
  }
  const auto text = interpreter.run();
  if (!text) {
    check_error(text.error());
    return 0;
  }
  check(hlwq::is_utf8(text->bytes()));
  size_t end = 0;
  for (const hlwq::ByteRange& range : text->data()) {
    check(range.begin < range.end && (end == 0 || range.begin > end));
    end = range.end;
  }
  check(end <= text->size());
  return 0;
}
