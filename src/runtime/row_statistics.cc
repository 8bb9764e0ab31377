#include "runtime/row_statistics.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/check.h"

namespace hlwq {
namespace {

// Two lanes: what every x86-64 has; two vectors a turn hide the latency of the sums.
using Double2 = double __attribute__((vector_size(16)));
using Int2 = int64_t __attribute__((vector_size(16)));

constexpr double kLog2E = 1.4426950408889634;
constexpr double kLn2High = 6.93147180369123816490e-01;  // 32 bits, times an integer exact
constexpr double kLn2Low = 1.90821492927058770002e-10;
constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to integers
constexpr double kLeast = -708.0;              // e^-708 is the last normal double

// e^x for x <= 0, relative error below 1e-12 (Taylor to x^10 on [-ln2/2, ln2/2]); below -708 it
// stays at e^-708, which no sum of ours can see.
inline Double2 exp_of_negative(Double2 x) {
  const Double2 least = {kLeast, kLeast};
  x = x < least ? least : x;
  const Double2 shifted = x * kLog2E + kRound;
  const Double2 n = shifted - kRound;
  const Double2 r = (x - n * kLn2High) - n * kLn2Low;
  Double2 p = r * (1.0 / 3628800) + (1.0 / 362880);
  p = p * r + (1.0 / 40320);
  p = p * r + (1.0 / 5040);
  p = p * r + (1.0 / 720);
  p = p * r + (1.0 / 120);
  p = p * r + (1.0 / 24);
  p = p * r + (1.0 / 6);
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  // The low bits of `shifted` hold n; moved to the exponent they multiply by 2^n.
  return std::bit_cast<Double2>(std::bit_cast<Int2>(p) + (std::bit_cast<Int2>(shifted) << 52));
}

inline Double2 widen(const float* x) { return Double2{x[0], x[1]}; }

float largest_of(std::span<const float> row) {
  using Float4 = float __attribute__((vector_size(16)));
  size_t i = 0;
  float largest = row[0];
  if (row.size() >= 4) {
    Float4 lanes = {row[0], row[1], row[2], row[3]};
    for (; i + 4 <= row.size(); i += 4) {
      const Float4 next = {row[i], row[i + 1], row[i + 2], row[i + 3]};
      lanes = next > lanes ? next : lanes;
    }
    largest = std::max({lanes[0], lanes[1], lanes[2], lanes[3]});
  }
  for (; i < row.size(); ++i) largest = std::max(largest, row[i]);
  return largest;
}

double sum_of_exponentials(std::span<const float> row, double largest) {
  Double2 sum0 = {0, 0}, sum1 = {0, 0};
  size_t i = 0;
  for (; i + 4 <= row.size(); i += 4) {
    sum0 += exp_of_negative(widen(&row[i]) - largest);
    sum1 += exp_of_negative(widen(&row[i + 2]) - largest);
  }
  double sum = (sum0[0] + sum0[1]) + (sum1[0] + sum1[1]);
  for (; i < row.size(); ++i) sum += std::exp(row[i] - largest);
  return sum;
}

size_t first_index_of(std::span<const float> row, float value) {
  return static_cast<size_t>(std::find(row.begin(), row.end(), value) - row.begin());
}

}  // namespace

double negative_log_likelihood(std::span<const float> logits, int64_t target) {
  HLWQ_CHECK(target >= 0 && static_cast<size_t>(target) < logits.size());
  const double largest = largest_of(logits);
  return std::log(sum_of_exponentials(logits, largest)) + largest -
         static_cast<double>(logits[static_cast<size_t>(target)]);
}

// With S = sum e^(r - max r) and D = sum e^(r - max r) (r - x):
// KL = D / S - (log-sum-exp of r - log-sum-exp of x).
RowComparison compare_rows(std::span<const float> reference, std::span<const float> logits,
                           int64_t target) {
  HLWQ_CHECK(reference.size() == logits.size());
  HLWQ_CHECK(target >= 0 && static_cast<size_t>(target) < logits.size());
  const float top_reference = largest_of(reference), top = largest_of(logits);
  const double largest = top_reference;
  Double2 sum0 = {0, 0}, sum1 = {0, 0}, weighted0 = {0, 0}, weighted1 = {0, 0};
  size_t i = 0;
  for (; i + 4 <= reference.size(); i += 4) {
    const Double2 r0 = widen(&reference[i]), r1 = widen(&reference[i + 2]);
    const Double2 e0 = exp_of_negative(r0 - largest), e1 = exp_of_negative(r1 - largest);
    sum0 += e0;
    sum1 += e1;
    weighted0 += e0 * (r0 - widen(&logits[i]));
    weighted1 += e1 * (r1 - widen(&logits[i + 2]));
  }
  double sum = (sum0[0] + sum0[1]) + (sum1[0] + sum1[1]);
  double weighted = (weighted0[0] + weighted0[1]) + (weighted1[0] + weighted1[1]);
  for (; i < reference.size(); ++i) {
    const double r = reference[i];
    const double e = std::exp(r - largest);
    sum += e;
    weighted += e * (r - logits[i]);
  }
  const double log_sum_reference = std::log(sum) + largest;
  const double log_sum = std::log(sum_of_exponentials(logits, top)) + top;
  return {.kl = weighted / sum - (log_sum_reference - log_sum),
          .same_top = first_index_of(reference, top_reference) == first_index_of(logits, top),
          .nll = log_sum - static_cast<double>(logits[static_cast<size_t>(target)]),
          .reference_nll =
              log_sum_reference - static_cast<double>(reference[static_cast<size_t>(target)])};
}

}  // namespace hlwq
