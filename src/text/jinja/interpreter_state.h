#pragma once
// What the interpreter's parts hold while they run something.

#include <utility>

#include "text/jinja/interpreter.h"

namespace hlwq::jinja {

// One more expression or statement under evaluation.
class Interpreter::Depth {
 public:
  explicit Depth(Interpreter& interpreter) : interpreter_(interpreter) { ++interpreter_.depth_; }
  ~Depth() { --interpreter_.depth_; }
  Depth(const Depth&) = delete;
  Depth& operator=(const Depth&) = delete;
  // Errors: too many, or too many steps.
  [[nodiscard]] Status check(int line) {
    interpreter_.runtime_.at_line(line);
    if (interpreter_.depth_ > interpreter_.runtime_.limits().call_depth)
      return interpreter_.runtime_.error("calls and expressions nested too deep");
    return interpreter_.runtime_.spend(1);
  }

 private:
  Interpreter& interpreter_;
};

// A scope that is the current one for a while.
class Interpreter::Inside {
 public:
  Inside(Interpreter& interpreter, std::shared_ptr<Scope> parent)
      : interpreter_(interpreter),
        before_(std::exchange(interpreter.scope_, std::make_shared<Scope>(std::move(parent)))) {}
  ~Inside() { interpreter_.scope_ = std::move(before_); }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;

 private:
  Interpreter& interpreter_;
  std::shared_ptr<Scope> before_;
};

}  // namespace hlwq::jinja
