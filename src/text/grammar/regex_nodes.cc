#include "text/grammar/regex_nodes.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "base/utf8.h"

namespace hlwq {
namespace {

constexpr int kMostDepth = 32;

uint32_t add_lengths(uint32_t a, uint32_t b) {
  const uint64_t sum = uint64_t{a} + b;
  return a == kUnlimited || b == kUnlimited || sum >= kUnlimited ? kUnlimited
                                                                 : static_cast<uint32_t>(sum);
}

uint32_t multiply_lengths(uint32_t a, uint32_t b) {
  if (a == 0 || b == 0) return 0;
  const uint64_t product = uint64_t{a} * b;
  return a == kUnlimited || b == kUnlimited || product >= kUnlimited
             ? kUnlimited
             : static_cast<uint32_t>(product);
}

CodePointSet digits() { return {{'0', '9'}}; }
CodePointSet word_characters() { return {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}; }
CodePointSet line_ends() { return {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}; }
CodePointSet spaces() {
  return {{'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
          {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
}

class RegexParser {
 public:
  RegexParser(GrammarBuilder& builder, Characters& characters, std::string_view pattern,
              Spelling spelling, const CodePointSet& alphabet)
      : builder_(builder),
        characters_(characters),
        pattern_(pattern),
        spelling_(spelling),
        alphabet_(alphabet) {}

  Result<RegexNode> parse() {
    HLWQ_TRY_ASSIGN(const RegexNode whole, parse_alternatives(0));
    if (at_ < pattern_.size()) return malformed("\")\" without \"(\"");
    return whole;
  }

 private:
  // An escape or a plain character: either one code point or a set.
  struct Item {
    std::optional<uint32_t> code_point;
    CodePointSet set;
  };

  [[nodiscard]] char peek() const { return at_ < pattern_.size() ? pattern_[at_] : '\0'; }
  [[nodiscard]] bool looks_at(std::string_view text) const {
    return pattern_.substr(at_, text.size()) == text;
  }
  bool take(char c) {
    if (at_ >= pattern_.size() || pattern_[at_] != c) return false;
    ++at_;
    return true;
  }
  [[nodiscard]] tl::unexpected<Error> malformed(std::string_view what) const {
    return fail(ErrorCode::kInvalidArgument, fmt::format("pattern: {} at byte {}", what, at_));
  }
  [[nodiscard]] tl::unexpected<Error> unsupported(std::string_view what) const {
    return fail(ErrorCode::kUnsupported,
                fmt::format("pattern: {} at byte {} is not supported", what, at_));
  }

  RegexNode one_of(const CodePointSet& set) {
    return {characters_.one_of(set.intersection(alphabet_), spelling_), 1, 1};
  }

  RegexNode any_text() {
    return {builder_.repeat(characters_.one_of(alphabet_, spelling_), 0), 0, kUnlimited};
  }

  Result<RegexNode> parse_alternatives(int depth) {
    if (depth > kMostDepth)
      return unsupported(fmt::format("more than {} nested groups", kMostDepth));
    std::vector<GrammarNode> nodes;
    RegexNode all{.least = kUnlimited, .most = 0};
    do {
      HLWQ_TRY_ASSIGN(const RegexNode branch, parse_sequence(depth));
      nodes.push_back(branch.node);
      all.least = std::min(all.least, branch.least);
      all.most = std::max(all.most, branch.most);
      all.only_character = nodes.size() == 1 ? branch.only_character : std::nullopt;
    } while (take('|'));
    all.node = builder_.alternatives(nodes);
    return all;
  }

  Result<RegexNode> parse_sequence(int depth) {
    std::vector<GrammarNode> nodes;
    RegexNode all{.least = 0, .most = 0};
    const auto append = [&](const RegexNode& part) {
      nodes.push_back(part.node);
      all.least = add_lengths(all.least, part.least);
      all.most = add_lengths(all.most, part.most);
    };
    if (peek() == '^' && depth > 0) return unsupported("\"^\" in a group");
    if (!take('^') && depth == 0) append(any_text());
    bool is_bound = depth > 0;
    while (at_ < pattern_.size() && peek() != '|' && peek() != ')') {
      if (builder_.full()) break;
      if (peek() == '$') {
        if (depth > 0) return unsupported("\"$\" in a group");
        ++at_;
        if (at_ < pattern_.size() && peek() != '|') return unsupported("\"$\" before the end");
        is_bound = true;
        break;
      }
      HLWQ_TRY_ASSIGN(const RegexNode atom, parse_atom(depth));
      HLWQ_TRY_ASSIGN(const RegexNode part, parse_quantifier(atom));
      append(part);
      const bool is_character = nodes.size() == 1 && atom.least == 1 && atom.most == 1;
      all.only_character = is_character ? std::optional(atom.node) : std::nullopt;
    }
    if (builder_.full()) at_ = pattern_.size();
    if (!is_bound) {
      append(any_text());
      all.only_character = std::nullopt;
    }
    all.node = builder_.sequence(nodes);
    return all;
  }

  Result<RegexNode> parse_atom(int depth) {
    switch (peek()) {
      case '(':
        return parse_group(depth);
      case '[': {
        HLWQ_TRY_ASSIGN(const CodePointSet set, parse_class());
        return one_of(set);
      }
      case '.':
        ++at_;
        return one_of(line_ends().complement());
      case '^':
        return unsupported("\"^\" after the beginning");
      case '*':
      case '+':
      case '?':
        return malformed("a quantifier with nothing before it");
      default:
        break;
    }
    HLWQ_TRY_ASSIGN(const Item item, parse_item(false));
    return one_of(item.code_point ? CodePointSet{{*item.code_point, *item.code_point}} : item.set);
  }

  Result<RegexNode> parse_group(int depth) {
    ++at_;
    if (take('?')) {
      if (looks_at("<") && !looks_at("<=") && !looks_at("<!")) {  // a name
        const size_t end = pattern_.find('>', at_);
        if (end == std::string_view::npos) return malformed("a group name without \">\"");
        at_ = end + 1;
      } else if (!take(':')) {
        return unsupported("this kind of group");
      }
    }
    HLWQ_TRY_ASSIGN(const RegexNode inner, parse_alternatives(depth + 1));
    if (!take(')')) return malformed("\"(\" without \")\"");
    return inner;
  }

  // A number of a quantifier; beyond the builder's bound it stays there for repeat() to refuse.
  std::optional<uint32_t> parse_count() {
    const size_t begin = at_;
    uint64_t value = 0;
    for (; peek() >= '0' && peek() <= '9'; ++at_) {
      value =
          std::min<uint64_t>(value * 10 + static_cast<uint64_t>(peek() - '0'), kMostRepeats + 1);
    }
    if (at_ == begin) return std::nullopt;
    return static_cast<uint32_t>(value);
  }

  Result<RegexNode> parse_quantifier(const RegexNode& atom) {
    uint32_t least = 1;
    uint32_t most = 1;
    if (take('*')) {
      least = 0;
      most = kUnlimited;
    } else if (take('+')) {
      most = kUnlimited;
    } else if (take('?')) {
      least = 0;
    } else if (peek() == '{') {
      const size_t begin = at_++;
      const std::optional<uint32_t> low = parse_count();
      std::optional<uint32_t> high = low;
      if (low && take(',')) high = peek() == '}' ? kUnlimited : parse_count();
      if (!low || !high || !take('}')) {
        at_ = begin;  // no quantifier: parse_item reads a plain "{"
        return atom;
      }
      least = *low;
      most = *high;
      if (least > most) return malformed("a quantifier whose bounds are the wrong way round");
    } else {
      return atom;
    }
    take('?');  // which match a search prefers does not change which texts have one
    if (peek() == '+' || peek() == '*' || peek() == '?') return unsupported("a second quantifier");
    return RegexNode{builder_.repeat(atom.node, least, most), multiply_lengths(atom.least, least),
                     multiply_lengths(atom.most, most)};
  }

  Result<CodePointSet> parse_class() {
    ++at_;
    const bool is_negated = take('^');
    CodePointSet set;
    while (!take(']')) {
      if (at_ >= pattern_.size()) return malformed("\"[\" without \"]\"");
      HLWQ_TRY_ASSIGN(const Item first, parse_item(true));
      const bool is_range = peek() == '-' && at_ + 1 < pattern_.size() && pattern_[at_ + 1] != ']';
      if (!is_range) {
        first.code_point ? set.add(CodePointRange{*first.code_point, *first.code_point})
                         : set.add(first.set);
        continue;
      }
      ++at_;
      HLWQ_TRY_ASSIGN(const Item last, parse_item(true));
      if (!first.code_point || !last.code_point || *first.code_point > *last.code_point) {
        return malformed("a range that is none");
      }
      set.add(CodePointRange{*first.code_point, *last.code_point});
    }
    return is_negated ? set.complement() : set;
  }

  Result<Item> parse_item(bool in_class) {
    if (take('\\')) return parse_escape(in_class);
    const Utf8Step step = step_utf8(pattern_.substr(at_));
    if (step.kind != Utf8Step::Kind::kValid) return malformed("bytes that are not UTF-8");
    at_ += static_cast<size_t>(step.bytes);
    return Item{step.code_point, {}};
  }

  Result<Item> parse_escape(bool in_class) {
    if (at_ >= pattern_.size()) return malformed("\"\\\" at the end");
    const char c = pattern_[at_++];
    switch (c) {
      case 'd':
        return Item{{}, digits()};
      case 'D':
        return Item{{}, digits().complement()};
      case 'w':
        return Item{{}, word_characters()};
      case 'W':
        return Item{{}, word_characters().complement()};
      case 's':
        return Item{{}, spaces()};
      case 'S':
        return Item{{}, spaces().complement()};
      case 't':
        return Item{'\t', {}};
      case 'n':
        return Item{'\n', {}};
      case 'r':
        return Item{'\r', {}};
      case 'f':
        return Item{'\f', {}};
      case 'v':
        return Item{'\v', {}};
      case 'x':
        return parse_hex(2);
      case 'u':
        return parse_unicode_escape();
      default:
        break;
    }
    if (c == '0' && !(peek() >= '0' && peek() <= '9')) return Item{0u, {}};
    if (c == 'b' && in_class) return Item{'\b', {}};
    const bool is_word = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    --at_;
    if (is_word) return unsupported(fmt::format("the escape \\{}", c));
    const Utf8Step step = step_utf8(pattern_.substr(at_));
    if (step.kind != Utf8Step::Kind::kValid) return malformed("bytes that are not UTF-8");
    at_ += static_cast<size_t>(step.bytes);
    return Item{step.code_point, {}};
  }

  Result<Item> parse_hex(size_t count) {
    uint32_t value = 0;
    for (size_t i = 0; i < count; ++i, ++at_) {
      const std::optional<uint32_t> digit = hex_digit();
      if (!digit) return malformed("an escape without its hexadecimal digits");
      value = value * 16 + *digit;
    }
    return Item{value, {}};
  }

  [[nodiscard]] std::optional<uint32_t> hex_digit() const {
    const char c = peek();
    if (c >= '0' && c <= '9') return static_cast<uint32_t>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<uint32_t>(c - 'a' + 10);
    if (c >= 'A' && c <= 'F') return static_cast<uint32_t>(c - 'A' + 10);
    return std::nullopt;
  }

  Result<Item> parse_unicode_escape() {
    uint32_t value = 0;
    if (take('{')) {
      size_t count = 0;
      for (; count < 6 && hex_digit(); ++count, ++at_) value = value * 16 + *hex_digit();
      if (count == 0 || !take('}')) return malformed("\\u{ without hexadecimal digits and }");
    } else {
      HLWQ_TRY_ASSIGN(const Item unit, parse_hex(4));
      value = *unit.code_point;
      if (value >= 0xD800 && value < 0xDC00 && looks_at("\\u")) {
        at_ += 2;
        HLWQ_TRY_ASSIGN(const Item low, parse_hex(4));
        if (*low.code_point < 0xDC00 || *low.code_point > 0xDFFF) {
          return malformed("half a surrogate pair");
        }
        value = 0x10000 + ((value - 0xD800) << 10) + (*low.code_point - 0xDC00);
      }
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) {
      return malformed("an escape that is no character");
    }
    return Item{value, {}};
  }

  GrammarBuilder& builder_;
  Characters& characters_;
  std::string_view pattern_;
  Spelling spelling_;
  const CodePointSet& alphabet_;
  size_t at_ = 0;
};

}  // namespace

Result<RegexNode> regex_node(GrammarBuilder& builder, Characters& characters,
                             std::string_view pattern, Spelling spelling,
                             const CodePointSet& alphabet) {
  return RegexParser(builder, characters, pattern, spelling, alphabet).parse();
}

}  // namespace hlwq
