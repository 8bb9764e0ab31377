#pragma once
// Fields of an object from outside, by type and range. The first error is kept; what is asked for
// after it gives defaults.

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "io/json.h"

namespace hlwq::chart {

class JsonFields {
 public:
  // `where` is said before the name of a field: "FILE", "FILE, rows[3]".
  JsonFields(const Json& object, std::string where);

  [[nodiscard]] std::string text(const char* key);           // required
  [[nodiscard]] std::string text_or_empty(const char* key);  // absent or null: empty
  // Finite, not beyond 1e18.
  [[nodiscard]] double number(const char* key);
  [[nodiscard]] std::optional<double> number_if_any(const char* key);  // absent or null: nothing
  // Whole, from 0 to 2^53.
  [[nodiscard]] int64_t count(const char* key);
  [[nodiscard]] std::optional<int64_t> count_if_any(const char* key);
  // An object or array; null when it is absent or null.
  [[nodiscard]] const Json* object_if_any(const char* key);
  [[nodiscard]] const Json* array(const char* key, size_t most);  // required

  // Errors: kBadHeader, the first one met.
  [[nodiscard]] Status status() const { return status_; }

 private:
  [[nodiscard]] const Json* find(const char* key) const;
  [[nodiscard]] const Json* required(const char* key);
  void refuse(const char* key, const std::string& problem);

  const Json* object_;
  std::string where_;
  Status status_;
};

// "a number", "an array of 3": what a value is, for messages.
[[nodiscard]] std::string kind_of(const Json& value);

}  // namespace hlwq::chart
