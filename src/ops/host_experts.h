#pragma once
// Who multiplies experts on the host for a device that hands them over in the middle of a step
// (expert_mail.h). The runtime implements it, back ends call it.

#include "ops/expert_mail.h"

namespace hlwq {

// The questions of one step, or of as much of it as was given to the device.
class ExpertQuestions {
 public:
  virtual ~ExpertQuestions() = default;
  // How many there are in all, each of a step of so many tokens.
  [[nodiscard]] virtual int64_t count() const = 0;
  [[nodiscard]] virtual int64_t tokens() const = 0;
  // Waits until the mail holds a question with work; false when none is left.
  [[nodiscard]] virtual bool next() = 0;
  // The mail holds the answer to it.
  virtual void answer() = 0;
};

class HostExperts {
 public:
  virtual ~HostExperts() = default;
  [[nodiscard]] virtual const ExpertMail& mail() const = 0;
  // Answers all of them. Called on the thread that runs the step, while the device runs it.
  virtual void serve(ExpertQuestions& questions) = 0;
};

}  // namespace hlwq
