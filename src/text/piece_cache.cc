#include "text/piece_cache.h"

#include <algorithm>
#include <cstring>

namespace hlwq {
namespace {

constexpr int kSlotBits = 14;

// Up to 8 bytes as one number, zero-filled.
uint64_t load(const char* bytes, size_t count) {
  uint64_t word = 0;
  std::memcpy(&word, bytes, count);
  return word;
}

}  // namespace

PieceCache::PieceCache() : entries_(size_t{1} << kSlotBits) {}

PieceCache::Entry& PieceCache::slot(std::string_view piece) {
  constexpr uint64_t kMultiplier = 0x9E3779B97F4A7C15ull;
  uint64_t hash = piece.size();
  size_t i = 0;
  for (; i + 8 <= piece.size(); i += 8) {
    hash = (hash ^ load(piece.data() + i, 8)) * kMultiplier;
    hash ^= hash >> 32;
  }
  hash = (hash ^ load(piece.data() + i, piece.size() - i)) * kMultiplier;
  return entries_[hash >> (64 - kSlotBits)];
}

bool PieceCache::holds(const Entry& entry, std::string_view piece) {
  return entry.bytes == piece.size() &&
         std::memcmp(entry.piece.data(), piece.data(), piece.size()) == 0;
}

void PieceCache::store(Entry& entry, std::string_view piece, std::span<const int32_t> ids) {
  if (ids.size() > entry.ids.size()) return;
  std::copy(piece.begin(), piece.end(), entry.piece.begin());
  entry.bytes = static_cast<uint8_t>(piece.size());
  std::copy(ids.begin(), ids.end(), entry.ids.begin());
  entry.count = static_cast<uint8_t>(ids.size());
}

}  // namespace hlwq
