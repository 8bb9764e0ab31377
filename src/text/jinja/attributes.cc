#include "text/jinja/attributes.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "io/printable.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/text_operations.h"
#include "text/jinja/unicode.h"

namespace hlwq::jinja {
namespace {

// Python's methods that are not supported here, by type: calling one must not look like a key that
// is not there.
constexpr std::string_view kOtherTextMethods[] = {
    "casefold",   "center",    "encode",       "expandtabs",  "format",
    "format_map", "isascii",   "isidentifier", "isprintable", "istitle",
    "ljust",      "maketrans", "rjust",        "translate",   "zfill"};
constexpr std::string_view kChangingListMethods[] = {"append", "clear",  "extend",  "insert",
                                                     "pop",    "remove", "reverse", "sort"};
constexpr std::string_view kChangingDictMethods[] = {"clear", "pop", "popitem", "setdefault",
                                                     "update"};

template <size_t N>
bool is_among(const std::string_view (&names)[N], std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

Result<Value> bind_method(Runtime& runtime, const NamedMethod& method, const Value& self) {
  HLWQ_TRY(runtime.spend(kSmallObjectSteps));
  return Value(ObjectPtr(std::make_shared<Function>(method.name, method.native, self)));
}

// As transformers' sandbox answers: undefined, with a reason for whoever calls it.
Value unsafe(std::string_view name, const Value& value) {
  return Value::undefined(
      fmt::format("access to attribute '{}' of '{}' object is unsafe", name, value.type_name()));
}

// Python's repr of a key, for messages.
std::string shown(Runtime& runtime, const Value& key) {
  if (key.is_text()) return fmt::format("'{}'", printable(key.text().bytes()));
  const Result<MarkedText> text = to_str(runtime, key);
  return text ? printable(text->bytes()) : std::string(key.type_name());
}

Result<Value> no_attribute(Runtime& runtime, const Value& value, const Value& key) {
  HLWQ_TRY(runtime.spend(kSmallObjectSteps));
  const std::string object = value.is_none() ? "None" : fmt::format("{} object", value.type_name());
  if (key.is_text()) {
    return Value::undefined(fmt::format("'{}' has no attribute {}", object, shown(runtime, key)));
  }
  return Value::undefined(fmt::format("{} has no element {}", object, shown(runtime, key)));
}

Result<Value> dict_items(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY(Bound::bind(runtime, "items", arguments, {}));
  std::vector<Value> items;
  for (const auto& [key, value] : self.dict()->entries) {
    HLWQ_TRY_ASSIGN(Value pair, runtime.sequence({key, value}, Sequence::Flavor::kTuple));
    items.push_back(std::move(pair));
  }
  return runtime.sequence(std::move(items), Sequence::Flavor::kItems);
}

template <bool Keys>
Result<Value> dict_sides(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY(Bound::bind(runtime, Keys ? "keys" : "values", arguments, {}));
  std::vector<Value> items;
  for (const auto& [key, value] : self.dict()->entries) items.push_back(Keys ? key : value);
  return runtime.sequence(std::move(items),
                          Keys ? Sequence::Flavor::kKeys : Sequence::Flavor::kValues);
}

Result<Value> dict_get(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound, Bound::bind(runtime, "get", arguments, {"key", "default"}, 1));
  HLWQ_TRY_ASSIGN(const std::optional<size_t> at, find_key(runtime, *self.dict(), *bound[0]));
  if (at) return self.dict()->entries[*at].second;
  return bound[1] == nullptr ? Value() : *bound[1];
}

Result<Value> copy(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY(Bound::bind(runtime, "copy", arguments, {}));
  return self;  // nothing can change either
}

Result<Value> list_index(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound, Bound::bind(runtime, "index", arguments, {"value"}, 1));
  const std::vector<Value>& items = self.sequence()->items;
  for (size_t i = 0; i < items.size(); ++i) {
    HLWQ_TRY_ASSIGN(const bool same, equal(runtime, items[i], *bound[0]));
    if (same) return Value(static_cast<int64_t>(i));
  }
  return runtime.error(fmt::format("{} is not in list", shown(runtime, *bound[0])));
}

Result<Value> list_count(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound, Bound::bind(runtime, "count", arguments, {"value"}, 1));
  int64_t count = 0;
  for (const Value& item : self.sequence()->items) {
    HLWQ_TRY_ASSIGN(const bool same, equal(runtime, item, *bound[0]));
    count += same ? 1 : 0;
  }
  return Value(count);
}

Result<Value> loop_cycle(Runtime& runtime, const Value& self, const Arguments& arguments) {
  if (arguments.positional.empty()) return runtime.error("no items for cycling given");
  return arguments.positional[self.object_as<Loop>()->index % arguments.positional.size()];
}

constexpr NamedMethod kDictMethods[] = {{"items", dict_items},
                                        {"keys", dict_sides<true>},
                                        {"values", dict_sides<false>},
                                        {"get", dict_get},
                                        {"copy", copy}};
constexpr NamedMethod kListMethods[] = {
    {"index", list_index}, {"count", list_count}, {"copy", copy}};
constexpr NamedMethod kLoopCycle = {"cycle", loop_cycle};

template <size_t N>
const NamedMethod* find_method(const NamedMethod (&methods)[N], std::string_view name) {
  const auto* found = std::find_if(std::begin(methods), std::end(methods),
                                   [&](const NamedMethod& m) { return m.name == name; });
  return found == std::end(methods) ? nullptr : found;
}

Result<std::optional<Value>> loop_attribute(Runtime& runtime, const Value& value,
                                            std::string_view name) {
  const Loop& loop = *value.object_as<Loop>();
  const std::vector<Value>& items = loop.sequence->items;
  const auto index = static_cast<int64_t>(loop.index);
  const auto count = static_cast<int64_t>(items.size());
  if (name == "index") return Value(index + 1);
  if (name == "index0") return Value(index);
  if (name == "revindex") return Value(count - index);
  if (name == "revindex0") return Value(count - index - 1);
  if (name == "first") return Value(index == 0);
  if (name == "last") return Value(index + 1 == count);
  if (name == "length") return Value(count);
  if (name == "depth") return Value(int64_t{1});  // more in recursive loops only
  if (name == "depth0") return Value(int64_t{0});
  if (name == "previtem") {
    return index == 0 ? Value::undefined("there is no previous item") : items[loop.index - 1];
  }
  if (name == "nextitem") {
    return index + 1 == count ? Value::undefined("there is no next item") : items[loop.index + 1];
  }
  if (name == "changed") return runtime.unsupported("loop.changed is not supported");
  if (name != "cycle") return std::optional<Value>();
  HLWQ_TRY_ASSIGN(Value method, bind_method(runtime, kLoopCycle, value));
  return std::optional<Value>(std::move(method));
}

// What Python's getattr finds; none where it raises.
Result<std::optional<Value>> own_attribute(Runtime& runtime, const Value& value,
                                           std::string_view name) {
  if (value.object_as<Loop>() != nullptr) return loop_attribute(runtime, value, name);
  if (const Namespace* space = value.object_as<Namespace>()) {
    const auto found = space->attributes.find(name);
    if (found == space->attributes.end()) return std::optional<Value>();
    return std::optional<Value>(found->second);
  }
  const NamedMethod* method = nullptr;
  if (value.is_text()) {
    method = find_text_method(name);
    if (method == nullptr && is_among(kOtherTextMethods, name)) {
      return runtime.unsupported(fmt::format("the method '{}' of str is not supported", name));
    }
  } else if (value.dict() != nullptr) {
    method = find_method(kDictMethods, name);
    if (method == nullptr && is_among(kChangingDictMethods, name))
      return std::optional<Value>(unsafe(name, value));
  } else if (const Sequence* sequence = value.sequence();
             sequence != nullptr && sequence->is_indexed()) {
    const bool is_list = sequence->flavor == Sequence::Flavor::kList;
    method = find_method(kListMethods, name);
    if (method != nullptr && name == "copy" && !is_list) method = nullptr;
    if (method == nullptr && is_list && is_among(kChangingListMethods, name))
      return std::optional<Value>(unsafe(name, value));
  }
  if (method == nullptr) return std::optional<Value>();
  HLWQ_TRY_ASSIGN(Value bound, bind_method(runtime, *method, value));
  return std::optional<Value>(std::move(bound));
}

// What Python's subscript finds; none where it raises.
Result<std::optional<Value>> own_item(Runtime& runtime, const Value& value, const Value& key) {
  if (const Dict* dict = value.dict()) {
    // A key that cannot be hashed raises, and so finds nothing.
    if (key.sequence() != nullptr || key.dict() != nullptr) return std::optional<Value>();
    HLWQ_TRY_ASSIGN(const std::optional<size_t> at, find_key(runtime, *dict, key));
    if (!at) return std::optional<Value>();
    return std::optional<Value>(dict->entries[*at].second);
  }
  const Sequence* sequence = value.sequence();
  const bool is_indexed = value.is_text() || (sequence != nullptr && sequence->is_indexed());
  if (!is_indexed || (!key.is_bool() && !key.is_integer())) return std::optional<Value>();
  HLWQ_TRY_ASSIGN(const int64_t count, length(runtime, value));
  __int128 index = key.integer();
  if (index < 0) index += count;
  if (index < 0 || index >= count) return std::optional<Value>();
  const auto at = static_cast<size_t>(index);
  if (sequence != nullptr) return std::optional<Value>(sequence->items[at]);
  const std::string& bytes = value.text().bytes();
  const size_t begin = byte_of_character(bytes, at);
  HLWQ_TRY_ASSIGN(Value character,
                  runtime.text(value.text().slice(begin, begin + character_bytes(bytes, begin))));
  return std::optional<Value>(std::move(character));
}

Result<std::optional<int64_t>> slice_bound(Runtime& runtime, const Value* value) {
  if (value == nullptr || value->is_none()) return std::optional<int64_t>();
  if (value->is_undefined()) return runtime.error(value->why());
  if (!value->is_bool() && !value->is_integer()) {
    return runtime.error("slice indices must be integers or None");
  }
  constexpr int64_t kFar = int64_t{1} << 62;  // beyond any length, and negatable
  return std::optional<int64_t>(
      static_cast<int64_t>(std::clamp<__int128>(value->integer(), -kFar, kFar)));
}

// The numbers of the items that a slice takes.
struct Taken {
  int64_t begin = 0;
  int64_t step = 1;
  int64_t count = 0;
  [[nodiscard]] size_t operator[](int64_t i) const { return static_cast<size_t>(begin + i * step); }
};

// As Python's slice.indices.
Result<Taken> take_slice(Runtime& runtime, int64_t length, const Value* begin_value,
                         const Value* end_value, const Value* step_value) {
  HLWQ_TRY_ASSIGN(const std::optional<int64_t> begin_bound, slice_bound(runtime, begin_value));
  HLWQ_TRY_ASSIGN(const std::optional<int64_t> end_bound, slice_bound(runtime, end_value));
  HLWQ_TRY_ASSIGN(const std::optional<int64_t> step_bound, slice_bound(runtime, step_value));
  const int64_t step = step_bound.value_or(1);
  if (step == 0) return runtime.error("slice step cannot be zero");
  const int64_t lowest = step < 0 ? -1 : 0;
  const int64_t highest = step < 0 ? length - 1 : length;
  const auto clamped = [&](std::optional<int64_t> bound, int64_t otherwise) {
    if (!bound) return otherwise;
    return std::clamp(*bound < 0 ? *bound + length : *bound, lowest, highest);
  };
  const int64_t begin = clamped(begin_bound, step < 0 ? highest : lowest);
  const int64_t end = clamped(end_bound, step < 0 ? lowest : highest);
  const int64_t way = step > 0 ? end - begin : begin - end;
  const int64_t stride = step > 0 ? step : -step;
  return Taken{begin, step, way <= 0 ? 0 : (way - 1) / stride + 1};
}

Result<Value> slice_text(Runtime& runtime, const Value& value, const Value* begin, const Value* end,
                         const Value* step) {
  const MarkedText& text = value.text();
  HLWQ_TRY_ASSIGN(const int64_t count, length(runtime, value));
  HLWQ_TRY_ASSIGN(const Taken taken, take_slice(runtime, count, begin, end, step));
  if (taken.count == 0) return runtime.text("", Origin::kTemplate);
  HLWQ_TRY(runtime.touch(text.size()));
  if (taken.step == 1) {
    const size_t first = byte_of_character(text.bytes(), taken[0]);
    const std::string_view rest = std::string_view(text.bytes()).substr(first);
    return runtime.text(
        text.slice(first, first + byte_of_character(rest, static_cast<size_t>(taken.count))));
  }
  HLWQ_TRY(runtime.spend(text.size()));
  std::vector<size_t> begins;
  for (size_t at = 0; at < text.size(); at += character_bytes(text.bytes(), at))
    begins.push_back(at);
  MarkedText picked;
  for (int64_t i = 0; i < taken.count; ++i) {
    const size_t at = begins[taken[i]];
    picked.append(text, at, at + character_bytes(text.bytes(), at));
  }
  return runtime.text(std::move(picked));
}

}  // namespace

Result<Value> get_attribute(Runtime& runtime, const Value& value, std::string_view name) {
  if (value.is_undefined()) return runtime.error(value.why());
  HLWQ_TRY_ASSIGN(const std::optional<Value> attribute, own_attribute(runtime, value, name));
  if (attribute) return *attribute;
  if (const Dict* dict = value.dict()) {
    if (const Value* item = dict->find(name)) return *item;
  }
  return no_attribute(runtime, value, Value::literal(name));
}

Result<Value> get_item(Runtime& runtime, const Value& value, const Value& key) {
  if (value.is_undefined()) return runtime.error(value.why());
  HLWQ_TRY_ASSIGN(const std::optional<Value> item, own_item(runtime, value, key));
  if (item) return *item;
  if (key.is_text()) {
    HLWQ_TRY_ASSIGN(const std::optional<Value> attribute,
                    own_attribute(runtime, value, key.text().bytes()));
    if (attribute) return *attribute;
  }
  return no_attribute(runtime, value, key);
}

Result<Value> get_slice(Runtime& runtime, const Value& value, const Value* begin, const Value* end,
                        const Value* step) {
  if (value.is_undefined()) return runtime.error(value.why());
  if (value.is_text()) return slice_text(runtime, value, begin, end, step);
  const Sequence* sequence = value.sequence();
  if (sequence == nullptr || !sequence->is_indexed())
    return runtime.error(fmt::format("'{}' object has no slices", value.type_name()));
  HLWQ_TRY_ASSIGN(
      const Taken taken,
      take_slice(runtime, static_cast<int64_t>(sequence->items.size()), begin, end, step));
  HLWQ_TRY(runtime.spend(1 + static_cast<uint64_t>(taken.count) / 4));
  std::vector<Value> items;
  items.reserve(static_cast<size_t>(taken.count));
  for (int64_t i = 0; i < taken.count; ++i) items.push_back(sequence->items[taken[i]]);
  return runtime.sequence(std::move(items), sequence->flavor);
}

Result<Value> get_path(Runtime& runtime, const Value& value, const Value& path) {
  if (!path.is_text()) return get_item(runtime, value, path);
  HLWQ_TRY(runtime.spend(path.text().size()));
  Value found = value;
  for (const MarkedText& part : split(path.text(), ".", -1, false)) {
    const std::string& name = part.bytes();
    const bool is_number =
        !name.empty() && name.size() <= 9 &&
        std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
    HLWQ_TRY_ASSIGN(
        Value key, is_number ? Result<Value>(Value(int64_t{std::stoi(name)})) : runtime.text(part));
    HLWQ_TRY_ASSIGN(found, get_item(runtime, found, key));
  }
  return found;
}

}  // namespace hlwq::jinja
