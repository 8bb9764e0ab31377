#include "text/piece_cache.h"

#include <algorithm>
#include <cstring>

#include "text/byte_hash.h"

namespace hlwq {
namespace {

constexpr int kSlotBits = 14;

}  // namespace

PieceCache::PieceCache() : entries_(size_t{1} << kSlotBits) {}

PieceCache::Entry& PieceCache::slot(std::string_view piece) {
  return entries_[byte_hash(piece) >> (64 - kSlotBits)];
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
