#pragma once
// A number that several places of a file state: the first is taken, the others must agree.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace hlwq {

class Evidence {
 public:
  // `layer` and `quantity` name the number in messages ("rows", "bits"); both must outlive this.
  Evidence(std::string_view layer, std::string_view quantity)
      : layer_(layer), quantity_(quantity) {}

  // Errors: kBadLayout when `value` is below 1 or differs from what was stated before.
  [[nodiscard]] Status add(int64_t value, std::string_view source);
  [[nodiscard]] Status add(const std::optional<int64_t>& value, std::string_view source) {
    return value ? add(*value, source) : Status();
  }
  [[nodiscard]] bool known() const { return value_.has_value(); }
  [[nodiscard]] int64_t value() const { return *value_; }
  [[nodiscard]] const std::string& source() const { return source_; }

 private:
  std::string_view layer_, quantity_;
  std::optional<int64_t> value_;
  std::string source_;
};

}  // namespace hlwq
