#pragma once
// Which rows of a step meet the experts that the host multiplies.

#include <cstdint>
#include <span>
#include <vector>

#include "ops/matrix.h"

namespace hlwq {

struct HostPairs {
  std::vector<Mlp> experts;
  std::vector<int32_t> begin;    // [experts + 1] first pair of each
  std::vector<int32_t> tokens;   // [pairs]
  std::vector<int32_t> choices;  // [pairs] index into the router's ids

  [[nodiscard]] int64_t pairs() const { return static_cast<int64_t>(choices.size()); }
  // Those of `wanted`, ascending, of a layer's experts, among the ids of tokens that use `used`
  // each.
  void gather(std::span<const Mlp> layer, std::span<const int32_t> wanted,
              std::span<const int32_t> ids, int64_t used);

 private:
  std::vector<int32_t> place_;  // [experts of the layer] number among the wanted, or -1
};

}  // namespace hlwq
