#include "format/evidence.h"

#include <fmt/format.h>

namespace hlwq {

Status Evidence::add(int64_t value, std::string_view source) {
  if (value < 1)
    return fail(ErrorCode::kBadLayout,
                fmt::format("{}: {} is {} by {}", layer_, quantity_, value, source));
  if (value_ && *value_ != value)
    return fail(ErrorCode::kBadLayout, fmt::format("{}: {} is {} by {} and {} by {}", layer_,
                                                   quantity_, *value_, source_, value, source));
  if (!value_) {
    value_ = value;
    source_ = source;
  }
  return {};
}

}  // namespace hlwq
