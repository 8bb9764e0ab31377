#include "text/jinja/arguments.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "io/printable.h"
#include "text/jinja/operators.h"

namespace hlwq::jinja {

Result<Bound> Bound::bind(const Runtime& runtime, std::string_view what, const Arguments& arguments,
                          std::initializer_list<std::string_view> names, size_t required) {
  Bound bound;
  bound.what_ = what;
  bound.names_.assign(names);
  bound.values_.assign(names.size(), nullptr);
  if (arguments.positional.size() > names.size()) {
    return runtime.error(fmt::format("{}: {} arguments, at most {}", what,
                                     arguments.positional.size(), names.size()));
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i)
    bound.values_[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) {
      return runtime.error(fmt::format("{}: unknown argument '{}'", what, printable(name)));
    }
    const Value*& place = bound.values_[static_cast<size_t>(found - names.begin())];
    if (place != nullptr) return runtime.error(fmt::format("{}: '{}' given twice", what, name));
    place = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (bound.values_[i] == nullptr)
      return runtime.error(fmt::format("{}: argument '{}' is missing", what, bound.names_[i]));
  }
  return bound;
}

Result<const MarkedText*> Bound::text(const Runtime& runtime, size_t parameter) const {
  const Value& value = *values_[parameter];
  if (value.is_text()) return &value.text();
  if (value.is_undefined()) return runtime.error(value.why());
  return runtime.error(
      fmt::format("{}: {} must be str, not {}", what_, names_[parameter], value.type_name()));
}

Result<int64_t> Bound::integer(const Runtime& runtime, size_t parameter, int64_t otherwise) const {
  if (values_[parameter] == nullptr) return otherwise;
  const Value& value = *values_[parameter];
  if (value.is_undefined()) return runtime.error(value.why());
  if (!value.is_bool() && !value.is_integer()) {
    return runtime.error(
        fmt::format("{}: {} must be int, not {}", what_, names_[parameter], value.type_name()));
  }
  return static_cast<int64_t>(
      std::min<__int128>(value.integer(), std::numeric_limits<int64_t>::max()));
}

bool Bound::truth(size_t parameter, bool otherwise) const {
  return values_[parameter] == nullptr ? otherwise : jinja::truth(*values_[parameter]);
}

}  // namespace hlwq::jinja
