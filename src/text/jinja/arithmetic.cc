#include <fmt/format.h>

#include <cmath>

#include "text/jinja/operators.h"

namespace hlwq::jinja {
namespace {

constexpr std::string_view kSigns[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};

bool is_integral(const Value& value) { return value.is_bool() || value.is_integer(); }

tl::unexpected<Error> bad_operands(Runtime& runtime, Operator operation, const Value& left,
                                   const Value& right) {
  if (operation == Operator::kAdd && left.is_text()) {
    return runtime.error(
        fmt::format("can only concatenate str (not \"{}\") to str", right.type_name()));
  }
  return runtime.error(fmt::format("unsupported operand type(s) for {}: '{}' and '{}'",
                                   kSigns[static_cast<size_t>(operation)], left.type_name(),
                                   right.type_name()));
}

// Towards minus infinity, as Python divides.
__int128 floor_divide(__int128 left, __int128 right) {
  const __int128 quotient = left / right;
  return left % right != 0 && (left < 0) != (right < 0) ? quotient - 1 : quotient;
}

Result<Value> integer_power(Runtime& runtime, __int128 base, __int128 exponent) {
  __int128 result = 1;
  while (exponent > 0) {
    if (exponent % 2 == 1 && __builtin_mul_overflow(result, base, &result)) {
      return runtime.error("an integer of more than 64 bits");
    }
    exponent /= 2;
    // Where the square overflows, so does every later product.
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) {
      return runtime.error("an integer of more than 64 bits");
    }
  }
  return runtime.integer(result);
}

Result<Value> calculate_integers(Runtime& runtime, Operator operation, __int128 left,
                                 __int128 right) {
  const bool divides = operation == Operator::kDivide || operation == Operator::kFloorDivide ||
                       operation == Operator::kModulo;
  if (divides && right == 0) return runtime.error("division by zero");
  switch (operation) {
    case Operator::kAdd:
      return runtime.integer(left + right);
    case Operator::kSubtract:
      return runtime.integer(left - right);
    case Operator::kMultiply: {
      __int128 product = 0;
      if (__builtin_mul_overflow(left, right, &product))
        return runtime.error("an integer of more than 64 bits");
      return runtime.integer(product);
    }
    case Operator::kDivide:
      return Value(
          static_cast<double>(static_cast<long double>(left) / static_cast<long double>(right)));
    case Operator::kFloorDivide:
      return runtime.integer(floor_divide(left, right));
    case Operator::kModulo:
      return runtime.integer(left - floor_divide(left, right) * right);
    default:
      if (right >= 0) return integer_power(runtime, left, right);
      if (left == 0) return runtime.error("0.0 cannot be raised to a negative power");
      return Value(std::pow(static_cast<double>(left), static_cast<double>(right)));
  }
}

double floor_modulo(double left, double right) {
  const double rest = std::fmod(left, right);
  if (rest == 0) return std::copysign(0.0, right);
  return (rest < 0) != (right < 0) ? rest + right : rest;
}

// The whole number nearest to what rounding leaves of the exact quotient.
double floor_divide(double left, double right) {
  const double quotient = (left - floor_modulo(left, right)) / right;
  if (quotient == 0) return std::copysign(0.0, left / right);
  const double floor = std::floor(quotient);
  return quotient - floor > 0.5 ? floor + 1 : floor;
}

Result<Value> calculate_reals(Runtime& runtime, Operator operation, double left, double right) {
  switch (operation) {
    case Operator::kAdd:
      return Value(left + right);
    case Operator::kSubtract:
      return Value(left - right);
    case Operator::kMultiply:
      return Value(left * right);
    case Operator::kDivide:
      if (right == 0) return runtime.error("float division by zero");
      return Value(left / right);
    case Operator::kFloorDivide:
      if (right == 0) return runtime.error("float floor division by zero");
      return Value(floor_divide(left, right));
    case Operator::kModulo:
      if (right == 0) return runtime.error("float modulo by zero");
      return Value(floor_modulo(left, right));
    default: {
      const bool is_complex = left < 0 && std::isfinite(left) && right != std::floor(right);
      if (is_complex) return runtime.unsupported("a complex number");
      if (left == 0 && right < 0) return runtime.error("0.0 cannot be raised to a negative power");
      const double power = std::pow(left, right);
      if (std::isinf(power) && std::isfinite(left) && std::isfinite(right))
        return runtime.error("a power too large for a float");
      return Value(power);
    }
  }
}

Result<Value> repeat(Runtime& runtime, const Value& repeated, __int128 times) {
  if (times < 0) times = 0;
  if (repeated.is_text()) {
    const MarkedText& text = repeated.text();
    if (text.size() == 0) return repeated;
    if (times > static_cast<__int128>(runtime.limits().text_bytes)) {
      times = static_cast<__int128>(runtime.limits().text_bytes) + 1;  // too long in any case
    }
    const auto bytes = static_cast<unsigned __int128>(times) * text.size();
    HLWQ_TRY(runtime.expect_text(bytes));
    HLWQ_TRY(runtime.touch(static_cast<size_t>(bytes)));
    MarkedText result;
    for (__int128 i = 0; i < times; ++i) result.append(text);
    return runtime.text(std::move(result));
  }
  const std::vector<Value>& items = repeated.sequence()->items;
  if (items.empty()) return repeated;
  if (times > static_cast<__int128>(runtime.limits().steps / items.size())) {
    return runtime.error(fmt::format("a list of more than {} items", runtime.limits().steps));
  }
  HLWQ_TRY(runtime.spend(static_cast<uint64_t>(times) * items.size() * 4));
  std::vector<Value> result;
  result.reserve(static_cast<size_t>(times) * items.size());
  for (__int128 i = 0; i < times; ++i) result.insert(result.end(), items.begin(), items.end());
  return runtime.sequence(std::move(result), repeated.sequence()->flavor);
}

bool is_repeatable(const Value& value) {
  if (value.is_text()) return true;
  const Sequence* items = value.sequence();
  return items != nullptr &&
         (items->flavor == Sequence::Flavor::kList || items->flavor == Sequence::Flavor::kTuple);
}

Result<Value> add_sequences(Runtime& runtime, const Sequence& left, const Sequence& right) {
  HLWQ_TRY(runtime.spend(1 + (left.items.size() + right.items.size()) / 4));
  std::vector<Value> items;
  items.reserve(left.items.size() + right.items.size());
  items.insert(items.end(), left.items.begin(), left.items.end());
  items.insert(items.end(), right.items.begin(), right.items.end());
  return runtime.sequence(std::move(items), left.flavor);
}

}  // namespace

Result<Value> calculate(Runtime& runtime, Operator operation, const Value& left,
                        const Value& right) {
  if (left.is_undefined()) return runtime.error(left.why());
  if (operation == Operator::kModulo && left.is_text())
    return runtime.unsupported("formatting with '%' is not supported");
  if (right.is_undefined()) return runtime.error(right.why());
  if (left.is_number() && right.is_number()) {
    HLWQ_TRY_ASSIGN(const Value result,
                    is_integral(left) && is_integral(right)
                        ? calculate_integers(runtime, operation, left.integer(), right.integer())
                        : calculate_reals(runtime, operation, left.real(), right.real()));
    return result.marked(left.has_data() || right.has_data());
  }
  if (operation == Operator::kAdd) {
    if (left.is_text() && right.is_text()) {
      HLWQ_TRY(runtime.expect_text(left.text().size() + right.text().size()));
      MarkedText joined = left.text();
      joined.append(right.text());
      return runtime.text(std::move(joined));
    }
    const bool same = is_repeatable(left) && is_repeatable(right) && !left.is_text() &&
                      !right.is_text() && left.sequence()->flavor == right.sequence()->flavor;
    if (same) return add_sequences(runtime, *left.sequence(), *right.sequence());
  }
  if (operation == Operator::kMultiply) {
    if (is_repeatable(left) && is_integral(right)) return repeat(runtime, left, right.integer());
    if (is_repeatable(right) && is_integral(left)) return repeat(runtime, right, left.integer());
  }
  return bad_operands(runtime, operation, left, right);
}

Result<Value> negate(Runtime& runtime, const Value& value) {
  if (value.is_undefined()) return runtime.error(value.why());
  if (value.is_float()) return Value(-value.real()).marked(value.has_data());
  if (!is_integral(value)) {
    return runtime.error(fmt::format("bad operand type for unary -: '{}'", value.type_name()));
  }
  HLWQ_TRY_ASSIGN(const Value negative, runtime.integer(-value.integer()));
  return negative.marked(value.has_data());
}

}  // namespace hlwq::jinja
