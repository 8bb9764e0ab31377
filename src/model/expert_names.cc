#include "model/expert_names.h"

#include <fmt/format.h>

#include <charconv>

namespace hlwq {
namespace {

constexpr std::string_view kExperts = ".mixer.experts.";

bool take_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

bool take_suffix(std::string_view& text, std::string_view suffix) {
  if (!text.ends_with(suffix)) return false;
  text.remove_suffix(suffix.size());
  return true;
}

std::optional<int64_t> whole_number(std::string_view digits) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size() || value < 0)
    return std::nullopt;
  return value;
}

}  // namespace

std::optional<FusedSlice> fused_slice_of(std::string_view name) {
  const size_t at = name.find(kExperts);
  if (at == std::string_view::npos || !take_suffix(name, ".weight")) return std::nullopt;
  const std::string_view rest = name.substr(at + kExperts.size());
  const size_t dot = rest.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view matrix = rest.substr(dot + 1);
  const auto expert = whole_number(rest.substr(0, dot));
  if (!expert || (matrix != "up_proj" && matrix != "down_proj")) return std::nullopt;
  return FusedSlice{fmt::format("{}{}", name.substr(0, at + kExperts.size()), matrix), *expert};
}

std::optional<std::string> expert_of_sliced_name(std::string_view name) {
  take_suffix(name, ".weight");
  const size_t at = name.find(kExperts);
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view rest = name.substr(at + kExperts.size());
  for (const std::string_view matrix : {"up_proj", "down_proj"}) {
    std::string_view tail = rest;
    if (!take_prefix(tail, matrix) || !take_prefix(tail, "_e")) continue;
    if (const auto expert = whole_number(tail))
      return fmt::format("{}{}.{}.weight", name.substr(0, at + kExperts.size()), *expert, matrix);
  }
  return std::nullopt;
}

}  // namespace hlwq
