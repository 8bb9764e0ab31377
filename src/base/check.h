#pragma once
// Our own broken promises. Thrown, and caught once, at the C++/C/Python/server edge; never used for
// input from outside (that is result.h).

#include <stdexcept>
#include <string>

namespace hlwq {

class BrokenPromise : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

[[noreturn]] inline void throw_broken_promise(const char* file, int line, const char* what) {
  throw BrokenPromise(std::string(file) + ":" + std::to_string(line) + ": " + what);
}

}  // namespace hlwq

#define HLWQ_CHECK(condition)                                                          \
  do {                                                                                 \
    if (!(condition)) [[unlikely]]                                                     \
      ::hlwq::throw_broken_promise(__FILE__, __LINE__, "broken promise: " #condition); \
  } while (false)
