#include "base/units.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>

namespace hlwq {
namespace {

struct Unit {
  std::string_view name;
  double bytes;
};

constexpr std::array kUnits = {
    Unit{"", 1},
    Unit{"b", 1},
    Unit{"kb", 1e3},
    Unit{"mb", 1e6},
    Unit{"gb", 1e9},
    Unit{"tb", 1e12},
    Unit{"kib", 1024.0},
    Unit{"mib", 1048576.0},
    Unit{"gib", 1073741824.0},
    Unit{"tib", 1099511627776.0},
};

}  // namespace

Result<int64_t> parse_bytes(std::string_view text) {
  double value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  const auto bad = [&](std::string_view why) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("byte count '{}': {}; wanted a number with B, KB, MB, GB, TB, KiB, MiB, "
                    "GiB or TiB, such as 7.6GB",
                    text, why));
  };
  if (ec != std::errc() || !std::isfinite(value) || value < 0) return bad("no number");
  std::string unit;
  for (const char* p = end; p != text.data() + text.size(); ++p)
    if (*p != ' ') unit += static_cast<char>(*p >= 'A' && *p <= 'Z' ? *p - 'A' + 'a' : *p);
  for (const Unit& u : kUnits) {
    if (u.name != unit) continue;
    const double bytes = value * u.bytes;
    if (bytes >= 0x1p63) return bad("too large");
    return static_cast<int64_t>(std::llround(bytes));
  }
  return bad("unknown unit");
}

std::string format_bytes(int64_t bytes) {
  constexpr std::array<std::string_view, 5> kNames = {"B", "KB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (std::abs(value) >= 999.5 && unit + 1 < kNames.size()) {
    value /= 1000;
    ++unit;
  }
  if (unit == 0) return fmt::format("{} B", bytes);
  const int digits = std::abs(value) >= 99.95 ? 0 : std::abs(value) >= 9.995 ? 1 : 2;
  return fmt::format("{:.{}f} {}", value, digits, kNames[unit]);
}

}  // namespace hlwq
