#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "text/jinja/builtin_tables.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_operations.h"

namespace hlwq::jinja {
namespace {

// Beyond this, digits are refused: as numbers they are too large anyway.
constexpr size_t kMostDigits = 400;

// Text of a number without the white space around it and the underscores between digits; none if
// it is too long or an underscore stands elsewhere.
std::optional<std::string> number_text(const MarkedText& text) {
  const std::string stripped = strip(text, std::nullopt, Side::kBoth).bytes();
  if (stripped.empty() || stripped.size() > kMostDigits) return std::nullopt;
  std::string plain;
  for (size_t i = 0; i < stripped.size(); ++i) {
    const auto is_alphanumeric = [&](size_t at) {
      return at < stripped.size() && std::isalnum(static_cast<unsigned char>(stripped[at])) != 0;
    };
    if (stripped[i] != '_') {
      plain += stripped[i];
    } else if (i == 0 || !is_alphanumeric(i - 1) || !is_alphanumeric(i + 1)) {
      return std::nullopt;
    }
  }
  if (plain.starts_with('+')) plain.erase(0, 1);
  if (plain.starts_with("+") || plain.starts_with("-+") || plain.empty()) return std::nullopt;
  return plain;
}

std::optional<double> parse_real(const MarkedText& text) {
  const std::optional<std::string> plain = number_text(text);
  if (!plain) return std::nullopt;
  double value = 0;
  const char* end = plain->data() + plain->size();
  const auto [stop, code] = std::from_chars(plain->data(), end, value);
  if (stop != end || plain->find('(') != std::string::npos) return std::nullopt;
  if (code == std::errc::result_out_of_range) {
    // Too small or too large: strtod tells which.
    return std::strtod(plain->c_str(), nullptr);
  }
  if (code != std::errc()) return std::nullopt;
  return value;
}

// Base 0 is not taken. A prefix of the base's own may be there.
std::optional<__int128> parse_integer(const MarkedText& text, int base) {
  const std::optional<std::string> plain = number_text(text);
  if (!plain) return std::nullopt;
  std::string_view digits = *plain;
  const bool is_negative = digits.starts_with('-');
  if (is_negative) digits.remove_prefix(1);
  const char letter = base == 16 ? 'x' : base == 8 ? 'o' : base == 2 ? 'b' : '\0';
  if (letter != '\0' && digits.size() > 2 && digits[0] == '0' &&
      std::tolower(static_cast<unsigned char>(digits[1])) == letter) {
    digits.remove_prefix(2);
  }
  __int128 value = 0;
  if (digits.empty()) return std::nullopt;
  for (const char c : digits) {
    const int lower = std::tolower(static_cast<unsigned char>(c));
    const int digit = lower >= '0' && lower <= '9'   ? lower - '0'
                      : lower >= 'a' && lower <= 'z' ? lower - 'a' + 10
                                                     : base;
    if (digit >= base) return std::nullopt;
    // What overflows is out of range for the caller in any case.
    if (value < (static_cast<__int128>(1) << 100)) value = value * base + digit;
  }
  return is_negative ? -value : value;
}

Result<Value> truncated(Runtime& runtime, double value, const Value& otherwise) {
  if (!std::isfinite(value)) {
    if (std::isnan(value)) return otherwise;
    return runtime.error("cannot convert float infinity to integer");
  }
  if (std::fabs(value) > 1e30) return runtime.error("an integer of more than 64 bits");
  return runtime.integer(static_cast<__int128>(value));
}

Result<Value> filter_int(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound, Bound::bind(runtime, "int", arguments, {"default", "base"}));
  if (self.is_undefined()) return runtime.error(self.why());
  HLWQ_TRY_ASSIGN(const int64_t base, bound.integer(runtime, 1, 10));
  if (base < 2 || base > 36) return runtime.error("int: base must be from 2 to 36");
  const Value otherwise = bound[0] == nullptr ? Value(int64_t{0}) : *bound[0];
  Value result = otherwise;
  if (self.is_text()) {
    HLWQ_TRY(runtime.touch(self.text().size()));
    if (const auto integer = parse_integer(self.text(), static_cast<int>(base))) {
      HLWQ_TRY_ASSIGN(result, runtime.integer(*integer));
    } else if (const auto real = parse_real(self.text()); real && std::isfinite(*real)) {
      HLWQ_TRY_ASSIGN(result, truncated(runtime, *real, otherwise));
    }
  } else if (self.is_float()) {
    HLWQ_TRY_ASSIGN(result, truncated(runtime, self.real(), otherwise));
  } else if (self.is_number()) {
    HLWQ_TRY_ASSIGN(result, runtime.integer(self.integer()));
  }
  return result.is_number() ? result.marked(result.has_data() || self.has_data()) : result;
}

Result<Value> filter_float(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound, Bound::bind(runtime, "float", arguments, {"default"}));
  if (self.is_undefined()) return runtime.error(self.why());
  if (self.is_number()) return Value(self.real()).marked(self.has_data());
  if (self.is_text()) {
    HLWQ_TRY(runtime.touch(self.text().size()));
    if (const std::optional<double> value = parse_real(self.text()))
      return Value(*value).marked(self.has_data());
  }
  return bound[0] == nullptr ? Value(0.0) : *bound[0];
}

Result<Value> filter_abs(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY(Bound::bind(runtime, "abs", arguments, {}));
  if (self.is_undefined()) return runtime.error(self.why());
  if (!self.is_number())
    return runtime.error(fmt::format("bad operand type for abs(): '{}'", self.type_name()));
  if (self.is_float()) return Value(std::fabs(self.real())).marked(self.has_data());
  const __int128 value = self.integer();
  HLWQ_TRY_ASSIGN(const Value positive, runtime.integer(value < 0 ? -value : value));
  return positive.marked(self.has_data());
}

// Python rounds a decimal's true value, half to even.
double round_decimal(double value, int64_t digits) {
  if (!std::isfinite(value) || digits > 323) return value;
  if (digits < -308) return std::copysign(0.0, value);
  if (digits >= 0) return std::strtod(fmt::format("{:.{}f}", value, digits).c_str(), nullptr);
  const double scale = std::pow(10.0, static_cast<double>(-digits));
  return std::nearbyint(value / scale) * scale;
}

Result<Value> filter_round(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound,
                  Bound::bind(runtime, "round", arguments, {"precision", "method"}));
  if (self.is_undefined()) return runtime.error(self.why());
  if (!self.is_number())
    return runtime.error(fmt::format("round: expected a number, not {}", self.type_name()));
  HLWQ_TRY_ASSIGN(const int64_t digits, bound.integer(runtime, 0, 0));
  std::string method = "common";
  if (bound[1] != nullptr) {
    HLWQ_TRY_ASSIGN(const MarkedText* text, bound.text(runtime, 1));
    method = text->bytes();
  }
  if (method == "common") {
    if (!self.is_float() && digits >= 0) {
      HLWQ_TRY_ASSIGN(const Value integer, runtime.integer(self.integer()));
      return integer.marked(self.has_data());
    }
    const double rounded = round_decimal(self.real(), digits);
    if (self.is_float()) return Value(rounded).marked(self.has_data());
    return truncated(runtime, rounded, Value());
  }
  if (method != "ceil" && method != "floor")
    return runtime.error("round: method must be common, ceil or floor");
  const double scale = std::pow(10.0, static_cast<double>(digits));
  const double scaled = self.real() * scale;
  if (!std::isfinite(scaled) || scale == 0) return runtime.error("round: out of a float's range");
  return Value((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale)
      .marked(self.has_data());
}

constexpr NamedNative kFilters[] = {
    {"int", filter_int}, {"float", filter_float}, {"abs", filter_abs}, {"round", filter_round}};

}  // namespace

std::span<const NamedNative> number_filters() { return kFilters; }

}  // namespace hlwq::jinja
