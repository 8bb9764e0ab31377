#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hlwq {

// Token ids and the bytes they stand for. Ids may have gaps.
class Vocabulary {
 public:
  // Fixes the id range, [0, size), and reserves `bytes` for the tokens' bytes, which must suffice
  // for all that `add` will be given.
  Vocabulary(int32_t size, size_t bytes);

  // False, and nothing added, when `id` has a token already. `id` must be in range.
  [[nodiscard]] bool add(int32_t id, std::string_view bytes);
  // Lets `find` return the token of `id`. False when another has the same bytes.
  [[nodiscard]] bool make_findable(int32_t id);

  [[nodiscard]] int32_t size() const { return static_cast<int32_t>(entries_.size()); }
  [[nodiscard]] bool contains(int32_t id) const;
  // The token's bytes; empty for an id without a token. Valid while this object lives or is moved.
  [[nodiscard]] std::string_view bytes(int32_t id) const;
  [[nodiscard]] std::optional<int32_t> find(std::string_view bytes) const;

 private:
  struct Entry {
    uint32_t offset = 0;
    int32_t bytes = -1;  // -1: no token
  };
  struct Slot {
    uint32_t hash = 0;  // low half of byte_hash; the high half chooses the slot
    int32_t id = -1;    // -1: empty
  };
  // The slot that holds `bytes`, or the empty one where they would go.
  [[nodiscard]] size_t slot_of(std::string_view bytes, uint64_t hash) const;

  std::vector<char> blob_;  // never grows past its reservation
  std::vector<Entry> entries_;
  std::vector<Slot> slots_;  // open addressing, at most half full
  int slot_shift_ = 0;       // 64 - log2(slots)
};

}  // namespace hlwq
