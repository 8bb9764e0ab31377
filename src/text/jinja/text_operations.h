#pragma once
// What Python's str methods do, on marked text: every byte of a result keeps the origin that it
// had, and a byte made for another (an upper-case letter) has the origin of that.

#include <optional>
#include <string_view>
#include <vector>

#include "text/jinja/marked_text.h"

namespace hlwq::jinja {

enum class Side { kLeft, kRight, kBoth };

// Without white space at that side, or without the characters of `characters`.
[[nodiscard]] MarkedText strip(const MarkedText& text, std::optional<std::string_view> characters,
                               Side side);

// `separator` without value: runs of white space, and no empty parts. `most` negative: any number
// of cuts; else that many, from the left or from the right. `separator` must not be empty.
[[nodiscard]] std::vector<MarkedText> split(const MarkedText& text,
                                            std::optional<std::string_view> separator, int64_t most,
                                            bool from_right);
[[nodiscard]] std::vector<MarkedText> split_lines(const MarkedText& text, bool keep_ends);

// The number of places where `part` is, not overlapping; one more than the characters for an empty
// part.
[[nodiscard]] size_t count_parts(std::string_view text, std::string_view part);
// Replaces the first `most` (all, when negative) of these.
[[nodiscard]] MarkedText replace(const MarkedText& text, std::string_view part,
                                 const MarkedText& replacement, int64_t most);

[[nodiscard]] MarkedText upper(const MarkedText& text);
[[nodiscard]] MarkedText lower(const MarkedText& text);
[[nodiscard]] MarkedText swap_case(const MarkedText& text);
// The first character as in a title, the others lower.
[[nodiscard]] MarkedText capitalize(const MarkedText& text);
// str.title: a word begins with a letter after what is none.
[[nodiscard]] MarkedText title_words(const MarkedText& text);
// Jinja's title: a word begins after white space or one of -({[<.
[[nodiscard]] MarkedText title_after_breaks(const MarkedText& text);
[[nodiscard]] MarkedText reverse(const MarkedText& text);

}  // namespace hlwq::jinja
