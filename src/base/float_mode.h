#pragma once
// The floating-point environment that the pinned arithmetic counts on: rounding to nearest, no
// flushing of subnormals. A host program (or a library it loaded) may have changed it for its
// thread, and new threads inherit that.

#include <cfenv>

namespace hlwq {

// Sets the default environment for this thread and restores the old one at the end of the scope.
class PinnedFloatMode {
 public:
  PinnedFloatMode() {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~PinnedFloatMode() { std::fesetenv(&saved_); }
  PinnedFloatMode(const PinnedFloatMode&) = delete;
  PinnedFloatMode& operator=(const PinnedFloatMode&) = delete;

 private:
  std::fenv_t saved_;
};

}  // namespace hlwq
