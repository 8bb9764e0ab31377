#include "text/vocabulary.h"

#include <limits>

#include "base/check.h"

namespace hlwq {

Vocabulary::Vocabulary(int32_t size, size_t bytes) : entries_(static_cast<size_t>(size)) {
  HLWQ_CHECK(bytes <= std::numeric_limits<int32_t>::max());
  blob_.reserve(bytes);
  by_bytes_.reserve(static_cast<size_t>(size));
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
  return by_bytes_.emplace(bytes(id), id).second;
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
  const auto it = by_bytes_.find(bytes);
  if (it == by_bytes_.end()) return std::nullopt;
  return it->second;
}

}  // namespace hlwq
