#include "chart/json_fields.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "io/printable.h"

namespace hlwq::chart {
namespace {

constexpr double kMostNumber = 1e18;
constexpr double kMostCount = 9007199254740992.0;  // 2^53
constexpr size_t kMostText = 4096;                 // bytes

}  // namespace

std::string kind_of(const Json& value) {
  if (value.is_array()) return fmt::format("an array of {}", value.size());
  if (value.is_object()) return "an object";
  if (value.is_string())
    return fmt::format("\"{}\"", printable(value.get_ref<const std::string&>(), 40));
  return printable(value.dump(), 40);
}

JsonFields::JsonFields(const Json& object, std::string where)
    : object_(&object), where_(std::move(where)) {
  if (!object.is_object())
    status_ = fail(ErrorCode::kBadHeader,
                   fmt::format("{}: got {}, wanted an object", where_, kind_of(object)));
}

const Json* JsonFields::find(const char* key) const {
  if (!status_) return nullptr;
  const auto it = object_->find(key);
  return it == object_->end() || it->is_null() ? nullptr : &*it;
}

void JsonFields::refuse(const char* key, const std::string& problem) {
  if (status_)
    status_ = fail(ErrorCode::kBadHeader, fmt::format("{}: {}: {}", where_, key, problem));
}

const Json* JsonFields::required(const char* key) {
  const Json* value = find(key);
  if (value == nullptr) refuse(key, "it is missing");
  return value;
}

std::string JsonFields::text(const char* key) {
  return required(key) == nullptr ? "" : text_or_empty(key);
}

std::string JsonFields::text_or_empty(const char* key) {
  const Json* value = find(key);
  if (value == nullptr) return "";
  if (!value->is_string()) {
    refuse(key, fmt::format("got {}, wanted a text", kind_of(*value)));
    return "";
  }
  const auto& text = value->get_ref<const std::string&>();
  if (text.size() > kMostText)
    refuse(key, fmt::format("a text of {} bytes, wanted at most {}", text.size(), kMostText));
  return text;
}

double JsonFields::number(const char* key) {
  return required(key) == nullptr ? 0 : number_if_any(key).value_or(0);
}

std::optional<double> JsonFields::number_if_any(const char* key) {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  const double number = value->is_number() ? value->get<double>() : std::nan("");
  if (std::abs(number) <= kMostNumber) return number;
  refuse(key, fmt::format("got {}, wanted a number up to {}", kind_of(*value), kMostNumber));
  return std::nullopt;
}

int64_t JsonFields::count(const char* key) {
  return required(key) == nullptr ? 0 : count_if_any(key).value_or(0);
}

std::optional<int64_t> JsonFields::count_if_any(const char* key) {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  const double number = value->is_number() ? value->get<double>() : -1;
  if (number >= 0 && number <= kMostCount && number == std::floor(number))
    return static_cast<int64_t>(number);
  refuse(key, fmt::format("got {}, wanted a whole number from 0 to 2^53", kind_of(*value)));
  return std::nullopt;
}

const Json* JsonFields::object_if_any(const char* key) {
  const Json* value = find(key);
  if (value == nullptr || value->is_object()) return value;
  refuse(key, fmt::format("got {}, wanted an object", kind_of(*value)));
  return nullptr;
}

const Json* JsonFields::array(const char* key, size_t most) {
  const Json* value = required(key);
  if (value == nullptr) return nullptr;
  if (value->is_array() && value->size() <= most) return value;
  refuse(key, fmt::format("got {}, wanted an array of at most {}", kind_of(*value), most));
  return nullptr;
}

}  // namespace hlwq::chart
