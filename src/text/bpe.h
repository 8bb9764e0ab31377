#pragma once
// Byte-pair merging (Sennrich, Haddow, Birch 2016): of all adjacent pairs that have a merge, the
// one of lowest rank is merged, the leftmost on a tie, until none is left.

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/flat_map.h"

namespace hlwq {

// Buffers that `Bpe::encode` uses; one thread at a time.
struct BpeScratch {
  struct Symbol {
    int32_t id = 0;
    uint32_t previous = 0, next = 0;  // positions
    uint32_t rank = 0;                // of the merge with `next`; kNoRank when none or merged away
    int32_t merged = 0;               // what that merge gives
  };
  std::vector<Symbol> symbols;
  std::vector<uint64_t> heap;  // rank << 32 | position
};

class Bpe {
 public:
  // `byte_ids[b]`: the token of the single byte b, or -1 for a byte that has none.
  // `merges`: how many will be added.
  Bpe(const std::array<int32_t, 256>& byte_ids, size_t merges);

  // `left` and `right`, adjacent, may become `merged`. A later call for the same pair wins, as in
  // the Hugging Face library.
  void add_merge(int32_t left, int32_t right, uint32_t rank, int32_t merged);

  // Appends the ids of `piece`, a stretch of well-formed UTF-8 of less than 2^32 bytes. Pieces up
  // to 64 bytes by scanning for the best pair, longer ones in O(n log n). Bytes without a token are
  // left out before anything is merged, as the Hugging Face library does without an unknown token.
  void encode(std::string_view piece, BpeScratch& scratch, std::vector<int32_t>& ids) const;

 private:
  struct Merge {
    uint32_t rank = 0;
    int32_t merged = 0;
  };
  static constexpr uint32_t kNoRank = ~uint32_t{0};
  static constexpr size_t kShort = 64;
  [[nodiscard]] Merge merge_of(int32_t left, int32_t right) const;
  void encode_short(std::string_view piece, std::vector<int32_t>& ids) const;
  void encode_long(std::string_view piece, BpeScratch& scratch, std::vector<int32_t>& ids) const;

  std::array<int32_t, 256> byte_ids_;
  FlatMap<Merge> merges_;
};

}  // namespace hlwq
