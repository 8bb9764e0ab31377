#include "text/pattern.h"

#include <fmt/format.h>

#include <array>
#include <cstdint>

#include "base/check.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace hlwq {
namespace {

// Steps of one match. The patterns in use need a few hundred; ten million take about a second.
constexpr uint32_t kMatchLimit = 10'000'000;
constexpr uint32_t kHeapLimitKib = 64 * 1024;
constexpr size_t kJitStackBytes = 64 * 1024;
constexpr size_t kMostJitStackBytes = 1024 * 1024;
constexpr size_t kMostPatternBytes = 64 * 1024;

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};

}  // namespace

Result<std::string> translate_pattern(std::string_view oniguruma, std::string_view where) {
  constexpr std::string_view kWordSet = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{200C}\x{200D})";
  const auto refuse = [&](std::string_view what) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("{}: pattern uses {}, which is not supported", where, what));
  };
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < oniguruma.size(); ++i) {
    const char c = oniguruma[i];
    const char next = i + 1 < oniguruma.size() ? oniguruma[i + 1] : '\0';
    if (c == '\\' && i + 1 < oniguruma.size()) {
      ++i;
      switch (next) {
        case 's':
          out += R"(\p{White_Space})";
          break;
        case 'S':
          out += R"(\P{White_Space})";
          break;
        case 'w':
          out += in_class ? std::string(kWordSet) : fmt::format("[{}]", kWordSet);
          break;
        case 'W':
          if (in_class) return refuse(R"(\W inside a class)");
          out += fmt::format("[^{}]", kWordSet);
          break;
        case 'u':  // four hexadecimal digits; PCRE2 wants braces
          if (i + 4 >= oniguruma.size()) return refuse(R"(an unfinished \u)");
          out += fmt::format("\\x{{{}}}", oniguruma.substr(i + 1, 4));
          i += 4;
          break;
        case 'h':
        case 'H':
        case 'b':
        case 'B':
        case 'K':
        case 'Q':
        case 'E':
        case 'C':
          return refuse(fmt::format("\\{}", next));
        default:
          out += c;
          out += next;
      }
      continue;
    }
    if (in_class) {
      if (c == '[' && next != ':') return refuse("a set inside a class");
      if (c == '&' && next == '&') return refuse("&& inside a class");
      if (c == '[') {  // a POSIX name: copy it through its "]"
        const size_t end = oniguruma.find(":]", i + 2);
        if (end == std::string_view::npos) return refuse("an unfinished POSIX class");
        out += oniguruma.substr(i, end + 2 - i);
        i = end + 1;
        continue;
      }
      if (c == ']') in_class = false;
      out += c;
      continue;
    }
    if (c == '[') {
      in_class = true;
      out += c;
      if (next == '^') out += oniguruma[++i];
      // A "]" that comes first belongs to the set.
      if (i + 1 < oniguruma.size() && oniguruma[i + 1] == ']') {
        out += "\\]";
        ++i;
      }
      continue;
    }
    if (c == '(' && next == '*') return refuse("(*");
    if (c == '(' && next == '?') {
      const size_t options_end = oniguruma.find_first_not_of("imx-", i + 2);
      const std::string_view options = oniguruma.substr(i + 2, options_end - (i + 2));
      // m means another thing in Ruby; x would need its comments understood here.
      if (options.find_first_of("mx") != std::string_view::npos) return refuse("(?m or (?x");
      if (oniguruma.substr(i + 2, 1) == "C") return refuse("(?C");
    }
    out += c;
  }
  return out;
}

struct PatternScratch::State {
  std::unique_ptr<pcre2_match_context, Freer<pcre2_match_context_free>> context;
  std::unique_ptr<pcre2_match_data, Freer<pcre2_match_data_free>> data;
  std::unique_ptr<pcre2_jit_stack, Freer<pcre2_jit_stack_free>> stack;
};

PatternScratch::PatternScratch() : state_(std::make_unique<State>()) {
  state_->context.reset(pcre2_match_context_create(nullptr));
  state_->data.reset(pcre2_match_data_create(1, nullptr));
  if (!state_->context || !state_->data) throw std::bad_alloc();
  pcre2_set_match_limit(state_->context.get(), kMatchLimit);
  pcre2_set_heap_limit(state_->context.get(), kHeapLimitKib);
  // Null where PCRE2 has no JIT; matching then falls back to its interpreter.
  state_->stack.reset(pcre2_jit_stack_create(kJitStackBytes, kMostJitStackBytes, nullptr));
  if (state_->stack) {
    pcre2_jit_stack_assign(state_->context.get(), nullptr, state_->stack.get());
  }
}

PatternScratch::PatternScratch(PatternScratch&&) noexcept = default;
PatternScratch& PatternScratch::operator=(PatternScratch&&) noexcept = default;
PatternScratch::~PatternScratch() = default;

struct Pattern::Code {
  std::unique_ptr<pcre2_code, Freer<pcre2_code_free>> code;
  bool jit = false;
};

Pattern::Pattern(std::unique_ptr<Code> code) : code_(std::move(code)) {}
Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;
Pattern::~Pattern() = default;

Result<Pattern> Pattern::compile(std::string_view oniguruma, std::string_view where) {
  HLWQ_TRY_ASSIGN(const std::string pattern, translate_pattern(oniguruma, where));
  // Ruby's ^ and $ are those of every line.
  return compile_pcre2(pattern, PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, where);
}

Result<Pattern> Pattern::compile_literal(std::string_view text, std::string_view where) {
  if (text.empty()) return fail(ErrorCode::kBadHeader, fmt::format("{}: empty pattern", where));
  return compile_pcre2(text, PCRE2_LITERAL, where);
}

Result<Pattern> Pattern::compile_pcre2(std::string_view pattern, unsigned options,
                                       std::string_view where) {
  if (pattern.size() > kMostPatternBytes) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("{}: pattern of {} bytes, at most {} are supported", where,
                            pattern.size(), kMostPatternBytes));
  }
  std::unique_ptr<pcre2_compile_context, Freer<pcre2_compile_context_free>> context(
      pcre2_compile_context_create(nullptr));
  if (!context) throw std::bad_alloc();
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE error_at = 0;
  auto compiled = std::make_unique<Code>();
  compiled->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                     PCRE2_UTF | options, &error, &error_at, context.get()));
  if (!compiled->code) {
    std::array<PCRE2_UCHAR, 256> reason{};
    pcre2_get_error_message(error, reason.data(), reason.size());
    return fail(ErrorCode::kBadHeader,
                fmt::format("{}: pattern does not compile: {} (at byte {})", where,
                            reinterpret_cast<const char*>(reason.data()), error_at));
  }
  compiled->jit = pcre2_jit_compile(compiled->code.get(), PCRE2_JIT_COMPLETE) == 0;
  return Pattern(std::move(compiled));
}

bool Pattern::find(std::string_view text, size_t from, PatternScratch& scratch, Match& match,
                   bool& gave_up) const {
  const auto match_function = code_->jit ? pcre2_jit_match : pcre2_match;
  PatternScratch::State& state = *scratch.state_;
  // The caller's text is well-formed, so PCRE2 need not check it again at every call.
  const int result = match_function(code_->code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()),
                                    text.size(), from, code_->jit ? 0 : PCRE2_NO_UTF_CHECK,
                                    state.data.get(), state.context.get());
  if (result < 0) {
    gave_up = result != PCRE2_ERROR_NOMATCH;
    return false;
  }
  const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(state.data.get());
  match = {ends[0], ends[1]};
  HLWQ_CHECK(match.begin >= from && match.begin <= match.end && match.end <= text.size());
  return true;
}

}  // namespace hlwq
