#pragma once
// Results of a back end where host code can read them.

#include <cstdint>
#include <span>
#include <vector>

#include "ops/backend.h"

namespace hlwq {

// Rows in host memory: the back end's own where that is the host's, else a copy, which keeps its
// room for the next one.
class HostRows {
 public:
  // Waits for the ops before it. The view is valid until the next call, and while `rows` are.
  F32View read(Backend& backend, F32View rows);

 private:
  std::vector<float> copy_;
};

}  // namespace hlwq
