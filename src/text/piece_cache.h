#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace hlwq {

// The ids of pieces met before: direct-mapped, a newcomer replaces what is in its slot. Holds
// pieces of up to 30 bytes with up to 8 ids. 1 MiB; one thread at a time.
class PieceCache {
 public:
  PieceCache();

  struct Entry {
    std::array<char, 30> piece{};
    uint8_t bytes = 0;  // 0: free
    uint8_t count = 0;
    std::array<int32_t, 8> ids{};
  };
  static_assert(sizeof(Entry) == 64);

  // Whether the cache can hold the piece at all; the others need it true.
  [[nodiscard]] static bool takes(std::string_view piece) {
    return piece.size() <= std::tuple_size_v<decltype(Entry::piece)>;
  }

  // The slot for `piece`; it holds the piece if `holds` says so.
  [[nodiscard]] Entry& slot(std::string_view piece);
  [[nodiscard]] static bool holds(const Entry& entry, std::string_view piece);
  // Too many ids leave the slot as it was.
  static void store(Entry& entry, std::string_view piece, std::span<const int32_t> ids);

 private:
  std::vector<Entry> entries_;
};

}  // namespace hlwq
