#include "calibrate/allocate_bits.h"

#include <fmt/format.h>

namespace hlwq {

Result<BitAllocation> allocate_bits(const std::vector<KindSensitivity>& kinds, int probe_bits,
                                    double target) {
  double weights = 0, used = 0;
  for (const KindSensitivity& kind : kinds) {
    weights += static_cast<double>(kind.weights);
    used += static_cast<double>(kind.bits_at(kLeastBits));
  }
  if (weights == 0) return fail(ErrorCode::kInvalidArgument, "no matrix to allocate bits to");
  if (used > target * weights)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{:.3f} bits a weight: {} bits everywhere take {:.3f} already", target,
                            kLeastBits, used / weights));
  std::vector<int> bits(kinds.size(), kLeastBits);
  for (;;) {
    // A step may skip widths: what an odd one buys little of, the next may make up for.
    double best_rate = 0, best_cost = 0;
    size_t best = kinds.size();
    int best_width = 0;
    for (size_t k = 0; k < kinds.size(); ++k) {
      const KindSensitivity& kind = kinds[k];
      for (int width = bits[k] + 1; width <= kMostBits; ++width) {
        const auto cost = static_cast<double>(kind.bits_at(width) - kind.bits_at(bits[k]));
        if (used + cost > target * weights) break;
        const double gain = kind.kl_at(bits[k], probe_bits) - kind.kl_at(width, probe_bits);
        if (gain / cost > best_rate) {
          best_rate = gain / cost;
          best_cost = cost;
          best = k;
          best_width = width;
        }
      }
    }
    if (best == kinds.size()) break;
    bits[best] = best_width;
    used += best_cost;
  }
  BitAllocation allocation;
  allocation.bits_per_weight = used / weights;
  for (size_t k = 0; k < kinds.size(); ++k) {
    allocation.bits_of_kind[kinds[k].kind] = bits[k];
    allocation.expected_kl += kinds[k].kl_at(bits[k], probe_bits);
  }
  return allocation;
}

}  // namespace hlwq
