#include "text/reply/json_calls.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "text/reply/json_pieces.h"
#include "text/reply/tag_scan.h"

namespace hlwq {
namespace {

constexpr int kMostDepth = 64;
constexpr JsonLimits kLimits{.depth = kMostDepth};

std::optional<std::string> arguments_of(const Json& call, std::string_view text) {
  const auto arguments = call.find("arguments");
  if (arguments == call.end() || arguments->is_null()) return "{}";
  if (arguments->is_object()) return std::string(json_member(text, "arguments"));
  const auto* quoted = arguments->get_ptr<const std::string*>();
  if (quoted == nullptr) return std::nullopt;
  const std::optional<Json> object = parse_strict_json(*quoted, kLimits);
  if (!object || !object->is_object()) return std::nullopt;
  return *quoted;
}

std::optional<JsonCall> call_of(const Json& call, std::string_view text) {
  if (!call.is_object()) return std::nullopt;
  const auto name = call.find("name");
  if (name == call.end() || !name->is_string() || *name == "") return std::nullopt;
  std::optional<std::string> arguments = arguments_of(call, text);
  if (!arguments) return std::nullopt;
  return JsonCall{name->get<std::string>(), std::move(*arguments)};
}

// Outside strings.
bool may_be_in_json(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
         std::string_view("{}[]:,.+-E \t\r\n").find(c) != std::string_view::npos;
}

}  // namespace

std::optional<std::vector<JsonCall>> parse_json_calls(std::string_view text) {
  const std::optional<Json> value = parse_strict_json(text, kLimits);
  if (!value) return std::nullopt;
  std::vector<JsonCall> calls;
  if (!value->is_array()) {
    std::optional<JsonCall> call = call_of(*value, text);
    if (!call) return std::nullopt;
    calls.push_back(std::move(*call));
    return calls;
  }
  const std::vector<std::string_view> elements = json_elements(text);
  for (size_t i = 0; i < elements.size(); ++i) {
    std::optional<JsonCall> call = call_of((*value)[i], elements[i]);
    if (!call) return std::nullopt;
    calls.push_back(std::move(*call));
  }
  return calls;
}

JsonCallReader::Step JsonCallReader::push(char c) {
  if (text_.empty()) {
    if (kTagSpace.find(c) != std::string_view::npos) return Step::kMore;
    if (c != opening_) return Step::kBroken;
  }
  text_ += c;
  if (in_string_) return on_string(c);
  if (c == '"') {
    in_string_ = true;
  } else if (c == '{' || c == '[') {
    if (++depth_ > kMostDepth) return Step::kBroken;
  } else if (c == '}' || c == ']') {
    if (--depth_ == 0) return on_close();
  } else if (!may_be_in_json(c)) {
    return Step::kBroken;
  }
  return Step::kMore;
}

JsonCallReader::Step JsonCallReader::on_string(char c) {
  if (static_cast<unsigned char>(c) < 0x20) return Step::kBroken;
  if (is_escaped_) {
    is_escaped_ = false;
  } else if (c == '\\') {
    is_escaped_ = true;
  } else if (c == '"') {
    in_string_ = false;
  }
  return Step::kMore;
}

JsonCallReader::Step JsonCallReader::on_close() {
  std::optional<std::vector<JsonCall>> calls = parse_json_calls(text_);
  if (!calls || calls->empty()) return Step::kBroken;
  calls_ = std::move(*calls);
  return Step::kWhole;
}

std::vector<JsonCall> JsonCallReader::take_calls() { return std::exchange(calls_, {}); }

}  // namespace hlwq
