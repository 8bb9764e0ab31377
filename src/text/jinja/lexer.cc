#include "text/jinja/lexer.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/utf8.h"
#include "io/printable.h"
#include "text/jinja/string_literal.h"
#include "text/jinja/unicode.h"

namespace hlwq::jinja {
namespace {

using Kind = Token::Kind;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex_digit(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
bool begins_name(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool continues_name(char c) { return begins_name(c) || is_digit(c); }

// Line ends as '\n', without one at the very end.
std::string with_plain_line_ends(std::string_view source) {
  std::string plain;
  plain.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      plain += source[i];
    } else {
      plain += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    }
  }
  if (plain.ends_with('\n')) plain.pop_back();
  return plain;
}

// The end of the white space at `at`.
size_t skip_space(std::string_view text, size_t at) {
  while (at < text.size()) {
    const Utf8Step step = step_utf8(text.substr(at));
    if (!is_space(step.code_point)) break;
    at += static_cast<size_t>(step.bytes);
  }
  return at;
}

std::string_view without_space_at_end(std::string_view text) {
  size_t end = 0;
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = step_utf8(text.substr(at));
    at += static_cast<size_t>(step.bytes);
    if (!is_space(step.code_point)) end = at;
  }
  return text.substr(0, end);
}

class Lexer {
 public:
  Lexer(std::string_view source, std::string_view where)
      : source_(with_plain_line_ends(source)), text_(source_), where_(where) {}

  Result<std::vector<Token>> run() {
    while (at_ < text_.size()) {
      const size_t tag = find_tag(at_);
      if (tag == std::string_view::npos) {
        add(Kind::kData, text_.substr(at_));
        advance_to(text_.size());
        break;
      }
      HLWQ_TRY(take_tag(tag));
    }
    add(Kind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  // How a tag's marks ask for white space to be treated.
  struct End {
    size_t at;  // after the mark
    bool strips_after, trims_after;
  };

  tl::unexpected<Error> error(std::string_view what) const {
    return fail(ErrorCode::kBadHeader, fmt::format("{}: line {}: {}", where_, line_, what));
  }

  char byte(size_t at) const { return at < text_.size() ? text_[at] : '\0'; }

  void add(Kind kind, std::string_view text) {
    if (kind == Kind::kData && text.empty()) return;
    tokens_.push_back({kind, std::string(text), line_});
  }

  // All positions in the source are reached by this, which counts lines.
  void advance_to(size_t at) {
    line_ += static_cast<int>(std::count(text_.begin() + static_cast<ptrdiff_t>(at_),
                                         text_.begin() + static_cast<ptrdiff_t>(at), '\n'));
    if (at > at_) after_line_end_ = text_[at - 1] == '\n';
    at_ = at;
  }

  size_t find_tag(size_t from) const {
    for (size_t at = text_.find('{', from); at != std::string_view::npos;
         at = text_.find('{', at + 1)) {
      const char next = byte(at + 1);
      if (next == '%' || next == '{' || next == '#') return at;
    }
    return std::string_view::npos;
  }

  // The text before the tag at `tag`, after what its sign and lstrip_blocks remove.
  void add_data_before(size_t tag, char sign, bool is_variable) {
    std::string_view data = text_.substr(at_, tag - at_);
    if (sign == '-') {
      data = without_space_at_end(data);
    } else if (sign != '+' && !is_variable) {
      const size_t line_end = data.rfind('\n');
      const size_t line_begin = line_end == std::string_view::npos ? 0 : line_end + 1;
      const bool begins_line = line_begin > 0 || after_line_end_;
      if (begins_line && skip_space(data, line_begin) == data.size())
        data = data.substr(0, line_begin);
    }
    add(Kind::kData, data);
  }

  // Moves past `end`, and the white space after it.
  void pass_end(const End& end) {
    advance_to(end.at);
    if (end.strips_after) {
      advance_to(skip_space(text_, at_));
    } else if (end.trims_after && byte(at_) == '\n') {
      advance_to(at_ + 1);
    }
  }

  Status take_tag(size_t tag) {
    const char kind = text_[tag + 1];
    const char sign = byte(tag + 2) == '-' || byte(tag + 2) == '+' ? text_[tag + 2] : '\0';
    const size_t inside = tag + (sign == '\0' ? 2 : 3);
    add_data_before(tag, sign, kind == '{');
    advance_to(inside);
    if (kind == '#') return take_comment();
    if (kind == '%') {
      // {% raw %}
      const size_t name = skip_space(text_, inside);
      if (text_.substr(name).starts_with("raw")) {
        const size_t after = skip_space(text_, name + 3);
        if (text_.substr(after).starts_with("-%}")) return take_raw({after + 3, true, false});
        if (text_.substr(after).starts_with("%}")) return take_raw({after + 2, false, false});
      }
    }
    add(kind == '{' ? Kind::kVariableBegin : Kind::kBlockBegin, "");
    return take_inside(kind == '{');
  }

  Status take_comment() {
    const size_t close = text_.find("#}", at_);
    if (close == std::string_view::npos) return error("a comment without end");
    const char sign = close > at_ ? text_[close - 1] : '\0';
    pass_end({close + 2, sign == '-', sign != '+'});
    return {};
  }

  Status take_raw(const End& begin) {
    pass_end(begin);
    for (size_t tag = text_.find("{%", at_); tag != std::string_view::npos;
         tag = text_.find("{%", tag + 1)) {
      const char sign = byte(tag + 2) == '-' || byte(tag + 2) == '+' ? text_[tag + 2] : '\0';
      const size_t name = skip_space(text_, tag + (sign == '\0' ? 2 : 3));
      if (!text_.substr(name).starts_with("endraw")) continue;
      const size_t after = skip_space(text_, name + 6);
      const std::string_view rest = text_.substr(after);
      const bool has_sign = rest.starts_with("-%}") || rest.starts_with("+%}");
      if (!has_sign && !rest.starts_with("%}")) continue;
      add_data_before(tag, sign, false);
      pass_end({after + (has_sign ? 3u : 2u), rest.front() == '-', rest.front() != '+'});
      return {};
    }
    return error("{% raw %} without {% endraw %}");
  }

  // The end of the tag, if it is here.
  bool take_end(bool is_variable) {
    const std::string_view rest = text_.substr(at_);
    const std::string_view mark = is_variable ? "}}" : "%}";
    const bool has_minus = rest.starts_with('-') && rest.substr(1).starts_with(mark);
    const bool has_plus = !is_variable && rest.starts_with('+') && rest.substr(1).starts_with(mark);
    if (!has_minus && !has_plus && !rest.starts_with(mark)) return false;
    add(is_variable ? Kind::kVariableEnd : Kind::kBlockEnd, "");
    pass_end({at_ + (has_minus || has_plus ? 3u : 2u), has_minus, !is_variable && !has_plus});
    return true;
  }

  Status take_inside(bool is_variable) {
    std::string open;  // the closing brackets that are awaited
    while (true) {
      advance_to(skip_space(text_, at_));
      if (at_ >= text_.size()) return error("the template ends inside a tag");
      if (open.empty() && take_end(is_variable)) return {};
      const char c = text_[at_];
      if (is_digit(c)) {
        take_number();
      } else if (begins_name(c)) {
        size_t end = at_ + 1;
        while (continues_name(byte(end))) ++end;
        add(Kind::kName, text_.substr(at_, end - at_));
        advance_to(end);
      } else if (c == '\'' || c == '"') {
        HLWQ_TRY(take_string());
      } else {
        HLWQ_TRY(take_operator(open));
      }
    }
  }

  // Digits with single underscores between, from `at`.
  template <typename IsDigit>
  size_t digits_end(size_t at, IsDigit&& is_one) const {
    while (is_one(byte(at)) || (byte(at) == '_' && is_one(byte(at + 1)))) ++at;
    return at;
  }

  void add_number(Kind kind, size_t end) {
    std::string digits(text_.substr(at_, end - at_));
    std::erase(digits, '_');
    add(kind, digits);
    advance_to(end);
  }

  void take_number() {
    const size_t whole_end = digits_end(at_, is_digit);
    const bool after_dot = at_ > 0 && text_[at_ - 1] == '.';
    size_t end = whole_end;
    bool is_float = false;
    if (!after_dot) {
      if (byte(end) == '.' && is_digit(byte(end + 1))) {
        end = digits_end(end + 1, is_digit);
        is_float = true;
      }
      if (byte(end) == 'e' || byte(end) == 'E') {
        const size_t sign = byte(end + 1) == '+' || byte(end + 1) == '-' ? 1 : 0;
        if (is_digit(byte(end + 1 + sign))) {
          end = digits_end(end + 1 + sign, is_digit);
          is_float = true;
        }
      }
    }
    if (is_float) return add_number(Kind::kFloat, end);
    if (text_[at_] != '0') return add_number(Kind::kInteger, whole_end);
    const char letter = byte(at_ + 1);
    const size_t begin = at_ + 2 + (byte(at_ + 2) == '_' ? 1 : 0);
    size_t based = at_;
    if (letter == 'x' || letter == 'X') based = digits_end(begin, is_hex_digit);
    if (letter == 'o' || letter == 'O')
      based = digits_end(begin, [](char c) { return c >= '0' && c <= '7'; });
    if (letter == 'b' || letter == 'B')
      based = digits_end(begin, [](char c) { return c == '0' || c == '1'; });
    if (based > begin) return add_number(Kind::kInteger, based);
    add_number(Kind::kInteger, digits_end(at_, [](char c) { return c == '0'; }));
  }

  Status take_string() {
    const char quote = text_[at_];
    size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != quote) end += text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size()) return error("a string without end");
    const Result<std::string> meant = unescape(text_.substr(at_ + 1, end - at_ - 1));
    if (!meant) return error(meant.error().message);
    add(Kind::kString, *meant);
    advance_to(end + 1);
    return {};
  }

  Status take_operator(std::string& open) {
    static constexpr std::string_view kOperators[] = {
        "**", "//", "==", "!=", ">=", "<=", "+", "-", "*", "/", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    const std::string_view rest = text_.substr(at_);
    const auto* found = std::find_if(std::begin(kOperators), std::end(kOperators),
                                     [&](std::string_view name) { return rest.starts_with(name); });
    if (found == std::end(kOperators)) {
      const auto bytes = static_cast<size_t>(step_utf8(rest).bytes);
      return error(fmt::format("unexpected character '{}'", printable(rest.substr(0, bytes))));
    }
    const char c = found->front();
    if (c == '(' || c == '[' || c == '{') open += c == '(' ? ')' : c == '[' ? ']' : '}';
    if (c == ')' || c == ']' || c == '}') {
      if (open.empty()) return error(fmt::format("unexpected '{}'", c));
      if (open.back() != c)
        return error(fmt::format("unexpected '{}', expected '{}'", c, open.back()));
      open.pop_back();
    }
    add(Kind::kOperator, *found);
    advance_to(at_ + found->size());
    return {};
  }

  const std::string source_;
  const std::string_view text_;
  const std::string_view where_;
  size_t at_ = 0;
  int line_ = 1;
  bool after_line_end_ = true;  // what was passed last ends a line, or the template begins
  std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> tokenize(std::string_view source, std::string_view where) {
  return Lexer(source, where).run();
}

}  // namespace hlwq::jinja
