#include "chart/describe.h"

#include <fmt/format.h>

#include <algorithm>

namespace hlwq::chart {

std::string join_distinct(std::vector<std::string> texts) {
  constexpr size_t kMostNamed = 3;
  std::vector<std::string> different;
  for (std::string& text : texts)
    if (!text.empty() && std::find(different.begin(), different.end(), text) == different.end())
      different.push_back(std::move(text));
  std::string joined;
  for (size_t i = 0; i < std::min(different.size(), kMostNamed); ++i)
    joined += (joined.empty() ? "" : ", ") + different[i];
  if (different.size() > kMostNamed)
    joined += fmt::format(" and {} more", different.size() - kMostNamed);
  return joined;
}

std::string source_line(std::span<const Origin> origins) {
  std::string line;
  const auto add = [&](std::string_view before, std::string Origin::*field) {
    std::vector<std::string> texts;
    for (const Origin& origin : origins) texts.push_back(origin.*field);
    const std::string joined = join_distinct(std::move(texts));
    if (!joined.empty()) line += fmt::format("{}{}{}", line.empty() ? "" : "; ", before, joined);
  };
  add("hlwq ", &Origin::version);
  add("", &Origin::model);
  add("", &Origin::backend);
  return line;
}

ByteUnit unit_for(double most_bytes) {
  if (most_bytes >= 1e9) return {1e9, "GB"};
  return {1e6, "MB"};
}

double kv_bytes(const KvShape& shape, int bits, double tokens) {
  const auto dim = static_cast<double>(shape.head_dim);
  const double vector = bits == 16 ? 2 * dim : bits * dim / 8 + 2;
  return 2 * static_cast<double>(shape.layers) * static_cast<double>(shape.heads) * vector * tokens;
}

}  // namespace hlwq::chart
