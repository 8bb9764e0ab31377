#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
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
  std::vector<char> blob_;  // never grows past its reservation: by_bytes_ points into it
  std::vector<Entry> entries_;
  std::unordered_map<std::string_view, int32_t> by_bytes_;
};

}  // namespace hlwq
