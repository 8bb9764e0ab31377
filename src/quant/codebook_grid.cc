// The best table on the half-offset int8 grid (design D1: the levels that integer products can
// use).

#include <array>
#include <cmath>
#include <limits>

#include "quant/codebook_build.h"
#include "quant/gaussian.h"

namespace hlwq {
namespace {

constexpr int kGridLevels = 128;  // non-negative v

using PositiveLevels = std::vector<int>;  // v ascending, 0..127

struct Choice {
  PositiveLevels v;
  double mse = std::numeric_limits<double>::infinity();
};

// The best `half` of the 128 positive grid levels for one step, by dynamic programming: the error
// splits into the stretches between neighbouring chosen levels. Everything happens at multiples of
// step/2 (levels at odd ones, midpoints at any), so the normal's moments are tabulated there once.
class BestLevels {
 public:
  BestLevels(int half, double step) : half_(half), step_(step) {
    for (size_t i = 0; i < mass_.size(); ++i) {
      const double x = static_cast<double>(i) * step / 2;
      mass_[i] = normal_mass(0, x);
      first_[i] = normal_density(0) - normal_density(x);
      second_[i] = mass_[i] - x * normal_density(x);
    }
  }

  [[nodiscard]] Choice find() const {
    // The j-th chosen level can be v in [j, j + slack].
    const int slack = kGridLevels - half_;
    const auto width = static_cast<size_t>(slack + 1);
    std::vector<double> least(width);  // error from 0 to the j-th level when it is j + offset
    for (int o = 0; o <= slack; ++o) least[static_cast<size_t>(o)] = error(o, 0, 2 * o + 1);
    std::vector<int> came_from(static_cast<size_t>(half_) * width);
    std::vector<double> next(width);
    for (int j = 1; j < half_; ++j) {
      for (int o = 0; o <= slack; ++o) {
        double best = std::numeric_limits<double>::infinity();
        int from = 0;
        for (int p = 0; p <= o; ++p) {
          const double e = least[static_cast<size_t>(p)] + between(j - 1 + p, j + o);
          if (e < best) {
            best = e;
            from = p;
          }
        }
        next[static_cast<size_t>(o)] = best;
        came_from[static_cast<size_t>(j) * width + static_cast<size_t>(o)] = from;
      }
      least.swap(next);
    }
    Choice choice;
    int last = 0;
    for (int o = 0; o <= slack; ++o) {
      const double e = 2 * (least[static_cast<size_t>(o)] + beyond(half_ - 1 + o));
      if (e < choice.mse) {
        choice.mse = e;
        last = o;
      }
    }
    choice.v.resize(static_cast<size_t>(half_));
    for (int j = half_ - 1; j >= 0; --j) {
      choice.v[static_cast<size_t>(j)] = j + last;
      last = came_from[static_cast<size_t>(j) * width + static_cast<size_t>(last)];
    }
    return choice;
  }

 private:
  // Integral of (x - level v)^2 from half-steps `low` to `high`.
  [[nodiscard]] double error(int v, int low, int high) const {
    const double c = (v + 0.5) * step_;
    const auto l = static_cast<size_t>(low), h = static_cast<size_t>(high);
    return second_[h] - second_[l] - 2 * c * (first_[h] - first_[l]) +
           c * c * (mass_[h] - mass_[l]);
  }
  [[nodiscard]] double between(int a, int b) const {
    return error(a, 2 * a + 1, a + b + 1) + error(b, a + b + 1, 2 * b + 1);
  }
  [[nodiscard]] double beyond(int v) const {
    const double c = (v + 0.5) * step_;
    const auto l = static_cast<size_t>(2 * v + 1);
    return 0.5 - second_[l] - 2 * c * (normal_density(0) - first_[l]) + c * c * (0.5 - mass_[l]);
  }

  int half_;
  double step_;
  // Integrals of 1, x and x^2 from 0 to i*step/2.
  std::array<double, 2 * kGridLevels> mass_{}, first_{}, second_{};
};

Levels levels_of(const PositiveLevels& v, float step) {
  Levels levels;
  for (size_t k = v.size(); k-- > 0;) levels.push_back(-(static_cast<float>(v[k]) + 0.5f) * step);
  for (const int x : v) levels.push_back((static_cast<float>(x) + 0.5f) * step);
  return levels;
}

// Golden-section search for the step of least error, v fixed, within 1 % of `step`.
double refine_step(const PositiveLevels& v, double step) {
  const auto mse = [&](double s) {
    std::vector<double> levels;
    for (size_t k = v.size(); k-- > 0;) levels.push_back(-(v[k] + 0.5) * s);
    for (const int x : v) levels.push_back((x + 0.5) * s);
    return gaussian_mse_of(levels);
  };
  constexpr double kGolden = 0.6180339887498949;
  double low = 0.99 * step, high = 1.01 * step;
  while (high - low > 1e-6 * step) {
    const double a = high - kGolden * (high - low), b = low + kGolden * (high - low);
    if (mse(a) < mse(b))
      high = b;
    else
      low = a;
  }
  return (low + high) / 2;
}

}  // namespace

float round_to_16_bits(double x) {
  int exponent = 0;
  const double fraction = std::frexp(x, &exponent);  // [1/2, 1)
  return static_cast<float>(std::ldexp(std::nearbyint(std::ldexp(fraction, 16)), exponent - 16));
}

Levels grid_levels(int bits) {
  const int half = 1 << (bits - 1);
  // Around the step that puts the optimal outermost level at v = 127. A longer step wastes range, a
  // shorter one clips.
  constexpr int kSteps = 200;
  const double middle = optimal_levels(bits).back() / 127.5;
  Choice best;
  double step = middle;
  for (int i = 0; i < kSteps; ++i) {
    const double trial = middle * 0.7 * std::pow(2.0, static_cast<double>(i) / kSteps);
    if (Choice c = BestLevels(half, trial).find(); c.mse < best.mse) {
      best = std::move(c);
      step = trial;
    }
  }
  return levels_of(best.v, round_to_16_bits(refine_step(best.v, step)));
}

}  // namespace hlwq
