#include "quant/policy.h"

#include <algorithm>
#include <array>

#include "base/checked.h"

namespace hlwq {
namespace {

constexpr uint64_t kFewestElements = 256;

// Found anywhere in the lower-cased name.
constexpr std::array<std::string_view, 5> kLowerCaseParts = {"norm", "a_log", "dt_bias", "dt_proj",
                                                             "conv1d"};
// Found anywhere in the name as it is. ".D" is Mamba's skip vector and must not match ".down_proj".
constexpr std::array<std::string_view, 2> kExactParts = {".D", "router"};

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

}  // namespace

bool keeps_precision(std::string_view name, std::span<const int64_t> shape,
                     std::span<const std::string> keep_globs) {
  // Matrices only: the caller slices fused experts (3-D) before it asks.
  if (shape.size() != 2) return true;
  if (const auto elements = checked_product(shape); elements && *elements < kFewestElements)
    return true;
  const std::string lower = lower_case(name);
  const auto in = [](std::string_view text) {
    return [text](std::string_view part) { return text.find(part) != std::string_view::npos; };
  };
  return std::ranges::any_of(kLowerCaseParts, in(lower)) ||
         std::ranges::any_of(kExactParts, in(name)) || name.ends_with(".gate.weight") ||
         std::ranges::any_of(keep_globs,
                             [&](const std::string& glob) { return glob_matches(glob, name); });
}

bool glob_matches(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0;
  size_t star = std::string_view::npos;  // last '*' seen; `resume` is where its text may end
  size_t resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace hlwq
