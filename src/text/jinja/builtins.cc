#include "text/jinja/builtins.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "io/printable.h"
#include "text/jinja/builtin_tables.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"

namespace hlwq::jinja {
namespace {

Result<Value> global_range(Runtime& runtime, const Value& /*self*/, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound,
                  Bound::bind(runtime, "range", arguments, {"start", "stop", "step"}, 1));
  HLWQ_TRY_ASSIGN(const int64_t first, bound.integer(runtime, 0, 0));
  HLWQ_TRY_ASSIGN(const int64_t second, bound.integer(runtime, 1, 0));
  HLWQ_TRY_ASSIGN(const int64_t step, bound.integer(runtime, 2, 1));
  if (step == 0) return runtime.error("range() arg 3 must not be zero");
  const __int128 begin = bound[1] == nullptr ? 0 : first;
  const __int128 end = bound[1] == nullptr ? first : second;
  const __int128 way = step > 0 ? end - begin : begin - end;
  const __int128 stride = step > 0 ? __int128{step} : -__int128{step};
  const __int128 count = way <= 0 ? 0 : (way - 1) / stride + 1;
  if (count > runtime.limits().range_items) {
    return runtime.error(
        fmt::format("a range of more than {} items", runtime.limits().range_items));
  }
  std::vector<Value> items;
  items.reserve(static_cast<size_t>(count));
  for (__int128 i = 0; i < count; ++i) items.emplace_back(static_cast<int64_t>(begin + i * step));
  return runtime.sequence(std::move(items), Sequence::Flavor::kRange);
}

// dict(mapping_or_pairs, name=value, ...)
Result<std::vector<Dict::Entry>> dict_entries(Runtime& runtime, std::string_view what,
                                              const Arguments& arguments) {
  if (arguments.positional.size() > 1) {
    return runtime.error(
        fmt::format("{} expected at most 1 argument, got {}", what, arguments.positional.size()));
  }
  std::vector<Dict::Entry> entries;
  if (!arguments.positional.empty()) {
    const Value& from = arguments.positional[0];
    if (from.dict() != nullptr) {
      entries = from.dict()->entries;
    } else {
      HLWQ_TRY_ASSIGN(const SequencePtr pairs, iterate(runtime, from));
      for (const Value& pair : pairs->items) {
        if (!is_iterable(pair)) return runtime.error(fmt::format("{}: expected pairs", what));
        HLWQ_TRY_ASSIGN(const SequencePtr sides, iterate(runtime, pair));
        if (sides->items.size() != 2)
          return runtime.error(
              fmt::format("{}: expected pairs, got {} items", what, sides->items.size()));
        entries.emplace_back(sides->items[0], sides->items[1]);
      }
    }
  }
  for (const auto& [name, value] : arguments.named) {
    HLWQ_TRY_ASSIGN(Value key, runtime.text(name, Origin::kTemplate));
    entries.emplace_back(std::move(key), value);
  }
  return entries;
}

Result<Value> global_dict(Runtime& runtime, const Value& /*self*/, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(std::vector<Dict::Entry> entries, dict_entries(runtime, "dict", arguments));
  return runtime.dict(std::move(entries));
}

Result<Value> global_namespace(Runtime& runtime, const Value& /*self*/,
                               const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const std::vector<Dict::Entry> entries,
                  dict_entries(runtime, "namespace", arguments));
  HLWQ_TRY_ASSIGN(const std::shared_ptr<Namespace> space, runtime.make_namespace());
  for (const auto& [key, value] : entries) {
    HLWQ_TRY(runtime.spend(kSmallObjectSteps));
    if (!key.is_text()) return runtime.error("namespace: names must be str");
    space->attributes[key.text().bytes()] = value;
  }
  return Value(ObjectPtr(space));
}

Result<Value> global_joiner(Runtime& runtime, const Value& /*self*/, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound, Bound::bind(runtime, "joiner", arguments, {"sep"}));
  HLWQ_TRY(runtime.spend(kSmallObjectSteps));
  if (bound[0] != nullptr && bound[0]->depth() >= runtime.limits().container_depth)
    return runtime.error("joiners nested too deep");
  return Value(
      ObjectPtr(std::make_shared<Joiner>(bound[0] == nullptr ? Value::literal(", ") : *bound[0])));
}

Result<Value> global_raise_exception(Runtime& runtime, const Value& /*self*/,
                                     const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound,
                  Bound::bind(runtime, "raise_exception", arguments, {"message"}, 1));
  HLWQ_TRY_ASSIGN(const MarkedText message, to_str(runtime, *bound[0]));
  constexpr size_t kMostMessageBytes = 2000;
  return runtime.complaint(printable(message.bytes(), kMostMessageBytes));
}

// The part of strftime that shows a time without a zone.
Result<Value> global_strftime_now(Runtime& runtime, const Value& /*self*/,
                                  const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound,
                  Bound::bind(runtime, "strftime_now", arguments, {"format"}, 1));
  HLWQ_TRY_ASSIGN(const MarkedText* format, bound.text(runtime, 0));
  HLWQ_TRY(runtime.spend(format->size()));
  const std::string& bytes = format->bytes();
  std::string shown;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != '%') {
      shown += bytes[i];
      continue;
    }
    std::string one = "%";
    if (i + 1 < bytes.size() && bytes[i + 1] == '-') one += bytes[++i];  // without leading zeros
    const char letter = i + 1 < bytes.size() ? bytes[++i] : '\0';
    if (letter == '\0' || std::string_view("aAbBcdDeFHIjmMnpRStTuUVwWxXyYGg%").find(letter) ==
                              std::string_view::npos) {
      return runtime.unsupported(fmt::format("strftime_now: the format '%{}' is not supported",
                                             printable(std::string(1, letter))));
    }
    one += letter;
    std::array<char, 128> buffer;
    shown.append(buffer.data(),
                 std::strftime(buffer.data(), buffer.size(), one.c_str(), &runtime.now()));
  }
  return runtime.text(shown, format->origin());
}

struct NamedGlobal {
  std::string_view name;
  Native native;
};
constexpr NamedGlobal kGlobals[] = {
    {"range", global_range},
    {"dict", global_dict},
    {"namespace", global_namespace},
    {"joiner", global_joiner},
    {"raise_exception", global_raise_exception},
    {"strftime_now", global_strftime_now},
};

}  // namespace

Native find_filter(std::string_view name) {
  for (const auto table :
       {text_filters(), sequence_filters(), selecting_filters(), number_filters()}) {
    const auto found = std::find_if(table.begin(), table.end(),
                                    [&](const NamedNative& filter) { return filter.name == name; });
    if (found != table.end()) return found->native;
  }
  return nullptr;
}

Native find_global(std::string_view name) {
  const auto* found = std::find_if(std::begin(kGlobals), std::end(kGlobals),
                                   [&](const NamedGlobal& global) { return global.name == name; });
  return found == std::end(kGlobals) ? nullptr : found->native;
}

bool is_unsupported_global(std::string_view name) { return name == "cycler" || name == "lipsum"; }

}  // namespace hlwq::jinja
