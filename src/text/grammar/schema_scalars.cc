// Strings, numbers, and values that a schema lists.

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "base/utf8.h"
#include "text/grammar/regex_nodes.h"
#include "text/grammar/schema_compiler.h"

namespace hlwq {
namespace {

struct Format {
  std::string_view name;
  std::string_view pattern;
};

// Dates have the right number of days but for 29 February. Times are those of RFC 3339 without
// leap seconds; addresses a plain subset of RFC 5321.
#define HLWQ_DATE                                                                              \
  R"(\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|)" \
  R"(02-(?:0[1-9]|[12]\d)))"
#define HLWQ_TIME \
  R"((?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+\-](?:[01]\d|2[0-3]):[0-5]\d))"
constexpr Format kFormats[] = {
    {"date", "^" HLWQ_DATE "$"},
    {"time", "^" HLWQ_TIME "$"},
    {"date-time", "^" HLWQ_DATE "T" HLWQ_TIME "$"},
    {"uuid", "^[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$"},
    {"email", R"(^[A-Za-z0-9_%+\-]{1,32}(?:\.[A-Za-z0-9_%+\-]{1,32}){0,7}@)"
              R"([A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?)"
              R"((?:\.[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?){1,7}$)"},
    {"ipv4",
     R"(^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)$)"},
};
#undef HLWQ_DATE
#undef HLWQ_TIME

std::optional<std::string_view> pattern_of_format(std::string_view name) {
  for (const Format& format : kFormats) {
    if (format.name == name) return format.pattern;
  }
  return std::nullopt;
}

// What may stand in a parameter that is not JSON, where the end of a line might begin its end.
CodePointSet parameter_alphabet() { return {{'\t', '\t'}, {0x20, 0x7E}, {0x80, 0x10FFFF}}; }

// JSON Schema counts code points.
uint64_t code_points(std::string_view text) {
  return static_cast<uint64_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; }));
}

bool is_within(long double value, const NumberRange& range) {
  if (range.least &&
      (range.least->is_exclusive ? value <= range.least->value : value < range.least->value)) {
    return false;
  }
  return !range.most ||
         !(range.most->is_exclusive ? value >= range.most->value : value > range.most->value);
}

long double number_of(const SchemaJson& json) {
  if (json.is_number_unsigned()) return static_cast<long double>(json.get<uint64_t>());
  if (json.is_number_integer()) return static_cast<long double>(json.get<int64_t>());
  return static_cast<long double>(json.get<double>());
}

}  // namespace

Result<GrammarNode> SchemaCompiler::string(const Conjunction& all, ValueForm form) {
  HLWQ_TRY_ASSIGN(const Counts length, counts(all, "minLength", "maxLength"));
  SchemaPart pattern_at;
  std::string_view pattern;
  for (const Constraint& constraint : all.constraints) {
    for (const char* keyword : {"pattern", "format"}) {
      const SchemaPart part = document_.member(constraint.part, keyword);
      if (part.json == nullptr) continue;
      std::optional<std::string_view> text = part.json->get_ref<const std::string&>();
      if (std::string_view(keyword) == "format") text = pattern_of_format(*text);
      if (!text || (pattern_at.json != nullptr && *text == pattern)) continue;
      if (pattern_at.json != nullptr) {
        return document_.refuse(ErrorCode::kUnsupported, part, "",
                                "a second pattern or format for one string is not supported");
      }
      pattern_at = part;
      pattern = *text;
    }
  }
  const bool is_json = form == ValueForm::kJson;
  if (pattern_at.json == nullptr) {
    if (is_json) return json_.string(length.least, length.most);
    return builder_.sequence(
        {builder_.text_until(kParameterEnd, length.least, length.most), builder_.literal("\n")});
  }
  const Result<RegexNode> regex =
      regex_node(builder_, json_.characters(), pattern, is_json ? Spelling::kJson : Spelling::kUtf8,
                 is_json ? CodePointSet::all() : parameter_alphabet());
  if (!regex) return document_.refuse(regex.error().code, pattern_at, "", regex.error().message);
  if (regex->least > length.most || regex->most < length.least) {
    return contradiction(pattern_at, "", "no string of this pattern has the length that is asked");
  }
  GrammarNode node = regex->node;
  if (regex->least < length.least || regex->most > length.most) {
    if (!regex->only_character) {
      return document_.refuse(ErrorCode::kUnsupported, pattern_at, "",
                              "a pattern or format beside minLength or maxLength is only supported "
                              "where it keeps to that length by itself");
    }
    node = builder_.repeat(*regex->only_character, std::max(regex->least, length.least),
                           std::min(regex->most, length.most));
  }
  if (!is_json) return finish(node, form);
  const GrammarNode quote = builder_.literal("\"");
  return builder_.sequence({quote, node, quote});
}

Result<NumberRange> SchemaCompiler::range(const Conjunction& all) {
  NumberRange result;
  SchemaPart last;  // the bound that was read last
  for (const Constraint& constraint : all.constraints) {
    for (const bool is_exclusive : {false, true}) {
      const SchemaPart least =
          document_.member(constraint.part, is_exclusive ? "exclusiveMinimum" : "minimum");
      if (least.json != nullptr) {
        const NumberBound bound{number_of(*least.json), is_exclusive};
        const bool is_stronger = !result.least || bound.value > result.least->value ||
                                 (bound.value == result.least->value && is_exclusive);
        if (is_stronger) result.least = bound;
        last = least;
      }
      const SchemaPart most =
          document_.member(constraint.part, is_exclusive ? "exclusiveMaximum" : "maximum");
      if (most.json != nullptr) {
        const NumberBound bound{number_of(*most.json), is_exclusive};
        const bool is_stronger = !result.most || bound.value < result.most->value ||
                                 (bound.value == result.most->value && is_exclusive);
        if (is_stronger) result.most = bound;
        last = most;
      }
    }
  }
  if (result.least && result.most) {
    const bool is_point = result.least->value == result.most->value;
    const bool is_open = result.least->is_exclusive || result.most->is_exclusive;
    if (result.least->value > result.most->value || (is_point && is_open)) {
      return contradiction(last, "", "the bounds leave no number");
    }
  }
  return result;
}

Result<GrammarNode> SchemaCompiler::integer(const Conjunction& all) {
  HLWQ_TRY_ASSIGN(const NumberRange bounds, range(all));
  const GrammarNode node = integer_node(builder_, bounds);
  if (node == builder_.never() && !builder_.full()) {
    return contradiction(all.constraints.front().part, "",
                         "the bounds leave no whole number of up to 18 digits");
  }
  return node;
}

Result<GrammarNode> SchemaCompiler::number(const Conjunction& all) {
  HLWQ_TRY_ASSIGN(const NumberRange bounds, range(all));
  const Result<GrammarNode> node = number_node(builder_, bounds);
  if (node) return *node;
  return document_.refuse(node.error().code, all.constraints.front().part, "",
                          node.error().message);
}

std::optional<SchemaPart> SchemaCompiler::find_choice(const Conjunction& all) {
  for (const Constraint& constraint : all.constraints) {
    for (const char* keyword : {"const", "enum"}) {
      const SchemaPart part = document_.member(constraint.part, keyword);
      if (part.json != nullptr) return constraint.part;
    }
  }
  return std::nullopt;
}

// The listed values that all the schemas allow.
Result<std::vector<const SchemaJson*>> SchemaCompiler::choices(const Conjunction& all,
                                                               SchemaPart from) {
  std::vector<const SchemaJson*> values;
  if (const auto only = from.json->find("const"); only != from.json->end()) {
    values.push_back(&*only);
  } else {
    for (const SchemaJson& listed : *from.json->find("enum")) values.push_back(&listed);
  }
  for (const Constraint& constraint : all.constraints) {
    const SchemaJson& schema = *constraint.part.json;
    const auto types = named_types(schema);
    const auto only = schema.find("const");
    const auto list = schema.find("enum");
    const bool is_other_list = list != schema.end() && constraint.part.json != from.json;
    HLWQ_TRY(spend(values.size() / 16 + (is_other_list ? values.size() * list->size() / 16 : 0),
                   constraint.part));
    std::erase_if(values, [&](const SchemaJson* json) {
      if (types && (type_of_value(*json) & *types) == 0) return true;
      if (only != schema.end() && *only != *json) return true;
      return is_other_list && std::find(list->begin(), list->end(), *json) == list->end();
    });
  }
  HLWQ_TRY_ASSIGN(const Counts length, counts(all, "minLength", "maxLength"));
  HLWQ_TRY_ASSIGN(const NumberRange bounds, range(all));
  std::erase_if(values, [&](const SchemaJson* json) {
    if (json->is_number()) return !is_within(number_of(*json), bounds);
    if (!json->is_string()) return false;
    const uint64_t count = code_points(json->get_ref<const std::string&>());
    return count < length.least || count > length.most;
  });
  return values;
}

Result<GrammarNode> SchemaCompiler::one_of(const Conjunction& all, SchemaPart from,
                                           ValueForm form) {
  HLWQ_TRY_ASSIGN(const std::vector<const SchemaJson*> values, choices(all, from));
  if (values.empty()) {
    return contradiction(from, from.json->contains("const") ? "const" : "enum",
                         "none of the values satisfies the keywords beside it");
  }
  SchemaTypes types = 0;
  for (const SchemaJson* json : values) types |= type_of_value(*json);
  for (const Constraint& constraint : all.constraints) {
    for (const auto& [keyword, about] : {std::pair{"pattern", kStringType},
                                         {"properties", kObjectType},
                                         {"required", kObjectType},
                                         {"additionalProperties", kObjectType},
                                         {"minProperties", kObjectType},
                                         {"maxProperties", kObjectType},
                                         {"items", kArrayType},
                                         {"prefixItems", kArrayType},
                                         {"minItems", kArrayType},
                                         {"maxItems", kArrayType}}) {
      if ((types & about) == 0 || !constraint.part.json->contains(keyword)) continue;
      return document_.refuse(ErrorCode::kUnsupported, constraint.part, keyword,
                              "is not supported beside enum or const");
    }
  }
  if (form == ValueForm::kJson) return json_.one_of(values);
  std::vector<const SchemaJson*> others;
  std::vector<std::string> texts;
  for (const SchemaJson* json : values) {
    const auto* text = json->get_ptr<const std::string*>();
    if (text == nullptr) {
      others.push_back(json);
      continue;
    }
    // The end's own line feed follows, so a text may not end in a beginning of it either.
    if ((*text + std::string(kParameterEnd)).find(kParameterEnd) != text->size()) {
      return document_.refuse(ErrorCode::kUnsupported, from, "enum",
                              "a text with \"\\n</parameter>\" cannot be a parameter");
    }
    texts.push_back(*text);
  }
  std::vector<GrammarNode> nodes;
  if (!texts.empty()) nodes.push_back(builder_.one_of(std::move(texts)));
  if (!others.empty()) {
    HLWQ_TRY_ASSIGN(const GrammarNode node, json_.one_of(others));
    nodes.push_back(node);
  }
  return finish(builder_.alternatives(nodes), form);
}

}  // namespace hlwq
