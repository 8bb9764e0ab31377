#include "text/vocabulary.h"

#include <bit>
#include <limits>

#include "base/check.h"
#include "text/byte_hash.h"

namespace hlwq {

Vocabulary::Vocabulary(int32_t size, size_t bytes) : entries_(static_cast<size_t>(size)) {
  HLWQ_CHECK(bytes <= std::numeric_limits<int32_t>::max());
  blob_.reserve(bytes);
  const size_t slots = std::bit_ceil(2 * static_cast<size_t>(size) + 2);
  slots_.resize(slots);
  slot_shift_ = 64 - std::countr_zero(slots);
}

bool Vocabulary::add(int32_t id, std::string_view bytes) {
  HLWQ_CHECK(id >= 0 && id < size() && bytes.size() <= blob_.capacity() - blob_.size());
  Entry& entry = entries_[static_cast<size_t>(id)];
  if (entry.bytes >= 0) return false;
  entry = {static_cast<uint32_t>(blob_.size()), static_cast<int32_t>(bytes.size())};
  blob_.insert(blob_.end(), bytes.begin(), bytes.end());
  return true;
}

bool Vocabulary::make_findable(int32_t id) {
  HLWQ_CHECK(contains(id));
  const uint64_t hash = byte_hash(bytes(id));
  Slot& slot = slots_[slot_of(bytes(id), hash)];
  if (slot.id >= 0) return slot.id == id;
  slot = {static_cast<uint32_t>(hash), id};
  return true;
}

bool Vocabulary::contains(int32_t id) const {
  return id >= 0 && id < size() && entries_[static_cast<size_t>(id)].bytes >= 0;
}

std::string_view Vocabulary::bytes(int32_t id) const {
  if (!contains(id)) return {};
  const Entry& entry = entries_[static_cast<size_t>(id)];
  return {blob_.data() + entry.offset, static_cast<size_t>(entry.bytes)};
}

std::optional<int32_t> Vocabulary::find(std::string_view bytes) const {
  const Slot& slot = slots_[slot_of(bytes, byte_hash(bytes))];
  if (slot.id < 0) return std::nullopt;
  return slot.id;
}

size_t Vocabulary::slot_of(std::string_view bytes, uint64_t hash) const {
  size_t i = hash >> slot_shift_;
  while (slots_[i].id >= 0 &&
         (slots_[i].hash != static_cast<uint32_t>(hash) || this->bytes(slots_[i].id) != bytes)) {
    i = (i + 1) & (slots_.size() - 1);
  }
  return i;
}

}  // namespace hlwq
