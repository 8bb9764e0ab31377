#pragma once
// What everything that runs on behalf of one rendering shares: its bounds, its place in the
// source for messages, and the making of values, which is where memory is counted.

#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/jinja/limits.h"
#include "text/jinja/value.h"

namespace hlwq::jinja {

class Runtime {
 public:
  // `where` begins every message. `now` is what strftime_now shows.
  Runtime(std::string_view where, const Limits& limits, const std::tm& now)
      : limits_(limits), where_(where), now_(now) {}
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;
  ~Runtime();

  [[nodiscard]] const Limits& limits() const { return limits_; }
  [[nodiscard]] const std::tm& now() const { return now_; }
  void at_line(int line) { line_ = line; }
  [[nodiscard]] int line() const { return line_; }

  // Errors that name the place. What a template does wrong with its input is kInvalidArgument.
  [[nodiscard]] tl::unexpected<Error> error(std::string_view what) const;
  [[nodiscard]] tl::unexpected<Error> unsupported(std::string_view what) const;
  // The template's own complaint (raise_exception), without a line.
  [[nodiscard]] tl::unexpected<Error> complaint(std::string_view message) const;

  // Errors of all of these: kInvalidArgument when a bound is exceeded.
  [[nodiscard]] Status spend(uint64_t steps);
  [[nodiscard]] Status touch(size_t bytes) { return spend(1 + bytes / 16); }
  // A text is about to have that many bytes.
  [[nodiscard]] Status expect_text(unsigned __int128 bytes) const;
  [[nodiscard]] Result<Value> text(MarkedText marked);
  [[nodiscard]] Result<Value> text(std::string_view bytes, Origin origin) {
    return text(MarkedText(bytes, origin));
  }
  [[nodiscard]] Result<Value> sequence(std::vector<Value> items,
                                       Sequence::Flavor flavor = Sequence::Flavor::kList);
  // Of equal keys the first keeps its place and the last its value. Errors: an unhashable key.
  [[nodiscard]] Result<Value> dict(std::vector<Dict::Entry> entries);
  [[nodiscard]] Result<std::shared_ptr<Namespace>> make_namespace();
  // Integers of Python have no bound, ours do.
  [[nodiscard]] Result<Value> integer(__int128 value) const;

 private:
  [[nodiscard]] Result<Charge> hold(size_t bytes);

  const Limits& limits_;
  Memory memory_;  // before all that holds values
  std::string_view where_;
  std::tm now_;
  int line_ = 1;
  uint64_t steps_ = 0;
  // Namespaces can hold each other: they are emptied at the end.
  std::vector<std::shared_ptr<Namespace>> namespaces_;
};

}  // namespace hlwq::jinja
