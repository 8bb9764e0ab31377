#include "runtime/stop_matcher.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace hlwq {

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_) HLWQ_CHECK(!stop.empty());
}

std::string StopMatcher::push(std::string_view piece) {
  if (matched_) return {};
  held_ += piece;
  size_t match_begin = std::string::npos, match_end = std::string::npos;
  for (const std::string& stop : stops_) {
    const size_t begin = held_.find(stop);
    if (begin == std::string::npos) continue;
    const size_t end = begin + stop.size();
    if (end < match_end || (end == match_end && begin < match_begin)) {
      match_begin = begin;
      match_end = end;
    }
  }
  if (match_end != std::string::npos) {
    matched_ = true;
    std::string certain = held_.substr(0, match_begin);
    held_.clear();
    return certain;
  }
  // The longest suffix that begins some stop string stays.
  size_t keep = 0;
  for (const std::string& stop : stops_) {
    for (size_t n = std::min(stop.size() - 1, held_.size()); n > keep; --n) {
      if (held_.compare(held_.size() - n, n, stop, 0, n) == 0) {
        keep = n;
        break;
      }
    }
  }
  std::string certain = held_.substr(0, held_.size() - keep);
  held_.erase(0, certain.size());
  return certain;
}

std::string StopMatcher::finish() { return std::exchange(held_, {}); }

}  // namespace hlwq
