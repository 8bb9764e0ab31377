#pragma once
// The tokens of a template one by one, and what the two halves of the parser share.

#include <algorithm>
#include <string_view>
#include <vector>

#include "text/jinja/lexer.h"
#include "text/jinja/limits.h"
#include "text/jinja/syntax.h"

namespace hlwq::jinja {

class TokenStream {
 public:
  TokenStream(std::vector<Token> tokens, std::string_view where, const Limits& limits)
      : tokens_(std::move(tokens)), where_(where), limits_(limits) {}

  [[nodiscard]] const Token& current() const { return tokens_[at_]; }
  // The token after it; the end stays the end.
  [[nodiscard]] const Token& next() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  void advance() { at_ = std::min(at_ + 1, tokens_.size() - 1); }

  [[nodiscard]] bool is_name(std::string_view name) const {
    return current().kind == Token::Kind::kName && current().text == name;
  }
  [[nodiscard]] bool is_operator(std::string_view text) const {
    return current().kind == Token::Kind::kOperator && current().text == text;
  }
  // Passes that token if it is the current one.
  bool skip_name(std::string_view name);
  bool skip_operator(std::string_view text);
  [[nodiscard]] Status expect(Token::Kind kind);
  [[nodiscard]] Status expect_operator(std::string_view text);
  [[nodiscard]] Result<std::string> expect_any_name();

  // Errors at the current token's line.
  [[nodiscard]] tl::unexpected<Error> error(std::string_view what) const;
  [[nodiscard]] tl::unexpected<Error> unexpected_token() const;
  [[nodiscard]] tl::unexpected<Error> unsupported(std::string_view what) const;
  [[nodiscard]] tl::unexpected<Error> too_large(std::string_view what) const;

  [[nodiscard]] const Limits& limits() const { return limits_; }
  // Counts one more expression or statement. Errors: more than the limit.
  [[nodiscard]] Status count_node();

  // While one lives, the parser is one level deeper in the source.
  class Level {
   public:
    explicit Level(TokenStream& stream) : stream_(stream) { ++stream_.level_; }
    ~Level() { --stream_.level_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    // Errors: deeper than the limit.
    [[nodiscard]] Status check() const;

   private:
    TokenStream& stream_;
  };

 private:
  const std::vector<Token> tokens_;
  const std::string_view where_;
  const Limits& limits_;
  size_t at_ = 0;
  size_t nodes_ = 0;
  int level_ = 0;
};

}  // namespace hlwq::jinja
