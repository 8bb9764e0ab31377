// Any text as JSON: a refusal, or a document that reads back the same from its own text.
// Links: hlwq::io

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/utf8.h"
#include "io/json.h"

namespace {

// nlohmann writes non-finite numbers as null, so such a document is not compared.
bool is_finite(const hlwq::Json& json) {
  if (json.is_number_float()) return std::isfinite(json.get<double>());
  if (!json.is_structured()) return true;
  for (const hlwq::Json& child : json)
    if (!is_finite(child)) return false;
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  const std::string_view text(reinterpret_cast<const char*>(data), bytes);
  const hlwq::Result<hlwq::Json> json = hlwq::parse_json(text, "input");
  if (!json) {
    if (json.error().code != hlwq::ErrorCode::kBadHeader) std::abort();
    if (!hlwq::is_utf8(json.error().message)) std::abort();
    return 0;
  }
  if (!is_finite(*json)) return 0;
  const hlwq::Result<hlwq::Json> again = hlwq::parse_json(json->dump(), "dump");
  if (!again || *again != *json) std::abort();
  return 0;
}
