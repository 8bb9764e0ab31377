#include "server/fields.h"

#include <fmt/format.h>

#include <cmath>

namespace hlwq::server {
namespace {

constexpr size_t kMostShown = 60;  // bytes of a value in a message

}  // namespace

std::string shown(const OrderedJson& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return fmt::format("an array of {}", value.size());
  const std::string text = value.dump(-1, ' ', true, OrderedJson::error_handler_t::replace);
  if (text.size() <= kMostShown) return text;
  return fmt::format("{}… ({} bytes)", text.substr(0, kMostShown), text.size());
}

Result<Fields> Fields::of(const OrderedJson& object, std::string path) {
  if (object.is_object()) return Fields(object, std::move(path));
  while (path.ends_with('.')) path.pop_back();
  return fail(
      ErrorCode::kInvalidArgument,
      fmt::format("{}: got {}, wanted an object", path.empty() ? "body" : path, shown(object)));
}

const OrderedJson* Fields::find(std::string_view name) const {
  const auto found = object_->find(std::string(name));
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

std::string Fields::path_of(std::string_view name) const { return path_ + std::string(name); }

tl::unexpected<Error> Fields::wrong(std::string_view name, const OrderedJson& got,
                                    std::string_view wanted) const {
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{}: got {}, wanted {}", path_of(name), shown(got), wanted));
}

Result<std::optional<double>> Fields::number(std::string_view name, double least,
                                             double most) const {
  const OrderedJson* const value = find(name);
  if (value == nullptr) return std::nullopt;
  const double number = value->is_number() ? value->get<double>() : std::nan("");
  if (!(number >= least && number <= most))
    return wrong(name, *value, fmt::format("a number from {} to {}", least, most));
  return number;
}

Result<std::optional<int64_t>> Fields::integer(std::string_view name, int64_t least,
                                               int64_t most) const {
  const OrderedJson* const value = find(name);
  if (value == nullptr) return std::nullopt;
  const auto refused = [&] {
    return wrong(name, *value, fmt::format("a whole number from {} to {}", least, most));
  };
  int64_t number = 0;
  if (value->is_number_unsigned()) {
    if (value->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) return refused();
    number = value->get<int64_t>();
  } else if (value->is_number_integer()) {
    number = value->get<int64_t>();
  } else if (value->is_number_float()) {  // 16.0, as some clients write it
    const double real = value->get<double>();
    if (!(std::abs(real) <= 9007199254740992.0) || real != std::floor(real)) return refused();
    number = static_cast<int64_t>(real);
  } else {
    return refused();
  }
  if (number < least || number > most) return refused();
  return number;
}

Result<std::optional<bool>> Fields::boolean(std::string_view name) const {
  const OrderedJson* const value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) return wrong(name, *value, "true or false");
  return value->get<bool>();
}

Result<std::optional<std::string>> Fields::text(std::string_view name) const {
  const OrderedJson* const value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) return wrong(name, *value, "a string");
  return value->get<std::string>();
}

}  // namespace hlwq::server
