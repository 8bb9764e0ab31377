#include "text/byte_level.h"

#include <array>
#include <cstdint>

#include "base/utf8.h"

namespace hlwq {
namespace {

constexpr bool stands_for_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr int kStandIns = 256 + 68;

struct Tables {
  std::array<uint16_t, 256> code_point_of{};
  std::array<int16_t, kStandIns> byte_of{};
};

constexpr Tables make_tables() {
  Tables tables;
  tables.byte_of.fill(-1);
  int next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const int code_point = stands_for_itself(byte) ? byte : next++;
    tables.code_point_of[static_cast<size_t>(byte)] = static_cast<uint16_t>(code_point);
    tables.byte_of[static_cast<size_t>(code_point)] = static_cast<int16_t>(byte);
  }
  return tables;
}

constexpr Tables kTables = make_tables();

}  // namespace

std::string to_stand_ins(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) append_utf8(kTables.code_point_of[static_cast<uint8_t>(c)], text);
  return text;
}

std::optional<std::string> from_stand_ins(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  while (!text.empty()) {
    const Utf8Step step = step_utf8(text);
    if (step.kind != Utf8Step::Kind::kValid || step.code_point >= kStandIns) return std::nullopt;
    const int byte = kTables.byte_of[step.code_point];
    if (byte < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(byte));
    text.remove_prefix(static_cast<size_t>(step.bytes));
  }
  return bytes;
}

}  // namespace hlwq
