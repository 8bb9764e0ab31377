#pragma once

#include <nlohmann/json.hpp>
#include <optional>

namespace hlwq::cli {

// A value that may be missing, as JSON.
template <typename T>
nlohmann::json or_null(const std::optional<T>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json();
}

}  // namespace hlwq::cli
