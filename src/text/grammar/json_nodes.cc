#include "text/grammar/json_nodes.h"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/utf8.h"
#include "text/grammar/number_nodes.h"

namespace hlwq {
namespace {

constexpr uint32_t kMostIndent = 16;
constexpr int kMostConstantDepth = 64;

}  // namespace

GrammarNode JsonNodes::gap() {
  if (!gap_) {
    gap_ = builder_.alternatives(
        {builder_.empty(), builder_.literal(" "),
         builder_.sequence({builder_.literal("\n"),
                            builder_.repeat(builder_.one_of({" ", "\t"}), 0, kMostIndent)})});
  }
  return *gap_;
}

GrammarNode JsonNodes::any_object() {
  if (!any_object_) {
    any_object_ = builder_.rule();
    const GrammarNode member =
        builder_.sequence({string(), builder_.literal(":"), gap(), any_value()});
    const GrammarNode further =
        builder_.repeat(builder_.sequence({builder_.literal(","), gap(), member}), 0);
    builder_.define(*any_object_,
                    builder_.nested({builder_.literal("{"), gap(),
                                     builder_.optional(builder_.sequence({member, further, gap()})),
                                     builder_.literal("}")}));
  }
  return *any_object_;
}

GrammarNode JsonNodes::any_array() {
  if (!any_array_) {
    any_array_ = builder_.rule();
    builder_.define(*any_array_, array(any_value(), 0, kUnlimited));
  }
  return *any_array_;
}

GrammarNode JsonNodes::any_value() {
  if (!any_value_) {
    any_value_ = builder_.rule();
    const Result<GrammarNode> number = number_node(builder_, {});  // no bound to refuse
    builder_.define(*any_value_,
                    builder_.alternatives({any_object(), any_array(), string(), *number,
                                           builder_.one_of({"true", "false", "null"})}));
  }
  return *any_value_;
}

GrammarNode JsonNodes::string(uint32_t least, uint32_t most) {
  const GrammarNode quote = builder_.literal("\"");
  return builder_.sequence(
      {quote,
       builder_.repeat(characters_.one_of(CodePointSet::all(), Spelling::kJsonLoose), least, most),
       quote});
}

GrammarNode JsonNodes::text(std::string_view value) {
  const nlohmann::ordered_json json(value);
  return builder_.one_of({json.dump(), json.dump(-1, ' ', true)});
}

// A tree of the names' characters, from its leaves to its root: at each place, a character that no
// name has there makes the rest free, and the string may end where no name does.
GrammarNode JsonNodes::string_but(std::span<const std::string> names) {
  struct Place {
    std::map<uint32_t, size_t> next;  // by code point; always a later place
    bool is_name = false;
  };
  std::vector<Place> places(1);
  for (const std::string& name : names) {
    size_t at = 0;
    for (std::string_view rest = name; !rest.empty();) {
      const Utf8Step step = step_utf8(rest);
      rest.remove_prefix(static_cast<size_t>(step.bytes));
      const auto [entry, is_new] = places[at].next.try_emplace(step.code_point, places.size());
      at = entry->second;
      if (is_new) places.emplace_back();
    }
    places[at].is_name = true;
  }
  const GrammarNode quote = builder_.literal("\"");
  const GrammarNode free_rest = builder_.sequence(
      {builder_.repeat(characters_.one_of(CodePointSet::all(), Spelling::kJson), 0), quote});
  std::vector<GrammarNode> nodes(places.size(), builder_.never());
  for (size_t at = places.size(); at-- > 0 && !builder_.full();) {
    CodePointSet taken;
    std::vector<GrammarNode> ways;
    for (const auto& [code_point, next] : places[at].next) {
      const CodePointSet one{{code_point, code_point}};
      taken.add(one);
      ways.push_back(builder_.sequence({characters_.one_of(one, Spelling::kJson), nodes[next]}));
    }
    ways.push_back(
        builder_.sequence({characters_.one_of(taken.complement(), Spelling::kJson), free_rest}));
    if (!places[at].is_name) ways.push_back(quote);
    nodes[at] = builder_.alternatives(ways);
  }
  return builder_.sequence({quote, nodes[0]});
}

Result<GrammarNode> JsonNodes::constant(const nlohmann::ordered_json& value) {
  return constant_at(value, 0);
}

Result<GrammarNode> JsonNodes::constant_at(const nlohmann::ordered_json& value, int depth) {
  if (depth > kMostConstantDepth) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("a constant nested more than {} levels deep", kMostConstantDepth));
  }
  if (value.is_string()) return text(value.get_ref<const std::string&>());
  if (!value.is_structured()) return builder_.literal(value.dump());
  const bool is_object = value.is_object();
  std::vector<GrammarNode> parts = {gap()};
  for (const auto& [key, child] : value.items()) {
    if (builder_.full()) break;
    if (parts.size() > 1) parts.insert(parts.end(), {builder_.literal(","), gap()});
    if (is_object) parts.insert(parts.end(), {text(key), builder_.literal(":"), gap()});
    HLWQ_TRY_ASSIGN(const GrammarNode node, constant_at(child, depth + 1));
    parts.push_back(node);
  }
  if (!value.empty()) parts.push_back(gap());
  return builder_.nested({builder_.literal(is_object ? "{" : "["), builder_.sequence(parts),
                          builder_.literal(is_object ? "}" : "]")});
}

Result<GrammarNode> JsonNodes::one_of(const std::vector<const nlohmann::ordered_json*>& values) {
  std::vector<std::string> literals;
  std::vector<GrammarNode> nodes;
  for (const nlohmann::ordered_json* value : values) {
    if (value->is_structured()) {
      HLWQ_TRY_ASSIGN(const GrammarNode node, constant(*value));
      nodes.push_back(node);
      continue;
    }
    literals.push_back(value->dump());
    if (value->is_string()) literals.push_back(value->dump(-1, ' ', true));
  }
  if (!literals.empty()) nodes.push_back(builder_.one_of(std::move(literals)));
  return builder_.alternatives(nodes);
}

GrammarNode JsonNodes::array(GrammarNode item, uint32_t least, uint32_t most) {
  GrammarNode items = builder_.empty();
  if (most > 0) {
    const GrammarNode further = builder_.sequence({builder_.literal(","), gap(), item});
    items = builder_.sequence({item,
                               builder_.repeat(further, least > 0 ? least - 1 : 0,
                                               most == kUnlimited ? kUnlimited : most - 1),
                               gap()});
    if (least == 0) items = builder_.optional(items);
  }
  return builder_.nested({builder_.literal("["), gap(), items, builder_.literal("]")});
}

}  // namespace hlwq
