#include "model/config_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/checked.h"
#include "io/printable.h"

namespace hlwq {

ConfigFields::ConfigFields(const Json& object, std::string where)
    : object_(object), where_(std::move(where)) {}

Status ConfigFields::status() const {
  if (error_) return tl::unexpected<Error>(*error_);
  return {};
}

void ConfigFields::refuse(ErrorCode code, const std::string& message) {
  if (!error_) error_ = Error{code, fmt::format("{}: {}", where_, message)};
}

void ConfigFields::wanted(Names names, const Json& got, const std::string& what) {
  refuse(ErrorCode::kBadHeader,
         fmt::format("{} is {}, wanted {}", *names.begin(), text(got), what));
}

const Json* ConfigFields::find(Names names) {
  const Json* found = nullptr;
  const char* found_name = nullptr;
  for (const char* name : names) {
    const auto it = object_.find(name);
    if (it == object_.end() || it->is_null()) continue;
    if (found != nullptr && *found != *it)
      refuse(ErrorCode::kBadHeader, fmt::format("{} is {} and {} is {}: they mean the same",
                                                found_name, text(*found), name, text(*it)));
    if (found == nullptr) found = &*it, found_name = name;
  }
  return found;
}

bool ConfigFields::is_null(const char* name) const {
  const auto it = object_.find(name);
  return it != object_.end() && it->is_null();
}

int64_t ConfigFields::integer(Names names, int64_t fallback, int64_t least, int64_t most) {
  const Json* value = find(names);
  if (value == nullptr) return fallback;
  if (const auto number = as_integer(*value); number && *number >= least && *number <= most)
    return *number;
  return wanted(names, *value, fmt::format("an integer in [{}, {}]", least, most)), fallback;
}

double ConfigFields::real(Names names, double fallback, double least, double most) {
  const Json* value = find(names);
  if (value == nullptr) return fallback;
  if (value->is_number()) {
    const double number = value->get<double>();
    if (number >= least && number <= most) return number;  // false for NaN
  }
  return wanted(names, *value, fmt::format("a number in [{}, {}]", least, most)), fallback;
}

bool ConfigFields::flag(Names names, bool fallback) {
  const Json* value = find(names);
  if (value == nullptr) return fallback;
  if (value->is_boolean()) return value->get<bool>();
  return wanted(names, *value, "true or false"), fallback;
}

std::string ConfigFields::string(Names names, std::string fallback) {
  const Json* value = find(names);
  if (value == nullptr) return fallback;
  if (value->is_string()) return value->get<std::string>();
  return wanted(names, *value, "a string"), fallback;
}

std::vector<int32_t> ConfigFields::token_ids(Names names, int64_t vocabulary) {
  const Json* value = find(names);
  std::vector<int32_t> ids;
  if (value == nullptr) return ids;
  const auto add = [&](const Json& id) {
    const auto number = as_integer(id);
    if (number && *number >= 0 && *number < vocabulary)
      ids.push_back(static_cast<int32_t>(*number));
    else
      wanted(names, id, fmt::format("a token id below vocab_size ({})", vocabulary));
  };
  if (!value->is_array())
    add(*value);
  else
    std::for_each(value->begin(), value->end(), add);
  return ids;
}

ConfigFields ConfigFields::inside(const Json& object, std::string_view name) const {
  return {object, fmt::format("{}: {}", where_, name)};
}

void ConfigFields::take_status(const ConfigFields& inner) {
  if (!error_) error_ = inner.error_;
}

void ConfigFields::check_divides(std::string_view what, int64_t value, std::string_view by_what,
                                 int64_t by) {
  if (value % by != 0)
    refuse(ErrorCode::kBadHeader,
           fmt::format("{} is {}, not a multiple of {} ({})", what, value, by_what, by));
}

void ConfigFields::check_product(std::string_view what, std::span<const int64_t> factors,
                                 int64_t most) {
  const auto product = checked_product(factors);
  if (!product || *product > static_cast<uint64_t>(most))
    refuse(ErrorCode::kBadHeader,
           fmt::format("{}: {} is larger than {}", what, fmt::join(factors, " x "), most));
}

std::optional<int64_t> ConfigFields::as_integer(const Json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<uint64_t>();
    if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
    return static_cast<int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  return std::nullopt;
}

std::string ConfigFields::text(const Json& value) {
  return printable(value.dump(-1, ' ', false, Json::error_handler_t::replace), 80);
}

}  // namespace hlwq
