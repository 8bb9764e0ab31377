#include "tests/text/grammar/grammar_test_support.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <regex>
#include <vector>

#include "base/random.h"

namespace hlwq {
namespace {

bool has_type(const OrderedJson& value, const std::string& type) {
  if (type == "integer") {
    return value.is_number_integer() ||
           (value.is_number() && std::floor(value.get<double>()) == value.get<double>());
  }
  if (type == "number") return value.is_number();
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_boolean();
  if (type == "string") return value.is_string();
  if (type == "array") return value.is_array();
  return value.is_object();
}

size_t code_points(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

class Validator {
 public:
  explicit Validator(const OrderedJson& root) : root_(root) {}

  std::string check(const OrderedJson& schema, const OrderedJson& value) {
    if (schema.is_boolean()) return schema == true ? "" : "false allows nothing";
    const std::string shown = value.dump().substr(0, 80);
    for (const auto& [keyword, want] : schema.items()) {
      if (const std::string wrong = check_keyword(schema, keyword, want, value); !wrong.empty()) {
        return keyword + " of " + shown + ": " + wrong;
      }
    }
    return "";
  }

 private:
  std::string check_keyword(const OrderedJson& schema, const std::string& keyword,
                            const OrderedJson& want, const OrderedJson& value) {
    const auto unless = [](bool holds) { return holds ? "" : "violated"; };
    if (keyword == "type") {
      if (schema.value("nullable", false) && value.is_null()) return "";
      if (want.is_string()) return unless(has_type(value, want));
      return unless(std::any_of(want.begin(), want.end(),
                                [&](const OrderedJson& type) { return has_type(value, type); }));
    }
    if (keyword == "enum") return unless(std::find(want.begin(), want.end(), value) != want.end());
    if (keyword == "const") return unless(want == value);
    if (keyword == "$ref") {
      const std::string pointer = want.get<std::string>().substr(1);
      return check(pointer.empty() ? root_ : root_.at(OrderedJson::json_pointer(pointer)), value);
    }
    if (keyword == "anyOf" || keyword == "oneOf") {
      return unless(std::any_of(want.begin(), want.end(), [&](const OrderedJson& branch) {
        return check(branch, value).empty();
      }));
    }
    if (keyword == "allOf") {
      for (const OrderedJson& part : want) {
        if (const std::string wrong = check(part, value); !wrong.empty()) return wrong;
      }
    }
    if (value.is_object()) return check_object(schema, keyword, want, value);
    if (value.is_array()) return check_array(schema, keyword, want, value);
    if (value.is_string()) return check_string(keyword, want, value.get<std::string>());
    if (value.is_number()) {
      const double number = value.get<double>();
      if (keyword == "minimum") return unless(number >= want.get<double>());
      if (keyword == "maximum") return unless(number <= want.get<double>());
      if (keyword == "exclusiveMinimum") return unless(number > want.get<double>());
      if (keyword == "exclusiveMaximum") return unless(number < want.get<double>());
    }
    return "";
  }

  std::string check_object(const OrderedJson& schema, const std::string& keyword,
                           const OrderedJson& want, const OrderedJson& value) {
    if (keyword == "required") {
      for (const OrderedJson& name : want) {
        if (!value.contains(name.get<std::string>())) return name.get<std::string>() + " missing";
      }
    }
    if (keyword == "properties") {
      for (const auto& [name, property] : want.items()) {
        if (!value.contains(name)) continue;
        if (const std::string wrong = check(property, value.at(name)); !wrong.empty()) return wrong;
      }
    }
    if (keyword == "additionalProperties") {
      for (const auto& [name, member] : value.items()) {
        if (schema.contains("properties") && schema.at("properties").contains(name)) continue;
        if (const std::string wrong = check(want, member); !wrong.empty()) return wrong;
      }
    }
    if (keyword == "minProperties" && value.size() < want.get<size_t>()) return "too few";
    if (keyword == "maxProperties" && value.size() > want.get<size_t>()) return "too many";
    return "";
  }

  std::string check_array(const OrderedJson& schema, const std::string& keyword,
                          const OrderedJson& want, const OrderedJson& value) {
    if (keyword == "minItems" && value.size() < want.get<size_t>()) return "too few";
    if (keyword == "maxItems" && value.size() > want.get<size_t>()) return "too many";
    const bool is_prefix = keyword == "prefixItems" || (keyword == "items" && want.is_array());
    const bool is_rest = keyword == "additionalItems" || (keyword == "items" && !want.is_array());
    size_t begin = 0;
    if (is_rest && schema.contains("prefixItems")) begin = schema.at("prefixItems").size();
    if (keyword == "additionalItems") begin = schema.at("items").size();
    for (size_t i = begin; i < value.size() && (is_prefix || is_rest); ++i) {
      if (is_prefix && i >= want.size()) break;
      const std::string wrong = check(is_prefix ? want[i] : want, value[i]);
      if (!wrong.empty()) return wrong;
    }
    return "";
  }

  static std::string check_string(const std::string& keyword, const OrderedJson& want,
                                  const std::string& value) {
    if (keyword == "minLength" && code_points(value) < want.get<size_t>()) return "too short";
    if (keyword == "maxLength" && code_points(value) > want.get<size_t>()) return "too long";
    if (keyword == "pattern" && !std::regex_search(value, std::regex(want.get<std::string>()))) {
      return "does not match";
    }
    return "";
  }

  const OrderedJson& root_;
};

}  // namespace

Grammar grammar_of(std::string_view schema) {
  auto grammar = compile_json_schema(OrderedJson::parse(schema));
  EXPECT_TRUE(grammar) << schema << ": " << grammar.error().message;
  return *grammar;
}

std::string refusal_of(std::string_view schema, ErrorCode code, const SchemaLimits& limits) {
  const auto grammar = compile_json_schema(OrderedJson::parse(schema), limits);
  if (grammar) {
    ADD_FAILURE() << "not refused: " << schema;
    return "";
  }
  EXPECT_EQ(grammar.error().code, code) << grammar.error().message;
  return grammar.error().message;
}

bool accepts(const Grammar& grammar, std::string_view text) {
  GrammarState state = GrammarState::start(grammar);
  const bool taken = state.advance(text);
  EXPECT_FALSE(state.too_complex());
  return taken && state.can_end();
}

std::string random_text(const Grammar& grammar, uint64_t seed, size_t most_bytes) {
  // Bytes that close something, and fewer of them that open it, bring a text to its end.
  constexpr std::string_view kClosing = "\"}]0";
  GrammarState state = GrammarState::start(grammar);
  std::string text;
  for (uint64_t turn = 0; text.size() < most_bytes; ++turn) {
    std::array<char, 256> allowed;
    size_t count = 0;
    for (int byte = 0; byte < 256; ++byte) {
      const char c = static_cast<char>(byte);
      if (state.accepts(std::string_view(&c, 1))) allowed[count++] = c;
    }
    if (state.must_end() != (count == 0 && state.can_end())) {
      ADD_FAILURE() << "must_end() after " << text.substr(0, 300);
      return text;
    }
    const uint64_t draw = random_bits(seed, turn);
    if (state.can_end() && (count == 0 || draw % 4 == 0)) return text;
    if (count == 0) {
      ADD_FAILURE() << "dead end after " << text.substr(0, 300) << " seed " << seed;
      return text;
    }
    char next = allowed[(draw >> 8) % count];
    const size_t closing_share = text.size() < 100 ? 6 : 2;
    if ((draw >> 32) % closing_share == 0) {
      for (size_t i = 0; i < count; ++i) {
        if (kClosing.find(allowed[i]) != std::string_view::npos) next = allowed[i];
      }
    }
    if (!state.advance(std::string_view(&next, 1))) {
      ADD_FAILURE() << "accepts() and advance() differ after " << text.substr(0, 300);
      return text;
    }
    text += next;
  }
  ADD_FAILURE() << "no end within " << most_bytes << " bytes: " << text.substr(0, 300);
  return text;
}

std::string violation(const OrderedJson& schema, const OrderedJson& value) {
  return Validator(schema).check(schema, value);
}

}  // namespace hlwq
