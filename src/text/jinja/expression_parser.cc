#include "text/jinja/expression_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "text/jinja/builtins.h"

namespace hlwq::jinja {
namespace {

struct Spelled {
  std::string_view text;
  Operator operation;
};
constexpr Spelled kComparisons[] = {{"==", Operator::kEqual},  {"!=", Operator::kNotEqual},
                                    {"<", Operator::kLess},    {"<=", Operator::kLessEqual},
                                    {">", Operator::kGreater}, {">=", Operator::kGreaterEqual}};
constexpr Spelled kProducts[] = {{"*", Operator::kMultiply},
                                 {"/", Operator::kDivide},
                                 {"//", Operator::kFloorDivide},
                                 {"%", Operator::kModulo}};
constexpr Spelled kSums[] = {{"+", Operator::kAdd}, {"-", Operator::kSubtract}};

template <size_t N>
std::optional<Operator> operator_among(const Spelled (&operators)[N], const TokenStream& stream) {
  for (const Spelled& spelled : operators)
    if (stream.is_operator(spelled.text)) return spelled.operation;
  return std::nullopt;
}

int height_of(const ExpressionPtr& expression) {
  return expression == nullptr ? 0 : expression->height;
}

}  // namespace

NameId ExpressionParser::intern(std::string_view name) {
  const auto known = syntax_.names.find(name);
  if (known != syntax_.names.end()) return known->second;
  const auto id = static_cast<NameId>(syntax_.spelling.size());
  syntax_.names.emplace(name, id);
  syntax_.spelling.emplace_back(name);
  syntax_.globals.push_back(find_global(name));
  syntax_.is_read.push_back(false);
  mentions_.push_back(0);
  return id;
}

std::unique_ptr<Expression> ExpressionParser::node(Kind kind) const {
  auto made = std::make_unique<Expression>();
  made->kind = kind;
  made->line = stream_.current().line;
  return made;
}

Result<ExpressionPtr> ExpressionParser::finish(std::unique_ptr<Expression> node) {
  HLWQ_TRY(stream_.count_node());
  int height = 0;
  for (const ExpressionPtr& operand : node->operands) height = std::max(height, height_of(operand));
  for (const ExpressionPtr& argument : node->arguments.positional)
    height = std::max(height, height_of(argument));
  for (const auto& [name, argument] : node->arguments.named)
    height = std::max(height, height_of(argument));
  height = std::max(
      {height, height_of(node->arguments.more_positional), height_of(node->arguments.more_named)});
  node->height = height + 1;
  if (node->height > stream_.limits().height) {
    return stream_.too_large(
        fmt::format("an expression of more than {} levels", stream_.limits().height));
  }
  return ExpressionPtr(std::move(node));
}

Result<ExpressionPtr> ExpressionParser::constant(Value value) {
  auto made = node(Kind::kConstant);
  made->constant = std::move(value);
  return finish(std::move(made));
}

Result<ExpressionPtr> ExpressionParser::block_text() { return finish(node(Kind::kBlockText)); }

Result<ExpressionPtr> ExpressionParser::binary(Kind kind, ExpressionPtr left, ExpressionPtr right,
                                               Operator operation) {
  auto made = node(kind);
  made->line = left->line;
  made->operators.push_back(operation);
  made->operands.push_back(std::move(left));
  made->operands.push_back(std::move(right));
  return finish(std::move(made));
}

Result<ExpressionPtr> ExpressionParser::parse_tuple(bool conditional) {
  const TokenStream::Level level(stream_);
  HLWQ_TRY(level.check());
  auto tuple = node(Kind::kTuple);
  bool is_tuple = false;
  while (true) {
    const Token::Kind kind = stream_.current().kind;
    const bool at_end = kind == Token::Kind::kVariableEnd || kind == Token::Kind::kBlockEnd ||
                        stream_.is_operator(")") || stream_.is_name("recursive");
    if (at_end && (is_tuple || stream_.is_operator(")"))) break;
    HLWQ_TRY_ASSIGN(ExpressionPtr item, conditional ? parse_conditional() : parse_or());
    if (!is_tuple && !stream_.is_operator(",")) return item;
    tuple->operands.push_back(std::move(item));
    if (!stream_.skip_operator(",")) break;
    is_tuple = true;
  }
  return finish(std::move(tuple));
}

Result<ExpressionPtr> ExpressionParser::parse_conditional() {
  const TokenStream::Level level(stream_);
  HLWQ_TRY(level.check());
  HLWQ_TRY_ASSIGN(ExpressionPtr value, parse_or());
  while (stream_.is_name("if")) {
    auto made = node(Kind::kConditional);
    stream_.advance();
    HLWQ_TRY_ASSIGN(ExpressionPtr condition, parse_or());
    ExpressionPtr otherwise;
    if (stream_.skip_name("else")) {
      HLWQ_TRY_ASSIGN(otherwise, parse_conditional());
    }
    made->operands.push_back(std::move(value));
    made->operands.push_back(std::move(condition));
    made->operands.push_back(std::move(otherwise));
    HLWQ_TRY_ASSIGN(value, finish(std::move(made)));
  }
  return value;
}

Result<ExpressionPtr> ExpressionParser::parse_or() {
  HLWQ_TRY_ASSIGN(ExpressionPtr left, parse_and());
  while (stream_.skip_name("or")) {
    HLWQ_TRY_ASSIGN(ExpressionPtr right, parse_and());
    HLWQ_TRY_ASSIGN(left, binary(Kind::kOr, std::move(left), std::move(right)));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::parse_and() {
  HLWQ_TRY_ASSIGN(ExpressionPtr left, parse_not());
  while (stream_.skip_name("and")) {
    HLWQ_TRY_ASSIGN(ExpressionPtr right, parse_not());
    HLWQ_TRY_ASSIGN(left, binary(Kind::kAnd, std::move(left), std::move(right)));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::parse_not() {
  if (!stream_.is_name("not")) return parse_compare();
  const TokenStream::Level level(stream_);
  HLWQ_TRY(level.check());
  auto made = node(Kind::kNot);
  stream_.advance();
  HLWQ_TRY_ASSIGN(ExpressionPtr operand, parse_not());
  made->operands.push_back(std::move(operand));
  return finish(std::move(made));
}

Result<ExpressionPtr> ExpressionParser::parse_compare() {
  HLWQ_TRY_ASSIGN(ExpressionPtr first, parse_sum());
  auto made = node(Kind::kCompare);
  while (true) {
    std::optional<Operator> operation = operator_among(kComparisons, stream_);
    if (!operation && stream_.is_name("in")) operation = Operator::kIn;
    const bool is_not_in = stream_.is_name("not") && stream_.next().kind == Token::Kind::kName &&
                           stream_.next().text == "in";
    if (is_not_in) {
      stream_.advance();
      operation = Operator::kNotIn;
    }
    if (!operation) break;
    stream_.advance();
    HLWQ_TRY_ASSIGN(ExpressionPtr operand, parse_sum());
    made->operators.push_back(*operation);
    made->operands.push_back(std::move(operand));
  }
  if (made->operators.empty()) return first;
  made->operands.insert(made->operands.begin(), std::move(first));
  return finish(std::move(made));
}

Result<ExpressionPtr> ExpressionParser::parse_sum() {
  HLWQ_TRY_ASSIGN(ExpressionPtr left, parse_concatenation());
  while (const std::optional<Operator> operation = operator_among(kSums, stream_)) {
    stream_.advance();
    HLWQ_TRY_ASSIGN(ExpressionPtr right, parse_concatenation());
    HLWQ_TRY_ASSIGN(left, binary(Kind::kArithmetic, std::move(left), std::move(right), *operation));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::parse_concatenation() {
  HLWQ_TRY_ASSIGN(ExpressionPtr first, parse_product());
  if (!stream_.is_operator("~")) return first;
  auto made = node(Kind::kConcatenate);
  made->operands.push_back(std::move(first));
  while (stream_.skip_operator("~")) {
    HLWQ_TRY_ASSIGN(ExpressionPtr operand, parse_product());
    made->operands.push_back(std::move(operand));
  }
  return finish(std::move(made));
}

Result<ExpressionPtr> ExpressionParser::parse_product() {
  HLWQ_TRY_ASSIGN(ExpressionPtr left, parse_power());
  while (const std::optional<Operator> operation = operator_among(kProducts, stream_)) {
    stream_.advance();
    HLWQ_TRY_ASSIGN(ExpressionPtr right, parse_power());
    HLWQ_TRY_ASSIGN(left, binary(Kind::kArithmetic, std::move(left), std::move(right), *operation));
  }
  return left;
}

// To the left, unlike Python's.
Result<ExpressionPtr> ExpressionParser::parse_power() {
  HLWQ_TRY_ASSIGN(ExpressionPtr left, parse_unary(true));
  while (stream_.skip_operator("**")) {
    HLWQ_TRY_ASSIGN(ExpressionPtr right, parse_unary(true));
    HLWQ_TRY_ASSIGN(left,
                    binary(Kind::kArithmetic, std::move(left), std::move(right), Operator::kPower));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::parse_unary(bool with_filter) {
  const TokenStream::Level level(stream_);
  HLWQ_TRY(level.check());
  ExpressionPtr operand;
  if (stream_.is_operator("-") || stream_.is_operator("+")) {
    auto made = node(stream_.is_operator("-") ? Kind::kNegate : Kind::kPlus);
    stream_.advance();
    HLWQ_TRY_ASSIGN(ExpressionPtr inner, parse_unary(false));
    made->operands.push_back(std::move(inner));
    HLWQ_TRY_ASSIGN(operand, finish(std::move(made)));
  } else {
    HLWQ_TRY_ASSIGN(operand, parse_primary());
  }
  HLWQ_TRY_ASSIGN(operand, parse_postfix(std::move(operand)));
  return with_filter ? parse_filters_and_tests(std::move(operand)) : std::move(operand);
}

Result<ExpressionPtr> ExpressionParser::parse_unfiltered() { return parse_unary(false); }

}  // namespace hlwq::jinja
