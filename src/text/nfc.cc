#include "text/nfc.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "base/utf8.h"

namespace hlwq {
namespace {

int combining_class(utf8proc_int32_t code_point) {
  return utf8proc_get_property(code_point)->combining_class;
}

// Canonical order of the marks in each run of non-starters. Done here because utf8proc's own sort
// takes time quadratic in the length of a run.
void sort_marks(std::vector<utf8proc_int32_t>& code_points) {
  auto begin = code_points.begin();
  while (begin != code_points.end()) {
    begin = std::find_if(begin, code_points.end(), [](auto c) { return combining_class(c) != 0; });
    const auto end =
        std::find_if(begin, code_points.end(), [](auto c) { return combining_class(c) == 0; });
    std::stable_sort(begin, end,
                     [](auto a, auto b) { return combining_class(a) < combining_class(b); });
    begin = end;
  }
}

bool is_ascii(char c) { return static_cast<uint8_t>(c) < 0x80; }

// Ranges that are found in order, joined where they touch.
void append_range(ByteRange range, std::vector<ByteRange>& ranges) {
  if (range.begin >= range.end) return;
  if (!ranges.empty() && ranges.back().end >= range.begin) {
    ranges.back().end = range.end;
  } else {
    ranges.push_back(range);
  }
}

}  // namespace

Result<std::string> to_nfc(std::string_view text) {
  std::vector<utf8proc_int32_t> code_points;
  code_points.reserve(text.size());
  std::array<utf8proc_int32_t, 32> decomposed;  // the longest canonical decomposition has 4
  while (!text.empty()) {
    const Utf8Step step = step_utf8(text);
    HLWQ_CHECK(step.kind == Utf8Step::Kind::kValid);
    int boundary_class = UTF8PROC_BOUNDCLASS_START;
    const utf8proc_ssize_t count = utf8proc_decompose_char(
        static_cast<utf8proc_int32_t>(step.code_point), decomposed.data(),
        static_cast<utf8proc_ssize_t>(decomposed.size()), UTF8PROC_DECOMPOSE, &boundary_class);
    HLWQ_CHECK(count >= 0 && count <= static_cast<utf8proc_ssize_t>(decomposed.size()));
    code_points.insert(code_points.end(), decomposed.begin(), decomposed.begin() + count);
    text.remove_prefix(static_cast<size_t>(step.bytes));
  }
  sort_marks(code_points);
  const utf8proc_ssize_t composed = utf8proc_normalize_utf32(
      code_points.data(), static_cast<utf8proc_ssize_t>(code_points.size()),
      static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  if (composed == UTF8PROC_ERROR_NOMEM) {
    return fail(ErrorCode::kOutOfMemory, "NFC: out of memory");
  }
  HLWQ_CHECK(composed >= 0);
  std::string result;
  for (utf8proc_ssize_t i = 0; i < composed; ++i) {
    append_utf8(static_cast<uint32_t>(code_points[static_cast<size_t>(i)]), result);
  }
  return result;
}

Result<NormalizedRanges> to_nfc(std::string_view text, std::span<const ByteRange> ranges) {
  NormalizedRanges normal;
  for (size_t begin = 0; begin < text.size();) {
    // ASCII never joins what is before it: each such character begins a part that can be normalized
    // by itself. All of a part's bytes from `at` on:
    size_t end = begin + 1;
    while (end < text.size() && !is_ascii(text[end])) ++end;
    const std::string_view part = text.substr(begin, end - begin);
    const size_t at = normal.text.size();
    size_t kept = part.size();  // leading bytes that stay as they are
    if (is_surely_nfc(part)) {
      normal.text += part;
    } else {
      HLWQ_TRY_ASSIGN(const std::string changed, to_nfc(part));
      if (changed != part) kept = is_ascii(part[0]) && changed[0] == part[0] ? 1 : 0;
      normal.text += changed;
    }
    while (!ranges.empty() && ranges.front().end <= begin) ranges = ranges.subspan(1);
    for (const ByteRange& range : ranges) {
      if (range.begin >= end) break;
      const size_t first = std::max(range.begin, begin) - begin;
      const size_t last = std::min(range.end, end) - begin;
      append_range({at + std::min(first, kept), at + std::min(last, kept)}, normal.ranges);
      if (last > kept) append_range({at + kept, normal.text.size()}, normal.ranges);
    }
    begin = end;
  }
  return normal;
}

bool is_surely_nfc(std::string_view text) {
  // U+0300 begins with 0xCC in UTF-8, and every lead byte below it is of a smaller character.
  return std::all_of(text.begin(), text.end(), [](char c) {
    const uint8_t byte = static_cast<uint8_t>(c);
    return byte < 0xCC;
  });
}

}  // namespace hlwq
