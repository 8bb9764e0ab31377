#include "format/naming.h"

#include <utility>

namespace hlwq {
namespace {

constexpr std::string_view kWeight = ".weight";

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  size_t at = 0;
  for (size_t hit; (hit = text.find(from, at)) != std::string_view::npos; at = hit + from.size()) {
    out.append(text, at, hit - at).append(to);
  }
  return out.append(text.substr(at));
}

bool is_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

std::string_view without_weight(std::string_view name) {
  return name.ends_with(kWeight) ? name.substr(0, name.size() - kWeight.size()) : name;
}

std::string with_weight(std::string_view name) {
  return std::string(without_doubled_weight(name)) + (name.ends_with(kWeight) ? "" : ".weight");
}

// "X.experts.up_proj_e3" -> ("X.experts.up_proj", "3"). Only names under "experts" are slices, so
// that a layer that happens to be called "w_e1" is not taken apart.
std::optional<std::pair<std::string_view, std::string_view>> split_slice(std::string_view name) {
  const size_t mark = name.rfind("_e");
  if (mark == std::string_view::npos || !is_number(name.substr(mark + 2))) return std::nullopt;
  const std::string_view fused = without_weight(name.substr(0, mark));
  const size_t leaf = fused.rfind('.');
  if (leaf == std::string_view::npos || !fused.substr(0, leaf).ends_with(".experts"))
    return std::nullopt;
  return std::pair(fused, name.substr(mark + 2));
}

// "X.experts.up_proj", "3" -> "X.experts.3.up_proj.weight"
std::string expert_name(std::string_view fused, std::string_view index) {
  const size_t leaf = fused.rfind('.');
  std::string name(fused.substr(0, leaf + 1));
  name.append(index).append(fused.substr(leaf)).append(kWeight);
  return name;
}

// The inverse: ("X.experts.up_proj", "3").
std::optional<std::pair<std::string, std::string_view>> split_expert(std::string_view name) {
  constexpr std::string_view kExperts = ".experts.";
  const size_t at = name.rfind(kExperts);
  if (at == std::string_view::npos) return std::nullopt;
  const size_t begin = at + kExperts.size();
  const size_t end = name.find('.', begin);
  if (end == std::string_view::npos || !is_number(name.substr(begin, end - begin)))
    return std::nullopt;
  std::string fused(name.substr(0, begin));
  fused.append(without_weight(name.substr(end + 1)));
  return std::pair(std::move(fused), name.substr(begin, end - begin));
}

}  // namespace

std::optional<CodeName> match_code_name(std::string_view name) {
  for (const NamingRule& rule : kNamingRules) {
    if (name.size() > rule.codes.size() && name.ends_with(rule.codes))
      return CodeName{&rule, name.substr(0, name.size() - rule.codes.size())};
  }
  return std::nullopt;
}

bool is_companion_name(std::string_view name) {
  for (const NamingRule& rule : kNamingRules) {
    for (const std::string_view suffix : {rule.norms, rule.table, rule.scaled_table, rule.meta,
                                          rule.input_scales, rule.residual_signs}) {
      if (!suffix.empty() && name.ends_with(suffix)) return true;
    }
  }
  return false;
}

std::string_view without_doubled_weight(std::string_view name) {
  return name.ends_with(".weight.weight") ? name.substr(0, name.size() - kWeight.size()) : name;
}

ParameterNames::ParameterNames(std::span<const ExpectedTensor> expected) {
  for (const ExpectedTensor& tensor : expected) {
    by_name_.emplace(tensor.name, &tensor);
    const auto add = [&](std::string_view dotted, std::string_view tail, bool slice) {
      by_dunder_.emplace(replace_all(dotted, ".", "__").append(tail), Forward{&tensor, slice});
    };
    add(tensor.name, "", false);
    add(without_weight(tensor.name), "", false);
    if (const auto split = split_expert(tensor.name)) {
      const std::string tail = "_e" + std::string(split->second);
      add(split->first, tail, true);
      add(split->first + ".weight", tail, true);
    }
  }
}

const ExpectedTensor* ParameterNames::find(std::string_view name) const {
  const auto it = by_name_.find(std::string(name));
  return it == by_name_.end() ? nullptr : it->second;
}

ParameterNames::Match ParameterNames::match(std::string_view key) const {
  std::string dotted;
  if (key.find('.') == std::string_view::npos) {
    const auto it = by_dunder_.find(std::string(key));
    if (it != by_dunder_.end())
      return {it->second.expected->name, it->second.expected, it->second.slice};
    dotted = replace_all(key, "__", ".");
    key = dotted;
  }
  if (const auto slice = split_slice(key)) {
    std::string name = expert_name(slice->first, slice->second);
    const ExpectedTensor* expected = find(name);
    return {std::move(name), expected, true};
  }
  std::string name = with_weight(key);
  if (const ExpectedTensor* expected = find(name)) return {std::move(name), expected, false};
  // A fused 3-D parameter has no ".weight".
  if (const ExpectedTensor* expected = find(key)) return {expected->name, expected, false};
  return {std::move(name), nullptr, false};
}

}  // namespace hlwq
