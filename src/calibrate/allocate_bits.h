#pragma once
// Which kind of matrices gets how many bits.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "calibrate/sensitivity.h"

namespace hlwq {

struct BitAllocation {
  std::map<std::string, int, std::less<>> bits_of_kind;
  double bits_per_weight = 0;  // codes, norms and padding over the weights proper
  double expected_kl = 0;      // nats: the sum over kinds, were their errors independent
};

// The widths of least expected KL that stay within `target` bits a weight: from the least width on,
// the step that buys the most KL a bit is taken while it fits. Errors: kInvalidArgument (a target
// that the least width exceeds; nothing to allocate).
[[nodiscard]] Result<BitAllocation> allocate_bits(const std::vector<KindSensitivity>& kinds,
                                                  int probe_bits, double target);

}  // namespace hlwq
