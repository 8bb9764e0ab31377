#include <cmath>
#include <limits>

#include "quant/encode.h"

namespace hlwq {

double Distortion::cosine() const {
  if (ww == 0 && dd == 0) return 1;
  if (ww == 0 || dd == 0) return 0;
  return wd / (std::sqrt(ww) * std::sqrt(dd));
}

double Distortion::snr_db() const {
  // Rounding of the three sums may leave a difference of equals a little below zero.
  const double noise = ww - 2 * wd + dd;
  if (noise <= 0) return std::numeric_limits<double>::infinity();
  return 10 * std::log10(ww / noise);
}

}  // namespace hlwq
