#include "text/jinja/parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>

#include "base/utf8.h"
#include "io/printable.h"
#include "text/jinja/expression_parser.h"
#include "text/jinja/lexer.h"

namespace hlwq::jinja {
namespace {

using Kind = Statement::Kind;
using Names = std::initializer_list<std::string_view>;

class Parser {
 public:
  Parser(std::vector<Token> tokens, std::string_view where, const Limits& limits)
      : stream_(std::move(tokens), where, limits), expressions_(stream_, *syntax_) {}

  Result<std::unique_ptr<const Syntax>> run() {
    HLWQ_TRY_ASSIGN(syntax_->body, parse_block({}));
    return std::unique_ptr<const Syntax>(std::move(syntax_));
  }

 private:
  Statement statement(Kind kind) const {
    Statement made;
    made.kind = kind;
    made.line = stream_.current().line;
    return made;
  }

  // Statements up to a tag with one of the names, whose name is then the current token; up to the
  // end of the template without names.
  Result<Block> parse_block(Names ends) {
    const TokenStream::Level level(stream_);
    HLWQ_TRY(level.check());
    Block block;
    while (true) {
      const Token& token = stream_.current();
      HLWQ_TRY(stream_.count_node());
      if (token.kind == Token::Kind::kEnd) {
        if (ends.size() == 0) return block;
        return stream_.error(
            fmt::format("the template ends without {{% {} %}}", *(ends.end() - 1)));
      }
      if (token.kind == Token::Kind::kData) {
        block.push_back(statement(Kind::kData));
        block.back().text = token.text;
        stream_.advance();
      } else if (token.kind == Token::Kind::kVariableBegin) {
        block.push_back(statement(Kind::kOutput));
        stream_.advance();
        HLWQ_TRY_ASSIGN(block.back().value, expressions_.parse_tuple(true));
        HLWQ_TRY(stream_.expect(Token::Kind::kVariableEnd));
      } else {
        HLWQ_TRY(stream_.expect(Token::Kind::kBlockBegin));
        for (const std::string_view end : ends)
          if (stream_.is_name(end)) return block;
        HLWQ_TRY_ASSIGN(Statement made, parse_statement());
        HLWQ_TRY(stream_.expect(Token::Kind::kBlockEnd));
        block.push_back(std::move(made));
      }
    }
  }

  // The statements of a tag that ends here, up to one with the name `end`, whose own end is then
  // the current token.
  Result<Block> parse_body(std::string_view end) {
    stream_.skip_operator(":");
    HLWQ_TRY(stream_.expect(Token::Kind::kBlockEnd));
    HLWQ_TRY_ASSIGN(Block body, parse_block({end}));
    stream_.advance();
    return body;
  }

  // The same for a body that breaks of loops around it cannot leave.
  Result<Block> parse_closed_body(std::string_view end) {
    const int loops = std::exchange(loops_, 0);
    HLWQ_TRY_ASSIGN(Block body, parse_body(end));
    loops_ = loops;
    return body;
  }

  Result<Statement> parse_statement() {
    struct Tag {
      std::string_view name;
      Result<Statement> (Parser::*parse)();
    };
    static constexpr Tag kTags[] = {
        {"if", &Parser::parse_if},           {"for", &Parser::parse_for},
        {"set", &Parser::parse_set},         {"macro", &Parser::parse_macro},
        {"call", &Parser::parse_call_block}, {"filter", &Parser::parse_filter_block},
        {"with", &Parser::parse_with},       {"generation", &Parser::parse_generation},
        {"break", &Parser::parse_break},     {"continue", &Parser::parse_continue}};
    if (stream_.current().kind != Token::Kind::kName) return stream_.unexpected_token();
    for (const Tag& tag : kTags)
      if (stream_.is_name(tag.name)) return (this->*tag.parse)();
    const std::string& name = stream_.current().text;
    if (name.starts_with("end") || name == "else" || name == "elif")
      return stream_.unexpected_token();
    return stream_.unsupported(fmt::format("the tag '{}' is not supported", printable(name)));
  }

  Result<Statement> parse_if() {
    Statement made = statement(Kind::kIf);
    stream_.advance();
    while (true) {
      Statement::Branch branch;
      HLWQ_TRY_ASSIGN(branch.condition, expressions_.parse_tuple(false));
      stream_.skip_operator(":");
      HLWQ_TRY(stream_.expect(Token::Kind::kBlockEnd));
      HLWQ_TRY_ASSIGN(branch.body, parse_block({"elif", "else", "endif"}));
      made.branches.push_back(std::move(branch));
      if (stream_.skip_name("elif")) continue;
      if (stream_.skip_name("else")) {
        Statement::Branch otherwise;
        HLWQ_TRY_ASSIGN(otherwise.body, parse_body("endif"));
        made.branches.push_back(std::move(otherwise));
      } else {
        stream_.advance();
      }
      return made;
    }
  }

  Result<Statement> parse_for() {
    Statement made = statement(Kind::kFor);
    stream_.advance();
    HLWQ_TRY_ASSIGN(made.target, parse_target(false));
    if (!stream_.skip_name("in")) return stream_.unexpected_token();
    HLWQ_TRY_ASSIGN(made.value, expressions_.parse_tuple(false));
    if (stream_.skip_name("if")) {
      HLWQ_TRY_ASSIGN(made.condition, expressions_.parse_expression());
    }
    if (stream_.is_name("recursive"))
      return stream_.unsupported("recursive loops are not supported");
    stream_.skip_operator(":");
    HLWQ_TRY(stream_.expect(Token::Kind::kBlockEnd));
    ++loops_;
    HLWQ_TRY_ASSIGN(made.body, parse_block({"else", "endfor"}));
    --loops_;
    if (stream_.skip_name("else")) {
      HLWQ_TRY_ASSIGN(made.otherwise, parse_body("endfor"));
    } else {
      stream_.advance();
    }
    return made;
  }

  Result<Statement> parse_set() {
    Statement made = statement(Kind::kSet);
    stream_.advance();
    HLWQ_TRY_ASSIGN(made.target, parse_target(true));
    if (stream_.skip_operator("=")) {
      HLWQ_TRY_ASSIGN(made.value, expressions_.parse_tuple(true));
      return made;
    }
    made.kind = Kind::kSetBlock;
    HLWQ_TRY_ASSIGN(ExpressionPtr text, expressions_.block_text());
    HLWQ_TRY_ASSIGN(made.value, expressions_.parse_filters(std::move(text), false));
    HLWQ_TRY_ASSIGN(made.body, parse_closed_body("endset"));
    return made;
  }

  Result<Target> parse_one_target(bool with_attributes) {
    const TokenStream::Level level(stream_);
    HLWQ_TRY(level.check());
    HLWQ_TRY(stream_.count_node());
    if (stream_.skip_operator("(")) {
      HLWQ_TRY_ASSIGN(Target inner, parse_target(with_attributes));
      HLWQ_TRY(stream_.expect_operator(")"));
      return inner;
    }
    Target target;
    HLWQ_TRY_ASSIGN(const std::string name, stream_.expect_any_name());
    static constexpr std::string_view kConstants[] = {"true",  "True", "false",
                                                      "False", "none", "None"};
    if (std::find(std::begin(kConstants), std::end(kConstants), name) != std::end(kConstants))
      return stream_.error(fmt::format("can't assign to '{}'", name));
    target.name = expressions_.intern(name);
    if (with_attributes && stream_.skip_operator(".")) {
      target.kind = Target::Kind::kAttribute;
      HLWQ_TRY_ASSIGN(target.attribute, stream_.expect_any_name());
    }
    return target;
  }

  Result<Target> parse_target(bool with_attributes) {
    HLWQ_TRY_ASSIGN(Target first, parse_one_target(with_attributes));
    if (!stream_.is_operator(",")) return first;
    Target several;
    several.kind = Target::Kind::kSeveral;
    several.parts.push_back(std::move(first));
    while (stream_.skip_operator(",")) {
      if (stream_.is_operator("=") || stream_.is_operator(")") || stream_.is_name("in")) break;
      HLWQ_TRY_ASSIGN(Target part, parse_one_target(with_attributes));
      several.parts.push_back(std::move(part));
    }
    return several;
  }

  // In parentheses.
  Status parse_parameters(Signature& signature) {
    HLWQ_TRY(stream_.expect_operator("("));
    while (!stream_.is_operator(")")) {
      HLWQ_TRY_ASSIGN(const std::string name, stream_.expect_any_name());
      signature.parameters.push_back(expressions_.intern(name));
      if (stream_.skip_operator("=")) {
        HLWQ_TRY_ASSIGN(ExpressionPtr value, expressions_.parse_expression());
        signature.defaults.push_back(std::move(value));
      } else if (!signature.defaults.empty()) {
        return stream_.error("a parameter without default follows one with");
      }
      if (!stream_.is_operator(")")) HLWQ_TRY(stream_.expect_operator(","));
    }
    stream_.advance();
    return {};
  }

  // The body of a macro or call block, noting what it mentions.
  Result<Block> parse_macro_body(Signature& signature, std::string_view end) {
    static constexpr std::string_view kImplied[] = {"caller", "varargs", "kwargs"};
    size_t before[3];
    for (size_t i = 0; i < 3; ++i) before[i] = expressions_.mentions(kImplied[i]);
    HLWQ_TRY_ASSIGN(Block body, parse_closed_body(end));
    bool* const uses[] = {&signature.uses_caller, &signature.uses_more_positional,
                          &signature.uses_more_named};
    for (size_t i = 0; i < 3; ++i) *uses[i] = expressions_.mentions(kImplied[i]) > before[i];
    return body;
  }

  Result<Statement> parse_macro() {
    Statement made = statement(Kind::kMacro);
    stream_.advance();
    HLWQ_TRY_ASSIGN(made.signature.name, stream_.expect_any_name());
    made.target.name = expressions_.intern(made.signature.name);
    HLWQ_TRY(parse_parameters(made.signature));
    HLWQ_TRY_ASSIGN(made.body, parse_macro_body(made.signature, "endmacro"));
    return made;
  }

  Result<Statement> parse_call_block() {
    Statement made = statement(Kind::kCallBlock);
    made.signature.name = "caller";
    stream_.advance();
    if (stream_.is_operator("(")) HLWQ_TRY(parse_parameters(made.signature));
    HLWQ_TRY_ASSIGN(made.value, expressions_.parse_unfiltered());
    if (made.value->kind != Expression::Kind::kCall) return stream_.error("expected a call");
    HLWQ_TRY_ASSIGN(made.body, parse_macro_body(made.signature, "endcall"));
    return made;
  }

  Result<Statement> parse_filter_block() {
    Statement made = statement(Kind::kFilterBlock);
    stream_.advance();
    HLWQ_TRY_ASSIGN(ExpressionPtr text, expressions_.block_text());
    HLWQ_TRY_ASSIGN(made.value, expressions_.parse_filters(std::move(text), true));
    HLWQ_TRY_ASSIGN(made.body, parse_closed_body("endfilter"));
    return made;
  }

  Result<Statement> parse_with() {
    Statement made = statement(Kind::kWith);
    stream_.advance();
    while (stream_.current().kind != Token::Kind::kBlockEnd) {
      if (!made.branches.empty()) HLWQ_TRY(stream_.expect_operator(","));
      Statement::Branch branch;
      HLWQ_TRY_ASSIGN(branch.target, parse_one_target(false));
      HLWQ_TRY(stream_.expect_operator("="));
      HLWQ_TRY_ASSIGN(branch.condition, expressions_.parse_expression());
      made.branches.push_back(std::move(branch));
    }
    HLWQ_TRY_ASSIGN(made.body, parse_body("endwith"));
    return made;
  }

  // transformers' mark around what the assistant said.
  Result<Statement> parse_generation() {
    Statement made = statement(Kind::kScope);
    stream_.advance();
    HLWQ_TRY_ASSIGN(made.body, parse_closed_body("endgeneration"));
    return made;
  }

  Result<Statement> parse_break() { return parse_jump(Kind::kBreak); }
  Result<Statement> parse_continue() { return parse_jump(Kind::kContinue); }
  Result<Statement> parse_jump(Kind kind) {
    if (loops_ == 0)
      return stream_.error(fmt::format("'{}' outside of a loop", stream_.current().text));
    Statement made = statement(kind);
    stream_.advance();
    return made;
  }

  std::unique_ptr<Syntax> syntax_ = std::make_unique<Syntax>();
  TokenStream stream_;
  ExpressionParser expressions_;
  int loops_ = 0;  // around the current place, in the same body
};

}  // namespace

Result<std::unique_ptr<const Syntax>> parse_template(std::string_view source,
                                                     std::string_view where, const Limits& limits) {
  if (source.size() > limits.source_bytes) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: a template of {} bytes, at most {}", where, source.size(),
                            limits.source_bytes));
  }
  if (!is_utf8(source))
    return fail(ErrorCode::kBadHeader, fmt::format("{}: the template is not UTF-8", where));
  HLWQ_TRY_ASSIGN(std::vector<Token> tokens, tokenize(source, where));
  return Parser(std::move(tokens), where, limits).run();
}

}  // namespace hlwq::jinja
