// ExpressionParser's operands: literals, names, and what follows them.

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>

#include "io/printable.h"
#include "text/jinja/builtins.h"
#include "text/jinja/expression_parser.h"

namespace hlwq::jinja {

Result<ExpressionPtr> ExpressionParser::parse_primary() {
  switch (stream_.current().kind) {
    case Token::Kind::kName:
      return parse_name();
    case Token::Kind::kString: {
      std::string text;
      while (stream_.current().kind == Token::Kind::kString) {
        text += stream_.current().text;
        stream_.advance();
      }
      return constant(Value::literal(text));
    }
    case Token::Kind::kInteger:
    case Token::Kind::kFloat:
      return parse_number();
    default:
      break;
  }
  if (stream_.skip_operator("(")) {
    HLWQ_TRY_ASSIGN(ExpressionPtr inner, parse_tuple(true));
    HLWQ_TRY(stream_.expect_operator(")"));
    return inner;
  }
  if (stream_.is_operator("[")) return parse_list();
  if (stream_.is_operator("{")) return parse_dict();
  return stream_.unexpected_token();
}

Result<ExpressionPtr> ExpressionParser::parse_name() {
  const std::string& name = stream_.current().text;
  if (name == "true" || name == "True" || name == "false" || name == "False" || name == "none" ||
      name == "None") {
    const Value value = name.front() == 'n' || name.front() == 'N'
                            ? Value()
                            : Value(name.front() == 't' || name.front() == 'T');
    stream_.advance();
    return constant(value);
  }
  auto made = node(Kind::kName);
  made->name = intern(name);
  syntax_.is_read[made->name] = true;
  ++mentions_[made->name];
  stream_.advance();
  return finish(std::move(made));
}

Result<ExpressionPtr> ExpressionParser::parse_number() {
  std::string_view digits = stream_.current().text;
  if (stream_.current().kind == Token::Kind::kFloat) {
    const double value = std::strtod(std::string(digits).c_str(), nullptr);
    stream_.advance();
    return constant(Value(value));
  }
  int base = 10;
  if (digits.size() > 2 && digits[0] == '0') {
    const char letter = digits[1];
    base = letter == 'x' || letter == 'X'   ? 16
           : letter == 'o' || letter == 'O' ? 8
           : letter == 'b' || letter == 'B' ? 2
                                            : 10;
    if (base != 10) digits.remove_prefix(2);
  }
  uint64_t value = 0;
  const auto [stop, code] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (code != std::errc()) return stream_.unsupported("an integer of more than 64 bits");
  stream_.advance();
  return constant(Value(value));
}

Result<ExpressionPtr> ExpressionParser::parse_list() {
  auto made = node(Kind::kList);
  HLWQ_TRY(stream_.expect_operator("["));
  while (!stream_.is_operator("]")) {
    HLWQ_TRY_ASSIGN(ExpressionPtr item, parse_expression());
    made->operands.push_back(std::move(item));
    if (!stream_.is_operator("]")) HLWQ_TRY(stream_.expect_operator(","));
  }
  stream_.advance();
  return finish(std::move(made));
}

Result<ExpressionPtr> ExpressionParser::parse_dict() {
  auto made = node(Kind::kDict);
  HLWQ_TRY(stream_.expect_operator("{"));
  while (!stream_.is_operator("}")) {
    HLWQ_TRY_ASSIGN(ExpressionPtr key, parse_expression());
    HLWQ_TRY(stream_.expect_operator(":"));
    HLWQ_TRY_ASSIGN(ExpressionPtr value, parse_expression());
    made->operands.push_back(std::move(key));
    made->operands.push_back(std::move(value));
    if (!stream_.is_operator("}")) HLWQ_TRY(stream_.expect_operator(","));
  }
  stream_.advance();
  return finish(std::move(made));
}

Result<ExpressionPtr> ExpressionParser::parse_postfix(ExpressionPtr operand) {
  while (true) {
    if (stream_.is_operator(".") || stream_.is_operator("[")) {
      HLWQ_TRY_ASSIGN(operand, parse_subscript(std::move(operand)));
    } else if (stream_.is_operator("(")) {
      HLWQ_TRY_ASSIGN(operand, parse_call(std::move(operand)));
    } else {
      return operand;
    }
  }
}

Result<ExpressionPtr> ExpressionParser::parse_subscript(ExpressionPtr operand) {
  auto made = node(Kind::kItem);
  made->operands.push_back(std::move(operand));
  if (stream_.skip_operator(".")) {
    if (stream_.current().kind == Token::Kind::kInteger) {
      HLWQ_TRY_ASSIGN(ExpressionPtr number, parse_number());
      made->operands.push_back(std::move(number));
      return finish(std::move(made));
    }
    made->kind = Kind::kAttribute;
    HLWQ_TRY_ASSIGN(made->text, stream_.expect_any_name());
    return finish(std::move(made));
  }
  HLWQ_TRY(stream_.expect_operator("["));
  ExpressionPtr bounds[3];
  size_t colons = 0;
  while (!stream_.is_operator("]")) {
    if (stream_.is_operator(":") && colons < 2) {
      ++colons;
      stream_.advance();
    } else if (bounds[colons] == nullptr) {
      HLWQ_TRY_ASSIGN(bounds[colons], parse_expression());
    } else if (stream_.is_operator(",")) {
      return stream_.unsupported("subscripts with commas are not supported");
    } else {
      return stream_.unexpected_token();
    }
  }
  if (colons == 0 && bounds[0] == nullptr) return stream_.unexpected_token();
  stream_.advance();
  if (colons > 0) made->kind = Kind::kSlice;
  for (size_t i = 0; i < (colons > 0 ? 3u : 1u); ++i)
    made->operands.push_back(std::move(bounds[i]));
  return finish(std::move(made));
}

Result<CallArguments> ExpressionParser::parse_arguments() {
  CallArguments arguments;
  HLWQ_TRY(stream_.expect_operator("("));
  while (!stream_.is_operator(")")) {
    const bool is_named = stream_.current().kind == Token::Kind::kName &&
                          stream_.next().kind == Token::Kind::kOperator &&
                          stream_.next().text == "=";
    if (arguments.more_named != nullptr) return stream_.unexpected_token();
    if (stream_.skip_operator("**")) {
      HLWQ_TRY_ASSIGN(arguments.more_named, parse_expression());
    } else if (stream_.is_operator("*")) {
      if (arguments.more_positional != nullptr) return stream_.unexpected_token();
      stream_.advance();
      HLWQ_TRY_ASSIGN(arguments.more_positional, parse_expression());
    } else if (is_named) {
      std::string name = stream_.current().text;
      stream_.advance();
      stream_.advance();
      HLWQ_TRY_ASSIGN(ExpressionPtr value, parse_expression());
      arguments.named.emplace_back(std::move(name), std::move(value));
    } else {
      if (!arguments.named.empty() || arguments.more_positional != nullptr)
        return stream_.error("a positional argument after a named one");
      HLWQ_TRY_ASSIGN(ExpressionPtr value, parse_expression());
      arguments.positional.push_back(std::move(value));
    }
    if (!stream_.is_operator(")")) HLWQ_TRY(stream_.expect_operator(","));
  }
  stream_.advance();
  return arguments;
}

Result<ExpressionPtr> ExpressionParser::parse_call(ExpressionPtr called) {
  auto made = node(Kind::kCall);
  made->operands.push_back(std::move(called));
  HLWQ_TRY_ASSIGN(made->arguments, parse_arguments());
  return finish(std::move(made));
}

Result<ExpressionPtr> ExpressionParser::parse_filters(ExpressionPtr filtered, bool at_name) {
  if (at_name) {
    HLWQ_TRY_ASSIGN(filtered, parse_filter(std::move(filtered)));
  }
  while (stream_.skip_operator("|")) {
    HLWQ_TRY_ASSIGN(filtered, parse_filter(std::move(filtered)));
  }
  return filtered;
}

// The '|' has been passed.
Result<ExpressionPtr> ExpressionParser::parse_filter(ExpressionPtr filtered) {
  auto made = node(Kind::kFilter);
  made->text = stream_.current().text;
  made->filter = find_filter(made->text);
  if (stream_.current().kind == Token::Kind::kName && made->filter == nullptr) {
    return stream_.unsupported(
        fmt::format("the filter '{}' is not supported", printable(made->text)));
  }
  HLWQ_TRY(stream_.expect(Token::Kind::kName));
  made->operands.push_back(std::move(filtered));
  if (stream_.is_operator("(")) {
    HLWQ_TRY_ASSIGN(made->arguments, parse_arguments());
  }
  return finish(std::move(made));
}

Result<ExpressionPtr> ExpressionParser::parse_test(ExpressionPtr tested) {
  auto made = node(Kind::kTest);
  stream_.advance();  // is
  const bool is_negated = stream_.skip_name("not");
  made->text = stream_.current().text;
  made->test = find_test(made->text);
  if (stream_.current().kind == Token::Kind::kName && made->test == nullptr) {
    return stream_.unsupported(
        fmt::format("the test '{}' is not supported", printable(made->text)));
  }
  HLWQ_TRY(stream_.expect(Token::Kind::kName));
  made->operands.push_back(std::move(tested));
  const Token& token = stream_.current();
  const bool is_word = token.kind == Token::Kind::kName && token.text != "else" &&
                       token.text != "or" && token.text != "and" && token.text != "if";
  if (stream_.is_operator("(")) {
    HLWQ_TRY_ASSIGN(made->arguments, parse_arguments());
  } else if (is_word || token.kind == Token::Kind::kString || token.kind == Token::Kind::kInteger ||
             token.kind == Token::Kind::kFloat || stream_.is_operator("[") ||
             stream_.is_operator("{")) {
    if (stream_.is_name("is")) return stream_.error("tests with 'is' cannot be chained");
    HLWQ_TRY_ASSIGN(ExpressionPtr argument, parse_primary());
    HLWQ_TRY_ASSIGN(argument, parse_postfix(std::move(argument)));
    made->arguments.positional.push_back(std::move(argument));
  }
  if (!is_negated) return finish(std::move(made));
  auto negation = node(Kind::kNot);
  HLWQ_TRY_ASSIGN(ExpressionPtr test, finish(std::move(made)));
  negation->operands.push_back(std::move(test));
  return finish(std::move(negation));
}

Result<ExpressionPtr> ExpressionParser::parse_filters_and_tests(ExpressionPtr operand) {
  while (true) {
    if (stream_.skip_operator("|")) {
      HLWQ_TRY_ASSIGN(operand, parse_filter(std::move(operand)));
    } else if (stream_.is_name("is")) {
      HLWQ_TRY_ASSIGN(operand, parse_test(std::move(operand)));
    } else if (stream_.is_operator("(")) {
      HLWQ_TRY_ASSIGN(operand, parse_call(std::move(operand)));
    } else {
      return operand;
    }
  }
}

}  // namespace hlwq::jinja
