// Any text as polar_config.json: a refusal, or a configuration whose numbers are in range.
// Links: hlwq::format

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "format/polar_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  const std::string_view text(reinterpret_cast<const char*>(data), bytes);
  const auto config = hlwq::parse_polar_config(text, "input");
  if (!config) {
    if (config.error().message.empty()) std::abort();
    return 0;
  }
  if (config->bits && *config->bits < 1) std::abort();
  for (const auto& [prefix, row] : config->layers) {
    for (const auto& number : {row.in_features, row.out_features, row.padded, row.blocks}) {
      if (number && *number < 1) std::abort();
    }
    if (config->row({prefix}) != &row) std::abort();
  }
  return 0;
}
