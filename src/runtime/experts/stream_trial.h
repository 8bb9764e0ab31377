#pragma once
// Whether the host's help makes the layers of streamed steps faster: both ways are tried, the
// faster one is taken, and the other is looked at again now and then.

#include <cstdint>

namespace hlwq {

class StreamTrial {
 public:
  // Whether the next layer is to have help.
  [[nodiscard]] bool next_with_help() {
    const bool both_known = help_.samples >= kLeast && alone_.samples >= kLeast;
    if (!both_known) return help_.samples <= alone_.samples;
    const bool better = help_.seconds < alone_.seconds;
    return ++layers_ % kLookEvery == 0 ? !better : better;
  }
  // A layer took so long for each expert it had to get.
  void note(bool with_help, double seconds) {
    Way& way = with_help ? help_ : alone_;
    way.seconds = way.samples == 0 ? seconds : way.seconds + kWeight * (seconds - way.seconds);
    ++way.samples;
  }
  // Whether help was found to make layers slower.
  [[nodiscard]] bool help_hinders() const {
    return help_.samples >= kLeast && alone_.samples >= kLeast && help_.seconds >= alone_.seconds;
  }

 private:
  static constexpr int64_t kLeast = 4, kLookEvery = 24;
  static constexpr double kWeight = 1.0 / 8;
  struct Way {
    double seconds = 0;  // running mean
    int64_t samples = 0;
  };
  Way help_, alone_;
  int64_t layers_ = 0;
};

}  // namespace hlwq
