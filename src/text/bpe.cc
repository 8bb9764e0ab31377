#include "text/bpe.h"

#include <algorithm>
#include <functional>

namespace hlwq {
namespace {

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

}  // namespace

Bpe::Bpe(const std::array<int32_t, 256>& byte_ids, size_t merges)
    : byte_ids_(byte_ids), merges_(merges) {}

void Bpe::add_merge(int32_t left, int32_t right, uint32_t rank, int32_t merged) {
  merges_.set(pair_key(left, right), {rank, merged});
}

Bpe::Merge Bpe::merge_of(int32_t left, int32_t right) const {
  const Merge* merge = merges_.find(pair_key(left, right));
  return merge == nullptr ? Merge{kNoRank, 0} : *merge;
}

void Bpe::encode(std::string_view piece, BpeScratch& scratch, std::vector<int32_t>& ids) const {
  if (piece.size() <= kShort) {
    encode_short(piece, ids);
  } else {
    encode_long(piece, scratch, ids);
  }
}

void Bpe::encode_short(std::string_view piece, std::vector<int32_t>& ids) const {
  std::array<int32_t, kShort> symbols;
  std::array<Merge, kShort> merges;  // merges[i]: of symbols i and i + 1
  size_t count = 0;
  for (const char c : piece) {
    const int32_t id = byte_ids_[static_cast<uint8_t>(c)];
    if (id < 0) continue;
    symbols[count] = id;
    if (count > 0) merges[count - 1] = merge_of(symbols[count - 1], id);
    ++count;
  }
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i) {
      if (merges[i].rank < merges[best].rank) best = i;
    }
    if (merges[best].rank == kNoRank) break;
    symbols[best] = merges[best].merged;
    std::copy(symbols.begin() + best + 2, symbols.begin() + count, symbols.begin() + best + 1);
    std::copy(merges.begin() + best + 1, merges.begin() + count - 1, merges.begin() + best);
    --count;
    if (best > 0) merges[best - 1] = merge_of(symbols[best - 1], symbols[best]);
    if (best + 1 < count) merges[best] = merge_of(symbols[best], symbols[best + 1]);
  }
  ids.insert(ids.end(), symbols.begin(), symbols.begin() + count);
}

void Bpe::encode_long(std::string_view piece, BpeScratch& scratch,
                      std::vector<int32_t>& ids) const {
  using Symbol = BpeScratch::Symbol;
  std::vector<Symbol>& symbols = scratch.symbols;
  std::vector<uint64_t>& heap = scratch.heap;
  symbols.clear();
  for (const char c : piece) {
    const int32_t id = byte_ids_[static_cast<uint8_t>(c)];
    const auto at = static_cast<uint32_t>(symbols.size());
    if (id >= 0) symbols.push_back({id, at - 1, at + 1, kNoRank, 0});
  }
  const auto end = static_cast<uint32_t>(symbols.size());
  heap.clear();
  const auto find_merge = [&](uint32_t at) {
    Symbol& symbol = symbols[at];
    symbol.rank = kNoRank;
    if (symbol.next == end) return;
    const Merge merge = merge_of(symbol.id, symbols[symbol.next].id);
    symbol.rank = merge.rank;
    symbol.merged = merge.merged;
    if (merge.rank != kNoRank) heap.push_back(static_cast<uint64_t>(merge.rank) << 32 | at);
  };
  for (uint32_t i = 0; i < end; ++i) find_merge(i);
  std::make_heap(heap.begin(), heap.end(), std::greater<>());

  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const uint32_t at = static_cast<uint32_t>(heap.back());
    const uint32_t rank = static_cast<uint32_t>(heap.back() >> 32);
    heap.pop_back();
    Symbol& symbol = symbols[at];
    if (symbol.rank != rank) continue;  // the pair has changed since
    Symbol& gone = symbols[symbol.next];
    symbol.id = symbol.merged;
    symbol.next = gone.next;
    gone.rank = kNoRank;
    if (symbol.next != end) symbols[symbol.next].previous = at;
    for (const uint32_t changed : {at, symbol.previous}) {
      if (changed >= end) continue;  // the first symbol has none before it
      const size_t before = heap.size();
      find_merge(changed);
      if (heap.size() != before) std::push_heap(heap.begin(), heap.end(), std::greater<>());
    }
  }
  for (uint32_t i = 0; i < end; i = symbols[i].next) ids.push_back(symbols[i].id);
  constexpr size_t kKeepSymbols = 1 << 16;
  if (symbols.capacity() > kKeepSymbols) scratch = {};  // a rare giant must not pin its memory
}

}  // namespace hlwq
