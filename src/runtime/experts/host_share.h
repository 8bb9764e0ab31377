#pragma once
// How the experts of a step that are in no slot are split between the bus and the host, so that
// both are done at the same time: by what each was seen to take. Some steps leave all to the bus;
// when those are faster, the host gets nothing for a while. Changing shares changes no bits.

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace hlwq {

struct HostShareOptions {
  int64_t experts = 0;               // of a layer
  double host_s = 0;                 // for an expert, to begin with
  double bus_s = 0;                  // for a record, to begin with
  std::optional<double> fixed = {};  // part of the experts for the host, 0 to 1; none: as measured
};

class HostShare {
 public:
  static constexpr int64_t kMostTokens = 64;  // of a step
  explicit HostShare(const HostShareOptions& options);

  // Of m experts, m up to `experts`, how many the host gets. Constant when the share is fixed.
  [[nodiscard]] std::span<const int32_t> shares() const { return shares_; }
  [[nodiscard]] const std::optional<double>& fixed() const { return options_.fixed; }

  // What was seen: the host took so long for so many experts; the bus for so many records.
  void note_host(int64_t experts, double seconds);
  void note_bus(int64_t records, double seconds);
  // A whole step of so many tokens took so long, with so many experts in no slot.
  void note_step(int64_t tokens, int64_t misses, double seconds);
  // Between steps: whether shares() changed.
  [[nodiscard]] bool update();

  // Whether the step at hand is one of a pause of which nothing is to be learned: the host need not
  // even watch it. rest() is then called in place of what was seen.
  [[nodiscard]] bool rests() const;
  void rest() { --back_for_; }

  // What a layer of a step takes beside its products when m of its experts are in no slot.
  [[nodiscard]] double seconds(int64_t misses) const;
  [[nodiscard]] double host_s() const { return host_s_; }
  [[nodiscard]] double bus_s() const { return bus_s_; }
  // Whether steps were found to be faster without the host, last time both were tried.
  [[nodiscard]] bool host_hinders() const { return hinders_; }

 private:
  // Steps of one number of tokens without the host: what they take beside the bus.
  struct Alone {
    double rest_s = 0;
    int64_t steps = 0;
  };
  void split();
  // Leaves all to the bus for so many steps.
  void stand_back(int64_t steps);
  // Both at work, so many of the misses on the host.
  [[nodiscard]] double seconds(int64_t misses, int64_t on_host) const;

  HostShareOptions options_;
  double host_s_, bus_s_;              // now
  double bus_alone_s_;                 // when the host reads nothing
  double split_host_s_, split_bus_s_;  // when shares_ were made
  std::vector<int32_t> shares_;

  std::array<Alone, kMostTokens + 1> alone_;
  bool stands_back_ = false, changed_ = false, hinders_ = false;
  int64_t back_for_ = 0;      // steps left
  int64_t next_pause_ = 0;    // steps to stand back when the host hinders again
  int64_t judged_steps_ = 0;  // so far, of a window
  double with_s_ = 0, without_s_ = 0;
};

}  // namespace hlwq
