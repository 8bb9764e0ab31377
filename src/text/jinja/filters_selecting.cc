// map, select and their like: filters that apply other filters or tests, named by text.

#include <fmt/format.h>

#include "io/printable.h"
#include "text/jinja/attributes.h"
#include "text/jinja/builtin_tables.h"
#include "text/jinja/builtins.h"
#include "text/jinja/operators.h"

namespace hlwq::jinja {
namespace {

// Without the first `count` positional arguments.
Arguments without_first(const Arguments& arguments, size_t count) {
  Arguments rest = arguments;
  rest.positional.erase(rest.positional.begin(),
                        rest.positional.begin() + static_cast<ptrdiff_t>(count));
  return rest;
}

Result<std::string> name_at(Runtime& runtime, std::string_view what, const Arguments& arguments,
                            size_t position) {
  const Value& name = arguments.positional[position];
  if (name.is_text()) return name.text().bytes();
  return runtime.error(fmt::format("{}: a name must be str, not {}", what, name.type_name()));
}

Result<Value> map_attribute(Runtime& runtime, const Sequence& items, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound,
                  Bound::bind(runtime, "map", arguments, {"attribute", "default"}, 1));
  std::vector<Value> mapped;
  for (const Value& item : items.items) {
    HLWQ_TRY_ASSIGN(Value value, get_path(runtime, item, *bound[0]));
    if (value.is_undefined() && !bound.is_none(1)) value = *bound[1];
    mapped.push_back(std::move(value));
  }
  return runtime.sequence(std::move(mapped), Sequence::Flavor::kIterator);
}

Result<Value> filter_map(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const SequencePtr items, iterate(runtime, self));
  if (arguments.positional.empty()) {
    if (arguments.named.empty()) return runtime.error("map requires a filter argument");
    return map_attribute(runtime, *items, arguments);
  }
  HLWQ_TRY_ASSIGN(const std::string name, name_at(runtime, "map", arguments, 0));
  const Native filter = find_filter(name);
  if (filter == nullptr)
    return runtime.unsupported(fmt::format("map: no filter named '{}'", printable(name)));
  // A filter that maps in turn would recur as deep as the arguments are many.
  if (filter == &filter_map) return runtime.unsupported("map of map is not supported");
  const Arguments rest = without_first(arguments, 1);
  std::vector<Value> mapped;
  for (const Value& item : items->items) {
    HLWQ_TRY_ASSIGN(Value value, filter(runtime, item, rest));
    mapped.push_back(std::move(value));
  }
  return runtime.sequence(std::move(mapped), Sequence::Flavor::kIterator);
}

template <bool Wanted, bool ByAttribute>
Result<Value> filter_select(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const char* what = Wanted ? "select" : "reject";
  constexpr size_t kTestAt = ByAttribute ? 1 : 0;
  if (!truth(self)) return runtime.sequence({}, Sequence::Flavor::kIterator);
  if (arguments.positional.size() < kTestAt)
    return runtime.error(fmt::format("{}attr: Missing parameter for attribute name", what));
  NativeTest test = nullptr;
  Arguments rest;
  if (arguments.positional.size() > kTestAt) {
    HLWQ_TRY_ASSIGN(const std::string name, name_at(runtime, what, arguments, kTestAt));
    test = find_test(name);
    if (test == nullptr)
      return runtime.unsupported(fmt::format("{}: no test named '{}'", what, printable(name)));
    rest = without_first(arguments, kTestAt + 1);
  }
  HLWQ_TRY_ASSIGN(const SequencePtr items, iterate(runtime, self));
  std::vector<Value> selected;
  for (const Value& item : items->items) {
    HLWQ_TRY(runtime.spend(1));
    Value examined = item;
    if (ByAttribute) {
      HLWQ_TRY_ASSIGN(examined, get_path(runtime, item, arguments.positional[0]));
    }
    bool holds = truth(examined);
    if (test != nullptr) {
      HLWQ_TRY_ASSIGN(holds, test(runtime, examined, rest));
    }
    if (holds == Wanted) selected.push_back(item);
  }
  return runtime.sequence(std::move(selected), Sequence::Flavor::kIterator);
}

constexpr NamedNative kFilters[] = {
    {"map", filter_map},
    {"select", filter_select<true, false>},
    {"reject", filter_select<false, false>},
    {"selectattr", filter_select<true, true>},
    {"rejectattr", filter_select<false, true>},
};

}  // namespace

std::span<const NamedNative> selecting_filters() { return kFilters; }

}  // namespace hlwq::jinja
