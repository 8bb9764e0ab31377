#pragma once
// The regular expressions of tokenizer.json, which are written for Oniguruma (Ruby syntax), run by
// PCRE2's JIT with UTF and UCP.

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace hlwq {

// What one match at a time needs: match data, JIT stack, limits. One thread at a time.
class PatternScratch {
 public:
  PatternScratch();
  PatternScratch(PatternScratch&&) noexcept;
  PatternScratch& operator=(PatternScratch&&) noexcept;
  ~PatternScratch();

 private:
  friend class Pattern;
  struct State;
  std::unique_ptr<State> state_;
};

// The same expression for PCRE2: `\uHHHH` gets braces, `\s` and `\w` become the Unicode properties
// that Oniguruma means by them (PCRE2's own differ: U+180E is a space, marks are no word
// characters). Errors: kUnsupported for what PCRE2 would silently read as something else: `\h` and
// `\H`, `\b`,
// `\B`, `\W` in a class, `&&` and nested sets in a class, the options m and x, `\K`, callouts and
// verbs.
// The message starts with `where`.
[[nodiscard]] Result<std::string> translate_pattern(std::string_view oniguruma,
                                                    std::string_view where);

// A compiled expression. Immutable: `find` is safe from several threads, each with its scratch.
class Pattern {
 public:
  struct Match {
    size_t begin = 0, end = 0;
  };

  // Errors: kUnsupported as above; kBadHeader when PCRE2 refuses it, with its reason.
  static Result<Pattern> compile(std::string_view oniguruma, std::string_view where);
  // A pattern that matches exactly `text`.
  static Result<Pattern> compile_literal(std::string_view text, std::string_view where);
  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;
  ~Pattern();

  // The first match in well-formed UTF-8 `text` that begins at `from` or later; look-behind and
  // anchors see the text before. False when there is none. On a match that takes too many steps or
  // too much stack (a file can hold an exponential pattern) returns false and sets `gave_up`.
  [[nodiscard]] bool find(std::string_view text, size_t from, PatternScratch& scratch, Match& match,
                          bool& gave_up) const;

 private:
  struct Code;
  explicit Pattern(std::unique_ptr<Code> code);
  static Result<Pattern> compile_pcre2(std::string_view pattern, unsigned options,
                                       std::string_view where);
  std::unique_ptr<Code> code_;
};

}  // namespace hlwq
