#pragma once

#include <cstddef>

namespace hlwq {

// Bytes [begin, end) of some text.
struct ByteRange {
  size_t begin = 0;
  size_t end = 0;
  bool operator==(const ByteRange&) const = default;
};

}  // namespace hlwq
