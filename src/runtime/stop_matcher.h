#pragma once
// Stop strings in a stream of text pieces, wherever the pieces are cut.

#include <string>
#include <string_view>
#include <vector>

namespace hlwq {

class StopMatcher {
 public:
  // None of the strings may be empty.
  explicit StopMatcher(std::vector<std::string> stops);

  // Takes the next piece and returns the text that is now certain: nothing that a stop string could
  // still begin in, and nothing from a stop string on. The stop string that ends first in the text
  // counts (the longest of those), so the result does not depend on how the text is cut.
  [[nodiscard]] std::string push(std::string_view piece);
  [[nodiscard]] bool matched() const { return matched_; }
  // What was held back, once no more text follows; empty after a match.
  [[nodiscard]] std::string finish();

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool matched_ = false;
};

}  // namespace hlwq
