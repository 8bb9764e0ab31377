#include "text/grammar/schema_compiler.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "text/grammar/schema.h"

namespace hlwq {
namespace {

constexpr size_t kMostConstraints = 256;  // on one value
constexpr int kMostChoices = 16;          // anyOf and oneOf that hold for one value together

}  // namespace

Result<GrammarNode> SchemaCompiler::json_value() {
  const GrammarNode node = value({document_.root()}, ValueForm::kJson);
  HLWQ_TRY(run());
  return node;
}

Result<GrammarNode> SchemaCompiler::json_object() {
  static const SchemaJson kObject = {{"type", "object"}};
  const GrammarNode node =
      value({document_.root(), {&kObject, document_.root().place}}, ValueForm::kJson);
  HLWQ_TRY(run());
  return node;
}

Result<GrammarNode> SchemaCompiler::parameters() {
  HLWQ_TRY_ASSIGN(const Conjunction all, conjunction({document_.root()}));
  for (const Constraint& constraint : all.constraints) {
    for (const char* keyword : {"anyOf", "oneOf", "enum", "const"}) {
      if (constraint.part.json->contains(keyword)) {
        return document_.refuse(ErrorCode::kUnsupported, constraint.part, keyword,
                                "is not supported for the parameters as a whole");
      }
    }
  }
  if ((types_of(all) & kObjectType) == 0) {
    return document_.refuse(ErrorCode::kInvalidArgument, document_.root(), "type",
                            "parameters must be an object");
  }
  HLWQ_TRY_ASSIGN(const ObjectShape shape, object_shape(all));
  HLWQ_TRY_ASSIGN(const GrammarNode node, members(shape, document_.root()));
  HLWQ_TRY(run());
  return node;
}

GrammarNode SchemaCompiler::value(const std::vector<SchemaPart>& parts, ValueForm form) {
  std::vector<const SchemaJson*> key;
  for (const SchemaPart& part : parts) key.push_back(part.json);
  std::sort(key.begin(), key.end());
  key.erase(std::unique(key.begin(), key.end()), key.end());
  const auto [entry, is_new] = rules_.try_emplace({form, std::move(key)}, builder_.never());
  if (is_new) {
    entry->second = builder_.rule();
    pending_.push_back({entry->second, parts, form});
  }
  return entry->second;
}

// A list of work in place of recursion: schemas may be nested as deeply as they like.
Status SchemaCompiler::run() {
  while (!pending_.empty() && !builder_.full()) {
    const Pending next = std::move(pending_.back());
    pending_.pop_back();
    HLWQ_TRY_ASSIGN(const GrammarNode node, body(next));
    builder_.define(next.rule, node);
  }
  return {};  // build() tells of a full builder
}

// The keyword, if there is but one that is no annotation.
std::optional<SchemaPart> SchemaCompiler::only_keyword(SchemaPart schema,
                                                       std::string_view& keyword) {
  keyword = {};
  if (!schema.json->is_object()) return std::nullopt;
  for (const auto& [name, child] : *schema.json->get_ptr<const SchemaJson::object_t*>()) {
    if (is_annotation(name)) continue;
    if (!keyword.empty()) return std::nullopt;
    keyword = name;
  }
  if (keyword.empty()) return std::nullopt;
  return document_.member(schema, keyword);
}

Result<GrammarNode> SchemaCompiler::body(const Pending& pending) {
  const SchemaPart first = pending.parts.empty() ? document_.root() : pending.parts.front();
  HLWQ_TRY(spend(1, first));
  // Alone, these pass a value on; a reference may then lead in a circle, which has no value.
  std::string_view keyword;
  const std::optional<SchemaPart> only =
      pending.parts.size() == 1 ? only_keyword(first, keyword) : std::nullopt;
  if (only && (keyword == "$ref" || keyword == "anyOf" || keyword == "oneOf")) {
    HLWQ_TRY(check_keywords(document_, first));
    HLWQ_TRY(spend(first.json->size() + only->json->size(), first));
    if (keyword == "$ref") {
      HLWQ_TRY_ASSIGN(const SchemaPart target,
                      document_.resolve(first, only->json->get_ref<const std::string&>()));
      return value({target}, pending.form);
    }
    std::vector<GrammarNode> nodes;
    for (const SchemaPart& branch : document_.elements(*only)) {
      nodes.push_back(value({branch}, pending.form));
    }
    return builder_.alternatives(nodes);
  }
  HLWQ_TRY_ASSIGN(const Conjunction all, conjunction(pending.parts));
  return branches(all, 0, pending.form, 0);
}

Status SchemaCompiler::spend(size_t work, SchemaPart at) {
  work_ += work;
  if (work_ <= limits_.work) return {};
  return document_.refuse(ErrorCode::kUnsupported, at, "",
                          fmt::format("the schema takes more than {} steps", limits_.work));
}

Status SchemaCompiler::add(Conjunction& all, SchemaPart part, std::optional<size_t> origin) {
  HLWQ_TRY(spend(1 + part.json->size(), part));
  if (part.json->is_boolean()) {
    if (*part.json == true) return {};
    return contradiction(part, "", "the schema false allows no value");
  }
  if (!part.json->is_object()) {
    return document_.refuse(ErrorCode::kInvalidArgument, part, "",
                            "must be a schema (an object, true or false)");
  }
  const auto is_this = [&](const Constraint& known) { return known.part.json == part.json; };
  for (std::optional<size_t> at = origin; at;) {
    const Constraint& known = all.constraints[*at];
    if (is_this(known)) {
      return document_.refuse(ErrorCode::kInvalidArgument, known.part, "",
                              "the schema refers back to itself for the same value");
    }
    at = known.origin == *at ? std::nullopt : std::optional(known.origin);
  }
  if (std::any_of(all.constraints.begin(), all.constraints.end(), is_this)) return {};
  if (all.constraints.size() >= kMostConstraints) {
    return document_.refuse(ErrorCode::kUnsupported, part, "",
                            fmt::format("more than {} schemas for one value", kMostConstraints));
  }
  HLWQ_TRY(check_keywords(document_, part));
  all.constraints.push_back({part, origin.value_or(all.constraints.size())});
  all.keys += part.json->size();
  return {};
}

Status SchemaCompiler::follow(Conjunction& all, size_t from) {
  for (size_t i = from; i < all.constraints.size(); ++i) {
    const SchemaPart part = all.constraints[i].part;
    if (const SchemaPart reference = document_.member(part, "$ref"); reference.json != nullptr) {
      HLWQ_TRY_ASSIGN(const SchemaPart target,
                      document_.resolve(part, reference.json->get_ref<const std::string&>()));
      HLWQ_TRY(add(all, target, i));
    }
    if (const SchemaPart list = document_.member(part, "allOf"); list.json != nullptr) {
      HLWQ_TRY(spend(list.json->size(), part));
      for (const SchemaPart& element : document_.elements(list)) HLWQ_TRY(add(all, element, i));
    }
  }
  return {};
}

Result<SchemaCompiler::Conjunction> SchemaCompiler::conjunction(
    const std::vector<SchemaPart>& parts) {
  Conjunction all;
  for (const SchemaPart& part : parts) HLWQ_TRY(add(all, part, std::nullopt));
  HLWQ_TRY(follow(all, 0));
  return all;
}

Result<GrammarNode> SchemaCompiler::branches(const Conjunction& all, size_t at, ValueForm form,
                                             int depth) {
  for (; at < all.constraints.size() * 2; ++at) {
    const size_t origin = at / 2;
    const SchemaPart part = all.constraints[origin].part;
    const SchemaPart list = document_.member(part, at % 2 == 0 ? "anyOf" : "oneOf");
    if (list.json == nullptr) continue;
    if (depth >= kMostChoices) {
      return document_.refuse(
          ErrorCode::kUnsupported, part, "",
          fmt::format("more than {} anyOf or oneOf for one value", kMostChoices));
    }
    std::vector<GrammarNode> nodes;
    std::optional<Error> first_error;
    const std::vector<SchemaPart> elements = document_.elements(list);
    for (const SchemaPart& element : elements) {
      if (builder_.full()) break;
      HLWQ_TRY(spend(all.keys + all.constraints.size(), part));
      Conjunction branch = all;
      is_contradiction_ = false;
      Status added = add(branch, element, origin);
      if (added) added = follow(branch, all.constraints.size());
      const Result<GrammarNode> node =
          added ? branches(branch, at + 1, form, depth + 1)
                : Result<GrammarNode>(tl::unexpected<Error>(std::move(added).error()));
      if (node) {
        nodes.push_back(*node);
      } else if (!is_contradiction_) {
        return node;
      } else if (!first_error) {
        // A branch that the keywords beside it exclude is none, unless all are.
        first_error = node.error();
      }
    }
    if (nodes.empty() && first_error) {
      is_contradiction_ = true;
      return tl::unexpected<Error>(std::move(*first_error));
    }
    return builder_.alternatives(nodes);
  }
  return typed(all, form);
}

SchemaTypes SchemaCompiler::types_of(const Conjunction& all) const {
  SchemaTypes types = kAllTypes;
  SchemaTypes implied = 0;
  bool is_named = false;
  for (const Constraint& constraint : all.constraints) {
    if (const auto named = named_types(*constraint.part.json)) {
      types &= *named;
      is_named = true;
    }
    implied |= implied_types(*constraint.part.json);
  }
  return is_named || implied == 0 ? types : implied;
}

GrammarNode SchemaCompiler::finish(GrammarNode node, ValueForm form) {
  if (form == ValueForm::kJson) return node;
  return builder_.sequence({node, builder_.literal(kParameterEnd), builder_.literal("\n")});
}

GrammarNode SchemaCompiler::any(ValueForm form) {
  if (form == ValueForm::kJson) return json_.any_value();
  // A text may be any JSON value, too.
  return builder_.sequence({builder_.text_until(kParameterEnd), builder_.literal("\n")});
}

Result<GrammarNode> SchemaCompiler::typed(const Conjunction& all, ValueForm form) {
  if (const std::optional<SchemaPart> from = find_choice(all)) return one_of(all, *from, form);
  const SchemaTypes types = types_of(all);
  if (types == 0) {
    return contradiction(all.constraints.front().part, "type", "no type is left");
  }
  const bool says_something =
      std::any_of(all.constraints.begin(), all.constraints.end(), [](const Constraint& constraint) {
        const SchemaJson& json = *constraint.part.json;
        return json.contains("type") || json.contains("format") || implied_types(json) != 0;
      });
  if (!says_something) return any(form);

  std::vector<GrammarNode> nodes;  // JSON
  if ((types & kNullType) != 0) nodes.push_back(builder_.literal("null"));
  if ((types & kBooleanType) != 0) nodes.push_back(builder_.one_of({"true", "false"}));
  if ((types & (kNumberType | kIntegerType)) != 0) {
    HLWQ_TRY_ASSIGN(const GrammarNode node,
                    (types & kNumberType) != 0 ? number(all) : integer(all));
    nodes.push_back(node);
  }
  if ((types & kArrayType) != 0) {
    HLWQ_TRY_ASSIGN(const GrammarNode node, array(all));
    nodes.push_back(node);
  }
  if ((types & kObjectType) != 0) {
    HLWQ_TRY_ASSIGN(const GrammarNode node, object(all));
    nodes.push_back(node);
  }
  std::vector<GrammarNode> ways;
  if (!nodes.empty()) ways.push_back(finish(builder_.alternatives(nodes), form));
  if ((types & kStringType) != 0) {
    HLWQ_TRY_ASSIGN(const GrammarNode node, string(all, form));
    ways.push_back(node);
  }
  return builder_.alternatives(ways);
}

tl::unexpected<Error> SchemaCompiler::contradiction(SchemaPart at, std::string_view keyword,
                                                    std::string_view message) {
  is_contradiction_ = true;
  return document_.refuse(ErrorCode::kInvalidArgument, at, keyword, message);
}

Result<SchemaCompiler::Counts> SchemaCompiler::counts(const Conjunction& all,
                                                      std::string_view least_keyword,
                                                      std::string_view most_keyword) {
  // Beyond what a repeat can count it is all the same: a least is refused, a most never reached.
  const auto count = [](const SchemaJson& json) {
    const double number = json.get<double>();
    return number > kMostRepeats ? kMostRepeats + 1 : static_cast<uint32_t>(number);
  };
  Counts result;
  SchemaPart least_at;
  for (const Constraint& constraint : all.constraints) {
    const SchemaPart least = document_.member(constraint.part, least_keyword);
    if (least.json != nullptr && count(*least.json) >= result.least) {
      result.least = count(*least.json);
      least_at = least;
    }
    const SchemaPart most = document_.member(constraint.part, most_keyword);
    if (most.json != nullptr) {
      result.most = std::min({result.most, count(*most.json), kMostRepeats});
    }
  }
  if (result.least > kMostRepeats) {
    return document_.refuse(ErrorCode::kUnsupported, least_at, "",
                            fmt::format("is more than {}", kMostRepeats));
  }
  if (result.least > result.most) {
    return contradiction(
        least_at, "", fmt::format("is {}, but {} is {}", result.least, most_keyword, result.most));
  }
  return result;
}

Result<Grammar> compile_json_schema(const nlohmann::ordered_json& schema,
                                    const SchemaLimits& limits) {
  HLWQ_TRY_ASSIGN(SchemaDocument document, SchemaDocument::read(schema, "schema", limits));
  GrammarBuilder builder(limits.grammar);
  JsonNodes json(builder);
  size_t work = 0;
  SchemaCompiler compiler(builder, json, document, limits, work);
  HLWQ_TRY_ASSIGN(const GrammarNode root, compiler.json_value());
  Result<Grammar> grammar = builder.build(root);
  if (!grammar && grammar.error().code == ErrorCode::kInvalidArgument) {
    return document.refuse(ErrorCode::kInvalidArgument, document.root(), "",
                           "no value satisfies the schema");
  }
  return grammar;
}

Result<Grammar> json_object_grammar() {
  GrammarBuilder builder;
  JsonNodes json(builder);
  return builder.build(json.any_object());
}

}  // namespace hlwq
