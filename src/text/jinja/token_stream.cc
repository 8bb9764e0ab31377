#include "text/jinja/token_stream.h"

#include <fmt/format.h>

#include "io/printable.h"

namespace hlwq::jinja {
namespace {

std::string_view kind_name(Token::Kind kind) {
  switch (kind) {
    case Token::Kind::kData:
      return "text";
    case Token::Kind::kVariableBegin:
      return "'{{'";
    case Token::Kind::kVariableEnd:
      return "'}}'";
    case Token::Kind::kBlockBegin:
      return "'{%'";
    case Token::Kind::kBlockEnd:
      return "'%}'";
    case Token::Kind::kName:
      return "a name";
    case Token::Kind::kString:
      return "a string";
    case Token::Kind::kInteger:
      return "an integer";
    case Token::Kind::kFloat:
      return "a float";
    case Token::Kind::kOperator:
      return "an operator";
    case Token::Kind::kEnd:
      return "the end of the template";
  }
  return "";
}

std::string describe(const Token& token) {
  if (token.text.empty()) return std::string(kind_name(token.kind));
  return fmt::format("'{}'", printable(token.text, 40));
}

}  // namespace

bool TokenStream::skip_name(std::string_view name) {
  if (!is_name(name)) return false;
  advance();
  return true;
}

bool TokenStream::skip_operator(std::string_view text) {
  if (!is_operator(text)) return false;
  advance();
  return true;
}

Status TokenStream::expect(Token::Kind kind) {
  if (current().kind != kind)
    return error(fmt::format("expected {}, got {}", kind_name(kind), describe(current())));
  advance();
  return {};
}

Status TokenStream::expect_operator(std::string_view text) {
  if (skip_operator(text)) return {};
  return error(fmt::format("expected '{}', got {}", text, describe(current())));
}

Result<std::string> TokenStream::expect_any_name() {
  std::string name = current().text;
  HLWQ_TRY(expect(Token::Kind::kName));
  return name;
}

tl::unexpected<Error> TokenStream::error(std::string_view what) const {
  return fail(ErrorCode::kBadHeader, fmt::format("{}: line {}: {}", where_, current().line, what));
}

tl::unexpected<Error> TokenStream::unexpected_token() const {
  return error(fmt::format("unexpected {}", describe(current())));
}

tl::unexpected<Error> TokenStream::unsupported(std::string_view what) const {
  return fail(ErrorCode::kUnsupported,
              fmt::format("{}: line {}: {}", where_, current().line, what));
}

tl::unexpected<Error> TokenStream::too_large(std::string_view what) const {
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{}: line {}: {}", where_, current().line, what));
}

Status TokenStream::count_node() {
  if (++nodes_ <= limits_.nodes) return {};
  return too_large(fmt::format("the template has more than {} expressions", limits_.nodes));
}

Status TokenStream::Level::check() const {
  if (stream_.level_ <= stream_.limits_.nesting) return {};
  return stream_.too_large(
      fmt::format("the template is nested deeper than {} levels", stream_.limits_.nesting));
}

}  // namespace hlwq::jinja
