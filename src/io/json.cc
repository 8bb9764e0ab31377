#include "io/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <type_traits>
#include <utility>
#include <vector>

#include "io/file.h"
#include "io/printable.h"

namespace hlwq {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct NamedNumber {
  std::string_view name;
  double value;
};
constexpr NamedNumber kNamedNumbers[] = {
    {"Infinity", kInfinity},
    {"-Infinity", -kInfinity},
    {"NaN", std::numeric_limits<double>::quiet_NaN()},
};

// A document whose bare Infinity, -Infinity and NaN became "0" and spaces of the same length, so
// that positions stay, and which of its numbers (counted from 0 in text order) they were.
struct PlainNumbers {
  struct Named {
    size_t ordinal;
    double value;
  };
  std::string text;
  std::vector<Named> named;
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool continues_number(char c) {
  return is_digit(c) || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

// Where a string that opens at `at` ends: just after its closing quote, or at the end of the text.
size_t end_of_string(std::string_view text, size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at)
    if (text[at] == '\\') ++at;
  return std::min(at + 1, text.size());
}

// Nothing here judges the text: what is wrong with it is still wrong afterwards, for the parser to
// find, and the count of numbers is right up to there.
PlainNumbers replace_named_numbers(std::string_view text) {
  PlainNumbers plain{std::string(text), {}};
  size_t numbers = 0;
  size_t at = 0;
  while (at < text.size()) {
    if (text[at] == '"') {
      at = end_of_string(text, at);
      continue;
    }
    const auto* named =
        std::find_if(std::begin(kNamedNumbers), std::end(kNamedNumbers),
                     [&](const NamedNumber& n) { return text.substr(at).starts_with(n.name); });
    if (named != std::end(kNamedNumbers)) {
      plain.text.replace(at, named->name.size(), named->name.size(), ' ');
      plain.text[at] = '0';
      plain.named.push_back({numbers++, named->value});
      at += named->name.size();
    } else if (text[at] == '-' || is_digit(text[at])) {
      ++numbers;
      while (at < text.size() && continues_number(text[at])) ++at;
      // "1NaN" is not a number: leave the name there, and the rest, to be refused.
      if (at < text.size() && is_letter(text[at])) break;
    } else {
      ++at;
    }
  }
  return plain;
}

// Reads characters for the parser and shows outside how many it has taken.
class CountingIterator {
 public:
  using iterator_category = std::forward_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, const char** taken) : at_(at), taken_(taken) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    *taken_ = ++at_;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** taken_;
};

// Receives the parser's events and builds the document; stops at the first thing it refuses.
// `open_` points at the containers around the current place. The pointers hold: a container gets
// its next element only after the one before is complete.
template <typename AnyJson>
class Builder {
 public:
  Builder(int depth, std::span<const PlainNumbers::Named> named) : depth_(depth), named_(named) {}

  AnyJson& root() { return root_; }
  const std::string& refusal() const { return refusal_; }

  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(typename AnyJson::number_integer_t value) { return add_number(value); }
  bool number_unsigned(typename AnyJson::number_unsigned_t value) { return add_number(value); }
  bool number_float(typename AnyJson::number_float_t value, const typename AnyJson::string_t&) {
    return add_number(value);
  }
  bool string(typename AnyJson::string_t& value) { return add(std::move(value)); }
  bool binary(typename AnyJson::binary_t&) { return refuse("binary data"); }

  bool start_object(size_t) {
    if constexpr (kIsOrdered) keys_.emplace_back();
    return enter(AnyJson::object());
  }
  bool start_array(size_t) { return enter(AnyJson::array()); }
  bool end_array() {
    open_.pop_back();
    return true;
  }
  bool end_object() {
    AnyJson& object = *open_.back();
    open_.pop_back();
    if constexpr (kIsOrdered) keys_.pop_back();
    if (const std::optional<double> value = float_object(object)) object = *value;
    return true;
  }
  bool key(typename AnyJson::string_t& name) {
    if constexpr (kIsOrdered) {
      if (!keys_.back().insert(name).second) return refuse_twice(name);
      member_ = append_member(name);
    } else {
      const auto [member, is_new] = open_.back()->emplace(name, nullptr);
      if (!is_new) return refuse_twice(name);
      member_ = &*member;
    }
    return true;
  }

  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 5: syntax error ...": the
    // position is said by our caller.
    std::string_view what = error.what();
    if (const size_t bracket = what.find("] "); bracket != std::string_view::npos)
      what.remove_prefix(bracket + 2);
    if (const size_t column = what.find(", column "); column != std::string_view::npos)
      if (const size_t colon = what.find(": ", column); colon != std::string_view::npos)
        what.remove_prefix(colon + 2);
    return refuse(printable(what));
  }

 private:
  static constexpr bool kIsOrdered = std::is_same_v<AnyJson, OrderedJson>;

  // An ordered object is a list, which its own emplace would search for every key, and which would
  // copy its members to grow.
  AnyJson* append_member(const std::string& name) {
    auto& members = open_.back()->template get_ref<typename AnyJson::object_t&>();
    if (members.size() == members.capacity()) {
      typename AnyJson::object_t grown;
      grown.reserve(std::max<size_t>(4, 2 * members.size()));
      for (auto& [key, value] : members) grown.Container::emplace_back(key, std::move(value));
      members.Container::swap(grown);
    }
    members.Container::emplace_back(name, nullptr);
    return &members.back().second;
  }

  bool refuse_twice(const std::string& name) {
    return refuse(fmt::format("key \"{}\" appears twice", printable(name)));
  }

  bool refuse(std::string why) {
    refusal_ = std::move(why);
    return false;
  }

  // The place of the next value: the root, the member whose key was read, or a new array element.
  AnyJson* place(AnyJson&& value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (open_.back()->is_array()) {
      open_.back()->push_back(std::move(value));
      return &open_.back()->back();
    }
    *member_ = std::move(value);
    return member_;
  }

  template <typename T>
  bool add(T&& value) {
    place(AnyJson(std::forward<T>(value)));
    return true;
  }

  template <typename T>
  bool add_number(T value) {
    const size_t ordinal = numbers_++;
    if (named_.empty() || named_.front().ordinal != ordinal) return add(value);
    const double named = named_.front().value;
    named_ = named_.subspan(1);
    return add(named);
  }

  bool enter(AnyJson&& container) {
    if (open_.size() >= static_cast<size_t>(depth_))
      return refuse(fmt::format("nested deeper than {} levels", depth_));
    open_.push_back(place(std::move(container)));
    return true;
  }

  // The value of {"__float__": "Infinity"}, the form that transformers 5 writes.
  static std::optional<double> float_object(const AnyJson& object) {
    if (object.size() != 1 || object.begin().key() != "__float__") return std::nullopt;
    const auto* name = object.begin()->template get_ptr<const typename AnyJson::string_t*>();
    if (name == nullptr) return std::nullopt;
    for (const NamedNumber& named : kNamedNumbers)
      if (*name == named.name) return named.value;
    return std::nullopt;
  }

  int depth_;
  std::span<const PlainNumbers::Named> named_;  // those still to come
  size_t numbers_ = 0;
  AnyJson root_;
  AnyJson* member_ = nullptr;
  std::vector<AnyJson*> open_;
  std::vector<std::set<std::string>> keys_;  // of each open object, when ordered
  std::string refusal_;
};

tl::unexpected<Error> refuse_at(std::string_view where, std::string_view text, size_t byte,
                                std::string_view why) {
  const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(byte), '\n');
  return fail(ErrorCode::kBadHeader,
              fmt::format("{}: JSON line {}, byte {}: {}", where, line, byte, why));
}

template <typename AnyJson>
Result<AnyJson> parse(std::string_view text, std::string_view where, const JsonLimits& limits) {
  if (text.size() > limits.bytes)
    return fail(ErrorCode::kBadHeader,
                fmt::format("{}: JSON of {} bytes, more than the {} allowed here", where,
                            text.size(), limits.bytes));
  if (text.starts_with("\xEF\xBB\xBF")) return refuse_at(where, text, 0, "byte order mark");
  // The parser would take a NUL for the end of the text.
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos)
    return refuse_at(where, text, nul, "NUL byte");

  PlainNumbers plain;
  std::string_view parsed = text;
  if (text.find("Infinity") != std::string_view::npos ||
      text.find("NaN") != std::string_view::npos) {
    plain = replace_named_numbers(text);
    parsed = plain.text;
  }
  const char* taken = parsed.data();
  Builder<AnyJson> builder(limits.depth, plain.named);
  if (!AnyJson::sax_parse(CountingIterator(parsed.data(), &taken),
                          CountingIterator(parsed.data() + parsed.size(), &taken), &builder))
    return refuse_at(where, text, static_cast<size_t>(taken - parsed.data()), builder.refusal());
  return std::move(builder.root());
}

}  // namespace

Result<Json> parse_json(std::string_view text, std::string_view where, const JsonLimits& limits) {
  return parse<Json>(text, where, limits);
}

Result<OrderedJson> parse_ordered_json(std::string_view text, std::string_view where,
                                       const JsonLimits& limits) {
  return parse<OrderedJson>(text, where, limits);
}

Result<Json> read_json_file(const std::string& path, const JsonLimits& limits) {
  HLWQ_TRY_ASSIGN(const std::string text, read_text_file(path, limits.bytes));
  return parse_json(text, path, limits);
}

}  // namespace hlwq
