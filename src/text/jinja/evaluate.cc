// Interpreter's expressions.

#include <fmt/format.h>

#include <optional>

#include "text/jinja/attributes.h"
#include "text/jinja/builtins.h"
#include "text/jinja/interpreter_state.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"

namespace hlwq::jinja {

Result<Value> Interpreter::evaluate(const Expression& expression) {
  Depth depth(*this);
  HLWQ_TRY(depth.check(expression.line));
  switch (expression.kind) {
    case Expression::Kind::kConstant:
      return expression.constant;
    case Expression::Kind::kName:
      return evaluate_name(expression.name);
    case Expression::Kind::kBlockText:
      return block_texts_.empty() ? expression.constant : block_texts_.back();
    case Expression::Kind::kTuple:
    case Expression::Kind::kList: {
      HLWQ_TRY_ASSIGN(std::vector<Value> items, evaluate_operands(expression));
      return runtime_.sequence(std::move(items), expression.kind == Expression::Kind::kTuple
                                                     ? Sequence::Flavor::kTuple
                                                     : Sequence::Flavor::kList);
    }
    case Expression::Kind::kDict:
      return evaluate_dict(expression);
    case Expression::Kind::kNot:
    case Expression::Kind::kAnd:
    case Expression::Kind::kOr:
      return evaluate_logic(expression);
    case Expression::Kind::kNegate:
    case Expression::Kind::kPlus:
      return evaluate_sign(expression);
    case Expression::Kind::kArithmetic:
      return evaluate_arithmetic(expression);
    case Expression::Kind::kCompare:
      return evaluate_compare(expression);
    case Expression::Kind::kConcatenate:
      return evaluate_concatenation(expression);
    case Expression::Kind::kConditional:
      return evaluate_conditional(expression);
    case Expression::Kind::kAttribute:
    case Expression::Kind::kItem:
      return evaluate_subscript(expression);
    case Expression::Kind::kSlice:
      return evaluate_slice(expression);
    case Expression::Kind::kCall:
      return evaluate_call(expression);
    case Expression::Kind::kFilter:
      return evaluate_filter(expression);
    case Expression::Kind::kTest:
      return evaluate_test(expression);
  }
  return Value();
}

Result<Value> Interpreter::evaluate_name(NameId name) {
  for (const Scope* scope = scope_.get(); scope != nullptr; scope = scope->parent.get()) {
    const auto found = scope->variables.find(name);
    if (found != scope->variables.end()) return found->second;
  }
  const std::string& spelling = syntax_.spelling[name];
  HLWQ_TRY(runtime_.spend(kSmallObjectSteps));
  if (const Native global = syntax_.globals[name])
    return Value(ObjectPtr(std::make_shared<Function>(spelling, global, Value())));
  if (is_unsupported_global(spelling))
    return runtime_.unsupported(fmt::format("the function '{}' is not supported", spelling));
  return Value::undefined(fmt::format("'{}' is undefined", spelling));
}

Result<std::vector<Value>> Interpreter::evaluate_operands(const Expression& expression) {
  std::vector<Value> values;
  values.reserve(expression.operands.size());
  for (const ExpressionPtr& operand : expression.operands) {
    HLWQ_TRY_ASSIGN(Value value, evaluate(*operand));
    values.push_back(std::move(value));
  }
  runtime_.at_line(expression.line);
  return values;
}

Result<Value> Interpreter::evaluate_dict(const Expression& expression) {
  HLWQ_TRY_ASSIGN(std::vector<Value> sides, evaluate_operands(expression));
  std::vector<Dict::Entry> entries;
  for (size_t i = 0; i < sides.size(); i += 2)
    entries.emplace_back(std::move(sides[i]), std::move(sides[i + 1]));
  return runtime_.dict(std::move(entries));
}

// `and` and `or` give one of their operands.
Result<Value> Interpreter::evaluate_logic(const Expression& expression) {
  HLWQ_TRY_ASSIGN(Value first, evaluate(*expression.operands[0]));
  if (expression.kind == Expression::Kind::kNot) return Value(!truth(first));
  const bool decided = truth(first) == (expression.kind == Expression::Kind::kOr);
  if (decided) return first;
  return evaluate(*expression.operands[1]);
}

Result<Value> Interpreter::evaluate_sign(const Expression& expression) {
  HLWQ_TRY_ASSIGN(const Value value, evaluate(*expression.operands[0]));
  HLWQ_TRY_ASSIGN(const Value negative, negate(runtime_, value));
  return expression.kind == Expression::Kind::kNegate ? Result<Value>(negative)
                                                      : negate(runtime_, negative);
}

Result<Value> Interpreter::evaluate_arithmetic(const Expression& expression) {
  HLWQ_TRY_ASSIGN(const Value left, evaluate(*expression.operands[0]));
  HLWQ_TRY_ASSIGN(const Value right, evaluate(*expression.operands[1]));
  runtime_.at_line(expression.line);
  return calculate(runtime_, expression.operators[0], left, right);
}

// a < b < c means a < b and b < c.
Result<Value> Interpreter::evaluate_compare(const Expression& expression) {
  HLWQ_TRY_ASSIGN(Value left, evaluate(*expression.operands[0]));
  for (size_t i = 0; i < expression.operators.size(); ++i) {
    HLWQ_TRY_ASSIGN(Value right, evaluate(*expression.operands[i + 1]));
    runtime_.at_line(expression.line);
    HLWQ_TRY_ASSIGN(const bool holds, compare(runtime_, expression.operators[i], left, right));
    if (!holds) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Result<Value> Interpreter::evaluate_concatenation(const Expression& expression) {
  MarkedText text;
  for (const ExpressionPtr& operand : expression.operands) {
    HLWQ_TRY_ASSIGN(const Value value, evaluate(*operand));
    HLWQ_TRY(append_str(runtime_, value, text));
  }
  return runtime_.text(std::move(text));
}

Result<Value> Interpreter::evaluate_conditional(const Expression& expression) {
  HLWQ_TRY_ASSIGN(const Value condition, evaluate(*expression.operands[1]));
  if (truth(condition)) return evaluate(*expression.operands[0]);
  if (expression.operands[2] != nullptr) return evaluate(*expression.operands[2]);
  return Value::undefined(
      "the inline if-expression evaluated to false and no else section was defined");
}

Result<Value> Interpreter::evaluate_subscript(const Expression& expression) {
  HLWQ_TRY_ASSIGN(const Value object, evaluate(*expression.operands[0]));
  runtime_.at_line(expression.line);
  if (expression.kind == Expression::Kind::kAttribute)
    return get_attribute(runtime_, object, expression.text);
  HLWQ_TRY_ASSIGN(const Value key, evaluate(*expression.operands[1]));
  return get_item(runtime_, object, key);
}

Result<Value> Interpreter::evaluate_slice(const Expression& expression) {
  HLWQ_TRY_ASSIGN(const Value object, evaluate(*expression.operands[0]));
  std::optional<Value> bounds[3];
  for (size_t i = 0; i < 3; ++i) {
    if (expression.operands[i + 1] == nullptr) continue;
    HLWQ_TRY_ASSIGN(bounds[i], evaluate(*expression.operands[i + 1]));
  }
  const auto given = [&](size_t i) { return bounds[i] ? &*bounds[i] : nullptr; };
  runtime_.at_line(expression.line);
  return get_slice(runtime_, object, given(0), given(1), given(2));
}

Result<Value> Interpreter::evaluate_call(const Expression& expression) {
  HLWQ_TRY_ASSIGN(const Value called, evaluate(*expression.operands[0]));
  HLWQ_TRY_ASSIGN(const Arguments arguments, evaluate_arguments(expression.arguments));
  runtime_.at_line(expression.line);
  return call(called, arguments);
}

Result<Value> Interpreter::evaluate_filter(const Expression& expression) {
  HLWQ_TRY_ASSIGN(const Value filtered, evaluate(*expression.operands[0]));
  HLWQ_TRY_ASSIGN(const Arguments arguments, evaluate_arguments(expression.arguments));
  runtime_.at_line(expression.line);
  return expression.filter(runtime_, filtered, arguments);
}

Result<Value> Interpreter::evaluate_test(const Expression& expression) {
  HLWQ_TRY_ASSIGN(const Value tested, evaluate(*expression.operands[0]));
  HLWQ_TRY_ASSIGN(const Arguments arguments, evaluate_arguments(expression.arguments));
  runtime_.at_line(expression.line);
  HLWQ_TRY_ASSIGN(const bool holds, expression.test(runtime_, tested, arguments));
  return Value(holds);
}

}  // namespace hlwq::jinja
