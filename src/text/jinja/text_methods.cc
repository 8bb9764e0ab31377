#include <fmt/format.h>

#include <algorithm>

#include "base/utf8.h"
#include "text/jinja/attributes.h"
#include "text/jinja/find.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/text_operations.h"
#include "text/jinja/unicode.h"

namespace hlwq::jinja {
namespace {

Result<Value> texts(Runtime& runtime, std::vector<MarkedText> parts,
                    Sequence::Flavor flavor = Sequence::Flavor::kList) {
  std::vector<Value> items;
  items.reserve(parts.size());
  for (MarkedText& part : parts) {
    HLWQ_TRY_ASSIGN(Value item, runtime.text(std::move(part)));
    items.push_back(std::move(item));
  }
  return runtime.sequence(std::move(items), flavor);
}

template <bool FromRight>
Result<Value> method_split(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound, Bound::bind(runtime, FromRight ? "rsplit" : "split", arguments,
                                                 {"sep", "maxsplit"}));
  HLWQ_TRY_ASSIGN(const int64_t most, bound.integer(runtime, 1, -1));
  std::optional<std::string_view> separator;
  if (!bound.is_none(0)) {
    HLWQ_TRY_ASSIGN(const MarkedText* text, bound.text(runtime, 0));
    if (text->size() == 0) return runtime.error("split: empty separator");
    separator = text->bytes();
  }
  HLWQ_TRY(runtime.touch(self.text().size()));
  // Each part is an allocation: counted before it is made.
  const size_t parts =
      separator ? count_parts(self.text().bytes(), *separator) : self.text().size() / 4;
  HLWQ_TRY(runtime.spend(parts * 4));
  return texts(runtime, split(self.text(), separator, most, FromRight));
}

Result<Value> method_splitlines(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound, Bound::bind(runtime, "splitlines", arguments, {"keepends"}));
  HLWQ_TRY(runtime.spend(1 + self.text().size()));
  return texts(runtime, split_lines(self.text(), bound.truth(0, false)));
}

template <Side StrippedSide>
Result<Value> method_strip(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound, Bound::bind(runtime, "strip", arguments, {"chars"}));
  std::optional<std::string_view> characters;
  if (!bound.is_none(0)) {
    HLWQ_TRY_ASSIGN(const MarkedText* text, bound.text(runtime, 0));
    HLWQ_TRY(runtime.spend(text->size()));
    characters = text->bytes();
  }
  MarkedText stripped = strip(self.text(), characters, StrippedSide);
  HLWQ_TRY(runtime.spend(self.text().size() - stripped.size()));
  return runtime.text(std::move(stripped));
}

// The part of `self` that optional arguments `start` and `end` (numbers of characters, as slices
// have them) leave, as bytes; none when they leave less than nothing.
Result<std::optional<ByteRange>> searched_part(Runtime& runtime, const Value& self,
                                               const Bound& bound) {
  const std::string& bytes = self.text().bytes();
  HLWQ_TRY(runtime.touch(bytes.size()));
  if (bound.is_none(1) && bound.is_none(2)) return ByteRange{0, bytes.size()};
  const auto length = static_cast<int64_t>(count_characters(bytes));
  int64_t begin = 0;
  int64_t end = length;
  if (!bound.is_none(1)) {
    HLWQ_TRY_ASSIGN(begin, bound.integer(runtime, 1, 0));
  }
  if (!bound.is_none(2)) {
    HLWQ_TRY_ASSIGN(end, bound.integer(runtime, 2, length));
  }
  if (begin < 0) begin = std::max<int64_t>(begin + length, 0);
  if (end < 0) end = std::max<int64_t>(end + length, 0);
  end = std::min(end, length);
  if (begin > end) return std::optional<ByteRange>();
  return ByteRange{byte_of_character(bytes, static_cast<size_t>(begin)),
                   byte_of_character(bytes, static_cast<size_t>(end))};
}

template <bool AtEnd>
Result<Value> method_is_at(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const char* what = AtEnd ? "endswith" : "startswith";
  HLWQ_TRY_ASSIGN(const Bound bound,
                  Bound::bind(runtime, what, arguments, {"prefix", "start", "end"}, 1));
  HLWQ_TRY_ASSIGN(const std::optional<ByteRange> range, searched_part(runtime, self, bound));
  std::vector<Value> parts = {*bound[0]};
  if (const Sequence* tuple = bound[0]->sequence();
      tuple != nullptr && tuple->flavor == Sequence::Flavor::kTuple) {
    parts = tuple->items;
  }
  for (const Value& part : parts) {
    if (!part.is_text()) {
      return runtime.error(fmt::format("{}: first argument must be str or a tuple of str, not {}",
                                       what, part.type_name()));
    }
    HLWQ_TRY(runtime.touch(part.text().size()));
    if (!range) continue;
    const std::string_view text =
        std::string_view(self.text().bytes()).substr(range->begin, range->end - range->begin);
    if (AtEnd ? text.ends_with(part.text().bytes()) : text.starts_with(part.text().bytes()))
      return Value(true);
  }
  return Value(false);
}

// find, rfind, index, rindex; the last two fail where the others give -1.
template <bool FromRight, bool MustBe>
Result<Value> method_find(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound,
                  Bound::bind(runtime, "find", arguments, {"sub", "start", "end"}, 1));
  HLWQ_TRY_ASSIGN(const MarkedText* part, bound.text(runtime, 0));
  HLWQ_TRY_ASSIGN(const std::optional<ByteRange> range, searched_part(runtime, self, bound));
  HLWQ_TRY(runtime.touch(part->size()));
  size_t at = std::string_view::npos;
  if (range) {
    const std::string_view text = std::string_view(self.text().bytes()).substr(0, range->end);
    at = FromRight ? find_last_bytes(text, part->bytes(), range->end)
                   : find_bytes(text, part->bytes(), range->begin);
    if (at != std::string_view::npos && at < range->begin) at = std::string_view::npos;
  }
  if (at == std::string_view::npos) {
    if (MustBe) return runtime.error("substring not found");
    return Value(int64_t{-1});
  }
  return Value(
      static_cast<int64_t>(count_characters(std::string_view(self.text().bytes()).substr(0, at))));
}

Result<Value> method_count(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound,
                  Bound::bind(runtime, "count", arguments, {"sub", "start", "end"}, 1));
  HLWQ_TRY_ASSIGN(const MarkedText* part, bound.text(runtime, 0));
  HLWQ_TRY_ASSIGN(const std::optional<ByteRange> range, searched_part(runtime, self, bound));
  if (!range) return Value(int64_t{0});
  return Value(static_cast<int64_t>(count_parts(
      std::string_view(self.text().bytes()).substr(range->begin, range->end - range->begin),
      part->bytes())));
}

Result<Value> method_replace(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound,
                  Bound::bind(runtime, "replace", arguments, {"old", "new", "count"}, 2));
  HLWQ_TRY_ASSIGN(const MarkedText* part, bound.text(runtime, 0));
  HLWQ_TRY_ASSIGN(const MarkedText* replacement, bound.text(runtime, 1));
  HLWQ_TRY_ASSIGN(const int64_t most, bound.integer(runtime, 2, -1));
  HLWQ_TRY(runtime.touch(self.text().size()));
  const size_t places = count_parts(self.text().bytes(), part->bytes());
  HLWQ_TRY(runtime.spend(places));
  const size_t replaced = most < 0 ? places : std::min(places, static_cast<size_t>(most));
  HLWQ_TRY(runtime.expect_text(static_cast<unsigned __int128>(replaced) * replacement->size()));
  return runtime.text(replace(self.text(), part->bytes(), *replacement, most));
}

template <MarkedText (*Map)(const MarkedText&)>
Result<Value> method_map(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY(Bound::bind(runtime, "a method of str", arguments, {}));
  HLWQ_TRY(runtime.spend(1 + self.text().size() / 4));
  return runtime.text(Map(self.text()));
}

Result<Value> method_join(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound, Bound::bind(runtime, "join", arguments, {"iterable"}, 1));
  if (bound[0]->is_undefined()) return runtime.text("", Origin::kTemplate);
  HLWQ_TRY_ASSIGN(const SequencePtr items, iterate(runtime, *bound[0]));
  MarkedText joined;
  for (size_t i = 0; i < items->items.size(); ++i) {
    const Value& item = items->items[i];
    if (!item.is_text()) {
      return runtime.error(
          fmt::format("sequence item {}: expected str instance, {} found", i, item.type_name()));
    }
    if (i > 0) HLWQ_TRY(append_str(runtime, self, joined));
    HLWQ_TRY(append_str(runtime, item, joined));
  }
  return runtime.text(std::move(joined));
}

// Whether all characters are of a kind; false for no characters.
template <bool (*IsOne)(uint32_t)>
Result<Value> method_all(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY(Bound::bind(runtime, "a method of str", arguments, {}));
  HLWQ_TRY(runtime.touch(self.text().size()));
  std::string_view rest = self.text().bytes();
  const bool is_empty = rest.empty();
  while (!rest.empty()) {
    const Utf8Step step = step_utf8(rest);
    if (!IsOne(step.code_point)) return Value(false);
    rest.remove_prefix(static_cast<size_t>(step.bytes));
  }
  return Value(!is_empty);
}

bool is_alphanumeric(uint32_t c) { return is_alphabetic(c) || is_decimal(c); }

// Whether there are cased characters and none of the other case.
template <bool (*IsCase)(uint32_t), bool (*IsOther)(uint32_t)>
Result<Value> method_is_case(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY(Bound::bind(runtime, "a method of str", arguments, {}));
  HLWQ_TRY(runtime.touch(self.text().size()));
  std::string_view rest = self.text().bytes();
  bool any = false;
  while (!rest.empty()) {
    const Utf8Step step = step_utf8(rest);
    if (IsOther(step.code_point)) return Value(false);
    any = any || IsCase(step.code_point);
    rest.remove_prefix(static_cast<size_t>(step.bytes));
  }
  return Value(any);
}

template <bool AtEnd>
Result<Value> method_remove(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound, Bound::bind(runtime, AtEnd ? "removesuffix" : "removeprefix",
                                                 arguments, {"affix"}, 1));
  HLWQ_TRY_ASSIGN(const MarkedText* affix, bound.text(runtime, 0));
  const MarkedText& text = self.text();
  if (AtEnd && text.bytes().ends_with(affix->bytes()))
    return runtime.text(text.slice(0, text.size() - affix->size()));
  if (!AtEnd && text.bytes().starts_with(affix->bytes()))
    return runtime.text(text.slice(affix->size(), text.size()));
  return self;
}

template <bool FromRight>
Result<Value> method_partition(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound, Bound::bind(runtime, "partition", arguments, {"sep"}, 1));
  HLWQ_TRY_ASSIGN(const MarkedText* separator, bound.text(runtime, 0));
  if (separator->size() == 0) return runtime.error("partition: empty separator");
  const MarkedText& text = self.text();
  HLWQ_TRY(runtime.touch(text.size()));
  const size_t at = FromRight ? find_last_bytes(text.bytes(), separator->bytes(), text.size())
                              : find_bytes(text.bytes(), separator->bytes(), 0);
  std::vector<MarkedText> parts(3);
  if (at == std::string_view::npos) {
    parts[FromRight ? 2 : 0] = text;
  } else {
    const size_t after = at + separator->size();
    parts = {text.slice(0, at), text.slice(at, after), text.slice(after, text.size())};
  }
  return texts(runtime, std::move(parts), Sequence::Flavor::kTuple);
}

constexpr NamedMethod kMethods[] = {
    {"split", method_split<false>},
    {"rsplit", method_split<true>},
    {"splitlines", method_splitlines},
    {"strip", method_strip<Side::kBoth>},
    {"lstrip", method_strip<Side::kLeft>},
    {"rstrip", method_strip<Side::kRight>},
    {"startswith", method_is_at<false>},
    {"endswith", method_is_at<true>},
    {"find", method_find<false, false>},
    {"rfind", method_find<true, false>},
    {"index", method_find<false, true>},
    {"rindex", method_find<true, true>},
    {"count", method_count},
    {"replace", method_replace},
    {"upper", method_map<upper>},
    {"lower", method_map<lower>},
    {"swapcase", method_map<swap_case>},
    {"capitalize", method_map<capitalize>},
    {"title", method_map<title_words>},
    {"join", method_join},
    {"isdigit", method_all<is_decimal>},
    {"isdecimal", method_all<is_decimal>},
    {"isnumeric", method_all<is_decimal>},
    {"isalpha", method_all<is_alphabetic>},
    {"isalnum", method_all<is_alphanumeric>},
    {"isspace", method_all<is_space>},
    {"isupper", method_is_case<is_upper, is_lower>},
    {"islower", method_is_case<is_lower, is_upper>},
    {"removeprefix", method_remove<false>},
    {"removesuffix", method_remove<true>},
    {"partition", method_partition<false>},
    {"rpartition", method_partition<true>},
};

}  // namespace

const NamedMethod* find_text_method(std::string_view name) {
  const auto* found = std::find_if(std::begin(kMethods), std::end(kMethods),
                                   [&](const NamedMethod& m) { return m.name == name; });
  return found == std::end(kMethods) ? nullptr : found;
}

}  // namespace hlwq::jinja
