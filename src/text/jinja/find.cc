#include "text/jinja/find.h"

#include <vector>

namespace hlwq::jinja {
namespace {

// Up to here the standard search is used: it compares at most this many bytes at each place.
constexpr size_t kShortNeedle = 24;

// Knuth, Morris and Pratt. `text_at(i)`, `needle_at(i)`: bytes in the direction of the search.
template <typename TextAt, typename NeedleAt>
size_t search(size_t text_bytes, size_t needle_bytes, TextAt&& text_at, NeedleAt&& needle_at) {
  std::vector<size_t> border(needle_bytes, 0);
  for (size_t i = 1, matched = 0; i < needle_bytes; ++i) {
    while (matched > 0 && needle_at(i) != needle_at(matched)) matched = border[matched - 1];
    if (needle_at(i) == needle_at(matched)) ++matched;
    border[i] = matched;
  }
  for (size_t i = 0, matched = 0; i < text_bytes; ++i) {
    while (matched > 0 && text_at(i) != needle_at(matched)) matched = border[matched - 1];
    if (text_at(i) == needle_at(matched)) ++matched;
    if (matched == needle_bytes) return i + 1 - needle_bytes;
  }
  return std::string_view::npos;
}

}  // namespace

size_t find_bytes(std::string_view text, std::string_view needle, size_t from) {
  if (from > text.size() || needle.size() > text.size() - from) return std::string_view::npos;
  if (needle.size() <= kShortNeedle) return text.find(needle, from);
  const size_t at = search(
      text.size() - from, needle.size(), [&](size_t i) { return text[from + i]; },
      [&](size_t i) { return needle[i]; });
  return at == std::string_view::npos ? at : from + at;
}

size_t find_last_bytes(std::string_view text, std::string_view needle, size_t end) {
  if (needle.size() > end) return std::string_view::npos;
  if (needle.size() <= kShortNeedle) return text.rfind(needle, end - needle.size());
  const size_t at = search(
      end, needle.size(), [&](size_t i) { return text[end - 1 - i]; },
      [&](size_t i) { return needle[needle.size() - 1 - i]; });
  return at == std::string_view::npos ? at : end - at - needle.size();
}

}  // namespace hlwq::jinja
