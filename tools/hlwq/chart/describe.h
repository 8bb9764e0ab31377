#pragma once
// Words and units that charts and cards share.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "chart/results.h"

namespace hlwq::chart {

// "hlwq 0.1.0; tiny-q5; cpu, avx512 kernels, 2 threads": each different value once.
[[nodiscard]] std::string source_line(std::span<const Origin> origins);

// Different texts, in the order met: "a, b". Empty ones are left out; after the third "and 2 more".
[[nodiscard]] std::string join_distinct(std::vector<std::string> texts);

// 1e9 bytes are a GB, 1e6 a MB: the unit that shows `most_bytes` well.
struct ByteUnit {
  double bytes = 1e9;
  std::string name = "GB";
};
[[nodiscard]] ByteUnit unit_for(double most_bytes);

// Bytes that the keys and values of `tokens` tokens take at `bits`: 16-bit entries, or codes with a
// scale of 2 bytes for each head's vector.
[[nodiscard]] double kv_bytes(const KvShape& shape, int bits, double tokens);

}  // namespace hlwq::chart
