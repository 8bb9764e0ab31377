#include "text/jinja/text_operations.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "base/utf8.h"
#include "text/jinja/find.h"
#include "text/jinja/unicode.h"

namespace hlwq::jinja {
namespace {

// The bytes that `text` ends with as one character.
size_t last_bytes(std::string_view text) {
  const uint32_t c = last_code_point(text);
  return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
}

// Whether a character is to be stripped.
class Stripped {
 public:
  explicit Stripped(std::optional<std::string_view> characters) {
    if (!characters) return;
    listed_.emplace();
    while (!characters->empty()) {
      const Utf8Step step = step_utf8(*characters);
      listed_->insert(step.code_point);
      characters->remove_prefix(static_cast<size_t>(step.bytes));
    }
  }
  bool operator()(uint32_t c) const { return listed_ ? listed_->contains(c) : is_space(c); }

 private:
  std::optional<std::unordered_set<uint32_t>> listed_;
};

// Each character through `map`.
template <typename Map>
MarkedText map_characters(const MarkedText& text, Map&& map) {
  MarkedText mapped;
  const std::string_view bytes = text.bytes();
  for (size_t at = 0; at < bytes.size();) {
    const Utf8Step step = step_utf8(bytes.substr(at));
    mapped.append(map(step.code_point), text.origin_at(at));
    at += static_cast<size_t>(step.bytes);
  }
  return mapped;
}

std::vector<MarkedText> split_at_space(const MarkedText& text, int64_t most) {
  std::vector<MarkedText> parts;
  const std::string_view bytes = text.bytes();
  size_t begin = std::string_view::npos;  // of the current part
  for (size_t at = 0; at < bytes.size();) {
    const Utf8Step step = step_utf8(bytes.substr(at));
    if (!is_space(step.code_point)) {
      if (begin == std::string_view::npos) {
        begin = at;
        if (most >= 0 && parts.size() == static_cast<size_t>(most)) {
          parts.push_back(text.slice(begin, bytes.size()));
          return parts;
        }
      }
    } else if (begin != std::string_view::npos) {
      parts.push_back(text.slice(begin, at));
      begin = std::string_view::npos;
    }
    at += static_cast<size_t>(step.bytes);
  }
  if (begin != std::string_view::npos) parts.push_back(text.slice(begin, bytes.size()));
  return parts;
}

// The parts come last first.
std::vector<MarkedText> split_at_space_from_right(const MarkedText& text, int64_t most) {
  std::vector<MarkedText> parts;
  const std::string_view bytes = text.bytes();
  size_t end = std::string_view::npos;  // of the current part
  for (size_t at = bytes.size(); at > 0;) {
    const size_t before = at - last_bytes(bytes.substr(0, at));
    if (!is_space(last_code_point(bytes.substr(0, at)))) {
      if (end == std::string_view::npos) {
        end = at;
        if (most >= 0 && parts.size() == static_cast<size_t>(most)) {
          parts.push_back(text.slice(0, end));
          return parts;
        }
      }
    } else if (end != std::string_view::npos) {
      parts.push_back(text.slice(at, end));
      end = std::string_view::npos;
    }
    at = before;
  }
  if (end != std::string_view::npos) parts.push_back(text.slice(0, end));
  return parts;
}

}  // namespace

MarkedText strip(const MarkedText& text, std::optional<std::string_view> characters, Side side) {
  const Stripped stripped(characters);
  const std::string_view bytes = text.bytes();
  size_t begin = 0;
  size_t end = bytes.size();
  while (side != Side::kRight && begin < end) {
    const Utf8Step step = step_utf8(bytes.substr(begin));
    if (!stripped(step.code_point)) break;
    begin += static_cast<size_t>(step.bytes);
  }
  while (side != Side::kLeft && begin < end) {
    const std::string_view left = bytes.substr(0, end);
    if (!stripped(last_code_point(left))) break;
    end -= last_bytes(left);
  }
  return text.slice(begin, end);
}

std::vector<MarkedText> split(const MarkedText& text, std::optional<std::string_view> separator,
                              int64_t most, bool from_right) {
  std::vector<MarkedText> parts;
  const auto may_cut = [&] { return most < 0 || parts.size() < static_cast<size_t>(most); };
  if (!from_right) {
    if (!separator) return split_at_space(text, most);
    size_t begin = 0;
    while (may_cut()) {
      const size_t at = find_bytes(text.bytes(), *separator, begin);
      if (at == std::string_view::npos) break;
      parts.push_back(text.slice(begin, at));
      begin = at + separator->size();
    }
    parts.push_back(text.slice(begin, text.size()));
    return parts;
  }
  if (!separator) {
    parts = split_at_space_from_right(text, most);
  } else {
    size_t end = text.size();
    while (may_cut()) {
      const size_t at = find_last_bytes(text.bytes(), *separator, end);
      if (at == std::string_view::npos) break;
      parts.push_back(text.slice(at + separator->size(), end));
      end = at;
    }
    parts.push_back(text.slice(0, end));
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<MarkedText> split_lines(const MarkedText& text, bool keep_ends) {
  std::vector<MarkedText> lines;
  const std::string_view bytes = text.bytes();
  size_t begin = 0;
  for (size_t at = 0; at < bytes.size();) {
    const Utf8Step step = step_utf8(bytes.substr(at));
    size_t after = at + static_cast<size_t>(step.bytes);
    if (ends_line(step.code_point)) {
      if (bytes.substr(at).starts_with("\r\n")) ++after;
      lines.push_back(text.slice(begin, keep_ends ? after : at));
      begin = after;
    }
    at = after;
  }
  if (begin < bytes.size()) lines.push_back(text.slice(begin, bytes.size()));
  return lines;
}

size_t count_parts(std::string_view text, std::string_view part) {
  if (part.empty()) return count_characters(text) + 1;
  size_t count = 0;
  for (size_t at = 0; (at = find_bytes(text, part, at)) != std::string_view::npos; ++count)
    at += part.size();
  return count;
}

MarkedText replace(const MarkedText& text, std::string_view part, const MarkedText& replacement,
                   int64_t most) {
  MarkedText replaced;
  int64_t done = 0;
  const auto may_replace = [&] { return most < 0 || done < most; };
  size_t begin = 0;
  if (part.empty()) {
    // Before every character, and at the end.
    for (; begin < text.size() && may_replace(); ++done) {
      const size_t end = begin + character_bytes(text.bytes(), begin);
      replaced.append(replacement);
      replaced.append(text, begin, end);
      begin = end;
    }
    replaced.append(text, begin, text.size());
    if (begin == text.size() && may_replace()) replaced.append(replacement);
    return replaced;
  }
  for (; may_replace(); ++done) {
    const size_t at = find_bytes(text.bytes(), part, begin);
    if (at == std::string_view::npos) break;
    replaced.append(text, begin, at);
    replaced.append(replacement);
    begin = at + part.size();
  }
  replaced.append(text, begin, text.size());
  return replaced;
}

MarkedText upper(const MarkedText& text) {
  return map_characters(text, [](uint32_t c) { return upper(c); });
}

MarkedText lower(const MarkedText& text) {
  return map_characters(text, [](uint32_t c) { return lower(c); });
}

MarkedText swap_case(const MarkedText& text) {
  return map_characters(text, [](uint32_t c) { return is_upper(c) ? lower(c) : upper(c); });
}

MarkedText capitalize(const MarkedText& text) {
  bool is_first = true;
  return map_characters(
      text, [&](uint32_t c) { return std::exchange(is_first, false) ? title(c) : lower(c); });
}

MarkedText title_words(const MarkedText& text) {
  bool in_word = false;
  return map_characters(text, [&](uint32_t c) {
    const bool is_cased = upper(c) != lower(c);
    const std::string mapped = in_word ? lower(c) : title(c);
    in_word = is_cased;
    return mapped;
  });
}

MarkedText title_after_breaks(const MarkedText& text) {
  bool in_word = false;
  return map_characters(text, [&](uint32_t c) {
    const bool is_break = is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
    const std::string mapped = in_word ? lower(c) : upper(c);
    in_word = !is_break;
    return mapped;
  });
}

MarkedText reverse(const MarkedText& text) {
  MarkedText reversed;
  for (size_t end = text.size(); end > 0;) {
    const size_t begin = end - last_bytes(std::string_view(text.bytes()).substr(0, end));
    reversed.append(text, begin, end);
    end = begin;
  }
  return reversed;
}

}  // namespace hlwq::jinja
