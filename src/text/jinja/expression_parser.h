#pragma once
// The half of the parser that reads expressions, by recursive descent in Jinja's order of
// precedence.

#include "text/jinja/syntax.h"
#include "text/jinja/token_stream.h"

namespace hlwq::jinja {

class ExpressionParser {
 public:
  ExpressionParser(TokenStream& stream, Syntax& syntax) : stream_(stream), syntax_(syntax) {}

  // Several with commas between are a tuple. `conditional`: `a if b else c` may follow.
  [[nodiscard]] Result<ExpressionPtr> parse_tuple(bool conditional);
  [[nodiscard]] Result<ExpressionPtr> parse_expression() { return parse_conditional(); }
  // The filters that follow, applied to `filtered`; `at_name`: the first one's '|' is not there.
  [[nodiscard]] Result<ExpressionPtr> parse_filters(ExpressionPtr filtered, bool at_name);
  // A name or a call of one and so on, without filters.
  [[nodiscard]] Result<ExpressionPtr> parse_unfiltered();

  [[nodiscard]] NameId intern(std::string_view name);
  // How often expressions so far mention it.
  [[nodiscard]] size_t mentions(std::string_view name) { return mentions_[intern(name)]; }
  [[nodiscard]] Result<ExpressionPtr> block_text();

 private:
  using Kind = Expression::Kind;

  [[nodiscard]] Result<ExpressionPtr> parse_conditional();
  [[nodiscard]] Result<ExpressionPtr> parse_or();
  [[nodiscard]] Result<ExpressionPtr> parse_and();
  [[nodiscard]] Result<ExpressionPtr> parse_not();
  [[nodiscard]] Result<ExpressionPtr> parse_compare();
  [[nodiscard]] Result<ExpressionPtr> parse_sum();
  [[nodiscard]] Result<ExpressionPtr> parse_concatenation();
  [[nodiscard]] Result<ExpressionPtr> parse_product();
  [[nodiscard]] Result<ExpressionPtr> parse_power();
  [[nodiscard]] Result<ExpressionPtr> parse_unary(bool with_filter);
  [[nodiscard]] Result<ExpressionPtr> parse_primary();
  [[nodiscard]] Result<ExpressionPtr> parse_name();
  [[nodiscard]] Result<ExpressionPtr> parse_number();
  [[nodiscard]] Result<ExpressionPtr> parse_list();
  [[nodiscard]] Result<ExpressionPtr> parse_dict();
  [[nodiscard]] Result<ExpressionPtr> parse_postfix(ExpressionPtr operand);
  [[nodiscard]] Result<ExpressionPtr> parse_subscript(ExpressionPtr operand);
  [[nodiscard]] Result<ExpressionPtr> parse_call(ExpressionPtr called);
  [[nodiscard]] Result<ExpressionPtr> parse_filter(ExpressionPtr filtered);
  [[nodiscard]] Result<ExpressionPtr> parse_test(ExpressionPtr tested);
  [[nodiscard]] Result<ExpressionPtr> parse_filters_and_tests(ExpressionPtr operand);
  [[nodiscard]] Result<CallArguments> parse_arguments();

  // The finished node, its height known and within the limit.
  [[nodiscard]] Result<ExpressionPtr> finish(std::unique_ptr<Expression> node);
  [[nodiscard]] std::unique_ptr<Expression> node(Kind kind) const;
  [[nodiscard]] Result<ExpressionPtr> constant(Value value);
  [[nodiscard]] Result<ExpressionPtr> binary(Kind kind, ExpressionPtr left, ExpressionPtr right,
                                             Operator operation = Operator::kAdd);

  TokenStream& stream_;
  Syntax& syntax_;
  std::vector<size_t> mentions_;  // of each name
};

}  // namespace hlwq::jinja
