#pragma once
// The pinned arithmetic of rotary positions: two roundings of products and one of their sum for
// each element, so that every back end gives the same bits from one table.

#include "base/host_device.h"

namespace hlwq {

struct TurnedPair {
  float first, second;
};

// (first, second) turned by an angle.
HLWQ_HD inline TurnedPair turn_pair(float first, float second, float cosine, float sine) {
  return {first * cosine - second * sine, second * cosine + first * sine};
}

}  // namespace hlwq
