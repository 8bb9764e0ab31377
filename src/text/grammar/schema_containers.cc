// Arrays, objects, and objects as the parameters of a tool.

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <unordered_map>

#include "io/printable.h"
#include "text/grammar/schema_compiler.h"

namespace hlwq {
namespace {

constexpr size_t kMostPrefixItems = 1024;

bool is_false(SchemaPart part) { return part.json != nullptr && *part.json == false; }

}  // namespace

Result<SchemaCompiler::ArrayShape> SchemaCompiler::array_shape(const Conjunction& all) {
  ArrayShape shape;
  HLWQ_TRY_ASSIGN(const Counts count, counts(all, "minItems", "maxItems"));
  shape.least = count.least;
  shape.most = count.most;
  struct Items {
    std::vector<SchemaPart> prefix;
    SchemaPart rest;
  };
  std::vector<Items> lists;
  size_t longest = 0;
  for (const Constraint& constraint : all.constraints) {
    Items& items = lists.emplace_back();
    const SchemaPart list = document_.member(constraint.part, "prefixItems");
    items.rest = document_.member(constraint.part, "items");
    SchemaPart prefix = list;
    if (items.rest.json != nullptr && items.rest.json->is_array()) {  // before 2020-12
      prefix = items.rest;
      items.rest = document_.member(constraint.part, "additionalItems");
    }
    if (prefix.json == nullptr) continue;
    HLWQ_TRY(spend(prefix.json->size(), constraint.part));
    if (prefix.json->size() > kMostPrefixItems) {
      return document_.refuse(ErrorCode::kUnsupported, prefix, "",
                              fmt::format("more than {} items", kMostPrefixItems));
    }
    items.prefix = document_.elements(prefix);
    longest = std::max(longest, items.prefix.size());
  }
  shape.prefix.resize(longest);
  for (const Items& items : lists) {
    for (size_t i = 0; i <= longest; ++i) {
      const SchemaPart part = i < items.prefix.size() ? items.prefix[i] : items.rest;
      if (part.json == nullptr) continue;
      (i < longest ? shape.prefix[i] : shape.rest).push_back(part);
      if (is_false(part)) shape.most = std::min(shape.most, static_cast<uint32_t>(i));
    }
  }
  if (shape.least > shape.most) {
    return contradiction(all.constraints.front().part, "minItems",
                         fmt::format("is {}, but items allow {}", shape.least, shape.most));
  }
  return shape;
}

Result<GrammarNode> SchemaCompiler::array(const Conjunction& all) {
  HLWQ_TRY_ASSIGN(const ArrayShape shape, array_shape(all));
  const auto prefix = static_cast<uint32_t>(std::min<size_t>(shape.prefix.size(), shape.most));
  if (prefix == 0) {
    return json_.array(shape.most == 0 ? builder_.never() : value(shape.rest, ValueForm::kJson),
                       shape.least, shape.most);
  }
  const GrammarNode comma = builder_.sequence({builder_.literal(","), json_.gap()});
  // From the last to the first: what may come after so many items.
  GrammarNode after = json_.gap();
  if (shape.most > prefix) {
    const GrammarNode further = builder_.sequence({comma, value(shape.rest, ValueForm::kJson)});
    after = builder_.sequence(
        {builder_.repeat(further, shape.least > prefix ? shape.least - prefix : 0,
                         shape.most == kUnlimited ? kUnlimited : shape.most - prefix),
         after});
  }
  for (uint32_t i = prefix; i-- > 0;) {
    const GrammarNode item = value(shape.prefix[i], ValueForm::kJson);
    if (i == 0) {
      after = builder_.sequence({item, after});
      if (shape.least == 0) after = builder_.optional(after);
      break;
    }
    after = builder_.sequence({comma, item, after});
    if (i >= shape.least) after = builder_.alternatives({after, json_.gap()});
  }
  return builder_.nested({builder_.literal("["), json_.gap(), after, builder_.literal("]")});
}

Result<SchemaCompiler::ObjectShape> SchemaCompiler::object_shape(const Conjunction& all) {
  ObjectShape shape;
  std::unordered_map<std::string_view, size_t> index_of_name;
  const auto property = [&](std::string_view name) -> Property& {
    const auto [entry, is_new] = index_of_name.try_emplace(name, shape.properties.size());
    if (is_new) shape.properties.push_back({.name = name, .parts = {}});
    return shape.properties[entry->second];
  };
  SchemaPart closed_by;
  for (const Constraint& constraint : all.constraints) {
    if (const SchemaPart named = document_.member(constraint.part, "properties");
        named.json != nullptr) {
      HLWQ_TRY(spend(named.json->size(), named));
      for (const SchemaDocument::Member& member : document_.members(named)) {
        Property& known = property(member.key);
        known.parts.push_back(member.part);
        known.is_forbidden = known.is_forbidden || is_false(member.part);
      }
    }
  }
  for (const Constraint& constraint : all.constraints) {
    const auto required = constraint.part.json->find("required");
    if (required == constraint.part.json->end()) continue;
    HLWQ_TRY(spend(required->size(), constraint.part));
    for (const SchemaJson& name : *required) {
      property(name.get_ref<const std::string&>()).is_required = true;
    }
  }
  if (shape.properties.size() > limits_.properties) {
    return document_.refuse(ErrorCode::kUnsupported, all.constraints.front().part, "properties",
                            fmt::format("more than {} properties", limits_.properties));
  }
  // What a schema says of further properties it says of those too that only others name.
  for (const Constraint& constraint : all.constraints) {
    const SchemaPart more = document_.member(constraint.part, "additionalProperties");
    if (more.json == nullptr) continue;
    const auto own = constraint.part.json->find("properties");
    HLWQ_TRY(spend(shape.properties.size() * (own == constraint.part.json->end() ? 1 : 2), more));
    for (Property& known : shape.properties) {
      if (own != constraint.part.json->end() && own->contains(std::string(known.name))) continue;
      known.parts.push_back(more);
      known.is_forbidden = known.is_forbidden || is_false(more);
    }
    if (is_false(more)) shape.has_more = false;
    shape.more_parts.push_back(more);
  }
  for (const Property& known : shape.properties) {
    shape.required += known.is_required ? 1 : 0;
    if (known.is_required && known.is_forbidden) {
      return contradiction(
          all.constraints.front().part, "required",
          fmt::format("\"{}\" is required, but not allowed", printable(known.name)));
    }
  }
  HLWQ_TRY_ASSIGN(const Counts count, counts(all, "minProperties", "maxProperties"));
  shape.least = count.least;
  shape.most = count.most;
  return shape;
}

// Properties in their order, then further ones; `rest` nodes follow a member, `first` ones do not.
Result<GrammarNode> SchemaCompiler::object(const Conjunction& all) {
  HLWQ_TRY_ASSIGN(const ObjectShape shape, object_shape(all));
  const SchemaPart at = all.constraints.front().part;
  size_t named = 0;
  for (const Property& known : shape.properties) named += known.is_forbidden ? 0 : 1;
  // Further properties may repeat each other, so that their number says nothing beyond "some".
  const bool keeps_least = shape.least <= shape.required || (named == 0 && shape.least <= 1);
  const bool keeps_most = named == 0 || (!shape.has_more && named <= shape.most);
  if (!keeps_least || (shape.most != kUnlimited && !keeps_most)) {
    return document_.refuse(ErrorCode::kUnsupported, at,
                            keeps_least ? "maxProperties" : "minProperties",
                            "is only supported where required and properties keep to it, or for "
                            "objects without named properties (a minimum of at most 1)");
  }
  const GrammarNode comma = builder_.sequence({builder_.literal(","), json_.gap()});
  const GrammarNode colon = builder_.sequence({builder_.literal(":"), json_.gap()});
  GrammarNode rest = json_.gap();
  GrammarNode first = builder_.empty();
  if (shape.has_more && shape.most > 0) {
    std::vector<std::string> names;
    for (const Property& known : shape.properties) names.emplace_back(known.name);
    const GrammarNode key = names.empty() ? json_.string() : json_.string_but(names);
    const GrammarNode member =
        builder_.sequence({key, colon, value(shape.more_parts, ValueForm::kJson)});
    const uint32_t most = shape.most == kUnlimited ? kUnlimited : shape.most - 1;
    rest = builder_.sequence(
        {builder_.repeat(builder_.sequence({comma, member}), 0, named == 0 ? most : kUnlimited),
         rest});
    first = builder_.sequence({member, rest});
    if (named > 0 || shape.least == 0) first = builder_.optional(first);
  } else if (shape.least > shape.required) {
    return contradiction(at, "minProperties", "no property is allowed");
  }
  for (size_t i = shape.properties.size(); i-- > 0 && !builder_.full();) {
    const Property& known = shape.properties[i];
    if (known.is_forbidden) continue;
    const GrammarNode member =
        builder_.sequence({json_.text(known.name), colon, value(known.parts, ValueForm::kJson)});
    const GrammarNode here_first = builder_.sequence({member, rest});
    const GrammarNode here = builder_.sequence({comma, here_first});
    first = known.is_required ? here_first : builder_.alternatives({here_first, first});
    rest = known.is_required ? here : builder_.alternatives({here, rest});
  }
  return builder_.nested({builder_.literal("{"), json_.gap(), first, builder_.literal("}")});
}

Result<GrammarNode> SchemaCompiler::members(const ObjectShape& shape, SchemaPart at) {
  if (shape.least > shape.required ||
      (shape.most != kUnlimited && shape.most < shape.properties.size())) {
    return document_.refuse(ErrorCode::kUnsupported, at, "minProperties",
                            "a number of parameters is not supported");
  }
  std::vector<GrammarNode> nodes;
  for (const Property& known : shape.properties) {
    const bool is_name =
        !known.name.empty() && std::all_of(known.name.begin(), known.name.end(), [](char c) {
          return static_cast<uint8_t>(c) >= 0x20 && c != '<' && c != '>';
        });
    if (!is_name) {
      return document_.refuse(
          ErrorCode::kUnsupported, at, "properties",
          fmt::format("\"{}\" cannot be the name of a parameter", printable(known.name)));
    }
    if (known.is_forbidden || builder_.full()) continue;
    const GrammarNode parameter =
        builder_.sequence({builder_.literal(fmt::format("<parameter={}>\n", known.name)),
                           value(known.parts, ValueForm::kParameter)});
    nodes.push_back(known.is_required ? parameter : builder_.optional(parameter));
  }
  return builder_.sequence(nodes);
}

}  // namespace hlwq
