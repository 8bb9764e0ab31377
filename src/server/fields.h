#pragma once
// Reading a request's JSON: each field with its type and range, errors that name it.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace hlwq::server {

using OrderedJson = nlohmann::ordered_json;

// A JSON object of a request. Fields that are null count as absent; unknown ones are not looked at,
// since clients send many. Errors of all readers: kInvalidArgument "path.name: got ..., wanted
// ...".
class Fields {
 public:
  // `object` must outlive this. `path`: in front of names in messages, such as "messages[3].".
  // Errors: when it is no object.
  static Result<Fields> of(const OrderedJson& object, std::string path);
  static Result<Fields> of(OrderedJson&& object, std::string path) = delete;  // it would be gone

  [[nodiscard]] const OrderedJson* find(std::string_view name) const;  // null: absent
  [[nodiscard]] Result<std::optional<double>> number(std::string_view name, double least,
                                                     double most) const;
  [[nodiscard]] Result<std::optional<int64_t>> integer(std::string_view name, int64_t least,
                                                       int64_t most) const;
  [[nodiscard]] Result<std::optional<bool>> boolean(std::string_view name) const;
  [[nodiscard]] Result<std::optional<std::string>> text(std::string_view name) const;

  [[nodiscard]] std::string path_of(std::string_view name) const;
  // kInvalidArgument for field `name`.
  [[nodiscard]] tl::unexpected<Error> wrong(std::string_view name, const OrderedJson& got,
                                            std::string_view wanted) const;

 private:
  Fields(const OrderedJson& object, std::string path) : object_(&object), path_(std::move(path)) {}
  const OrderedJson* object_;
  std::string path_;
};

// A value in a message: short, and what it is if it is long.
[[nodiscard]] std::string shown(const OrderedJson& value);

}  // namespace hlwq::server
