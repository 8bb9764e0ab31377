#include "runtime/experts/host_share.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"

namespace hlwq {
namespace {

// Of a sample in the running mean; one token of 23 layers is most of it.
constexpr double kWeight = 1.0 / 16;
// A thread that was not scheduled for once says little about the next time; often, it says much.
constexpr double kMostOfMean = 8.0;
// What asking, waking, answering and taking the answer cost beside the work, measured on an H200's
// host (bench/NOTES.md).
constexpr double kHandOffSeconds = 12e-6;
// Shares stay as they are until a mean moved by this much, so that noise does not move them.
constexpr double kHysteresis = 0.08;
// The host must spare this part of the time to get anything.
constexpr double kLeastGain = 0.03;
// Steps without the host that say what it is worth, and steps with it that are held against them.
constexpr int64_t kAloneSteps = 3, kWindow = 8;
// How long the host stands back when it hinders: longer each time, up to a point.
constexpr int64_t kFirstPause = 64, kLongestPause = 2048;

void add_to_mean(double sample, double& mean) {
  mean += kWeight * (std::min(sample, kMostOfMean * mean) - mean);
}

bool moved(double now, double then) { return std::abs(now - then) > kHysteresis * then; }

}  // namespace

HostShare::HostShare(const HostShareOptions& options)
    : options_(options),
      host_s_(options.host_s),
      bus_s_(options.bus_s),
      bus_alone_s_(options.bus_s),
      split_host_s_(options.host_s),
      split_bus_s_(options.bus_s),
      shares_(static_cast<size_t>(options.experts) + 1),
      next_pause_(kFirstPause) {
  split();
}

void HostShare::note_host(int64_t experts, double seconds) {
  if (experts > 0) add_to_mean(seconds / static_cast<double>(experts), host_s_);
}

void HostShare::note_bus(int64_t records, double seconds) {
  if (records > 0)
    add_to_mean(seconds / static_cast<double>(records), stands_back_ ? bus_alone_s_ : bus_s_);
}

double HostShare::seconds(int64_t misses, int64_t on_host) const {
  const double by_host =
      on_host == 0 ? 0 : kHandOffSeconds + static_cast<double>(on_host) * host_s_;
  return std::max(by_host, static_cast<double>(misses - on_host) * bus_s_);
}

double HostShare::seconds(int64_t misses) const {
  return seconds(misses, shares_[static_cast<size_t>(misses)]);
}

void HostShare::split() {
  split_host_s_ = host_s_;
  split_bus_s_ = bus_s_;
  for (size_t m = 0; m < shares_.size(); ++m) {
    if (options_.fixed) {
      shares_[m] = static_cast<int32_t>(std::lround(*options_.fixed * static_cast<double>(m)));
      continue;
    }
    // The best split is where both take as long, or one expert beside it.
    const auto all = static_cast<int64_t>(m);
    const double even = static_cast<double>(m) * bus_s_ / (bus_s_ + host_s_);
    int64_t best = 0;
    for (int64_t host = std::max<int64_t>(static_cast<int64_t>(even) - 1, 0);
         host <= std::min<int64_t>(static_cast<int64_t>(even) + 1, all); ++host)
      if (seconds(all, host) < (best == 0 ? 1.0 - kLeastGain : 1.0) * seconds(all, best))
        best = host;
    shares_[m] = static_cast<int32_t>(best);
  }
  changed_ = true;
}

void HostShare::stand_back(int64_t steps) {
  stands_back_ = true;
  back_for_ = steps;
  std::fill(shares_.begin(), shares_.end(), 0);
  changed_ = true;
}

// The last steps of a pause say once more what steps take without the host.
bool HostShare::rests() const { return stands_back_ && back_for_ > kAloneSteps; }

void HostShare::note_step(int64_t tokens, int64_t misses, double seconds) {
  HLWQ_CHECK(tokens >= 1 && tokens <= kMostTokens);
  if (options_.fixed) return;
  Alone& alone = alone_[static_cast<size_t>(tokens)];
  const double by_bus = static_cast<double>(misses) * bus_alone_s_;
  if (stands_back_) {
    const double rest = seconds - by_bus;
    alone.rest_s = alone.steps == 0 ? rest : alone.rest_s + (rest - alone.rest_s) / 4;
    ++alone.steps;
    if (--back_for_ > 0) return;
    stands_back_ = false;
    judged_steps_ = 0;
    with_s_ = without_s_ = 0;
    split();
    return;
  }
  if (alone.steps < kAloneSteps) return stand_back(kAloneSteps);
  with_s_ += seconds;
  without_s_ += alone.rest_s + by_bus;
  if (++judged_steps_ < kWindow) return;
  hinders_ = with_s_ > (1.0 - kLeastGain) * without_s_;
  judged_steps_ = 0;
  with_s_ = without_s_ = 0;
  if (!hinders_) {
    next_pause_ = kFirstPause;
    return;
  }
  stand_back(next_pause_);
  next_pause_ = std::min(2 * next_pause_, kLongestPause);
}

bool HostShare::update() {
  if (!options_.fixed && !stands_back_ &&
      (moved(host_s_, split_host_s_) || moved(bus_s_, split_bus_s_)))
    split();
  return std::exchange(changed_, false);
}

}  // namespace hlwq
