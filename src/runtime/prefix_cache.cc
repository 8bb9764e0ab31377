#include "runtime/prefix_cache.h"

#include <algorithm>
#include <utility>

#include "base/random.h"

namespace hlwq {
namespace {

uint64_t extended(uint64_t hash, int32_t id) {
  return random_bits(hash ^ static_cast<uint32_t>(id), 0);
}

uint64_t hash_of(std::span<const int32_t> ids) {
  uint64_t hash = 0;
  for (const int32_t id : ids) hash = extended(hash, id);
  return hash;
}

bool begins_with(std::span<const int32_t> ids, std::span<const int32_t> beginning) {
  return beginning.size() <= ids.size() &&
         std::equal(beginning.begin(), beginning.end(), ids.begin());
}

}  // namespace

Result<PrefixCache> PrefixCache::create(Session& session, Backend& backend, size_t bytes) {
  PrefixCache cache;
  HLWQ_TRY_ASSIGN(cache.store_, SnapshotStore::create(backend, session.pool(), bytes));
  cache.pool_ = &session.pool();
  return cache;
}

PrefixCache::Entries::iterator PrefixCache::exact(std::span<const int32_t> ids, uint64_t hash) {
  const auto [first, last] = by_hash_.equal_range(hash);
  for (auto at = first; at != last; ++at)
    if (at->second->ids.size() == ids.size() && begins_with(ids, at->second->ids))
      return at->second;
  return entries_.end();
}

const Snapshot* PrefixCache::find(std::span<const int32_t> ids) {
  std::vector<int64_t> lengths;
  for (const auto& [length, count] : lengths_)
    if (length < static_cast<int64_t>(ids.size())) lengths.push_back(length);
  std::sort(lengths.begin(), lengths.end());
  // Hashes at those lengths, in one pass; then the longest first.
  std::vector<uint64_t> hashes;
  uint64_t hash = 0;
  size_t at = 0;
  for (const int64_t length : lengths) {
    for (; at < static_cast<size_t>(length); ++at) hash = extended(hash, ids[at]);
    hashes.push_back(hash);
  }
  for (size_t i = lengths.size(); i-- > 0;) {
    const auto entry = exact(ids.first(static_cast<size_t>(lengths[i])), hashes[i]);
    if (entry == entries_.end()) continue;
    entries_.splice(entries_.begin(), entries_, entry);
    ++hits_;
    tokens_reused_ += lengths[i];
    return &entry->snapshot;
  }
  ++misses_;
  return nullptr;
}

int64_t PrefixCache::common_prefix(std::span<const int32_t> ids) const {
  size_t longest = 0;
  for (const Entry& entry : entries_) {
    const size_t most = std::min(entry.ids.size(), ids.size());
    if (most <= longest || entry.ids[longest] != ids[longest]) continue;
    const auto first = entry.ids.begin();
    const auto end = std::mismatch(first, first + static_cast<std::ptrdiff_t>(most), ids.begin());
    longest = std::max(longest, static_cast<size_t>(end.first - first));
  }
  return static_cast<int64_t>(longest);
}

bool PrefixCache::takes(int64_t tokens) const {
  return snapshot_blocks(*store_, *pool_, tokens) <= store_->blocks();
}

void PrefixCache::drop_last() {
  const auto last = std::prev(entries_.end());
  const auto [first, end] = by_hash_.equal_range(last->hash);
  for (auto at = first; at != end; ++at) {
    if (at->second != last) continue;
    by_hash_.erase(at);
    break;
  }
  const auto length = lengths_.find(static_cast<int64_t>(last->ids.size()));
  if (--length->second == 0) lengths_.erase(length);
  entries_.erase(last);
}

void PrefixCache::keep(Session& session, int64_t slot, std::span<const int32_t> ids,
                       std::vector<SnapshotPage>& held) {
  const auto tokens = static_cast<int64_t>(ids.size());
  if (tokens == 0 || !takes(tokens)) return;
  const uint64_t hash = hash_of(ids);
  if (const auto known = exact(ids, hash); known != entries_.end()) {
    entries_.splice(entries_.begin(), entries_, known);
    held = known->snapshot.pages;
    return;
  }
  const size_t wanted = snapshot_blocks(*store_, *pool_, tokens) - held.size();
  while (store_->free_blocks() < wanted && !entries_.empty()) drop_last();
  auto snapshot = session.save(slot, *store_, held);
  if (!snapshot) return;  // what other sequences hold of entries that left fills the store
  held = snapshot->pages;
  entries_.push_front({{ids.begin(), ids.end()}, std::move(*snapshot), hash});
  by_hash_.emplace(hash, entries_.begin());
  ++lengths_[tokens];
}

PrefixCacheStats PrefixCache::stats() const {
  const auto bytes = [&](size_t blocks) {
    return static_cast<int64_t>(blocks * store_->block_bytes());
  };
  return {.bytes = bytes(store_->blocks() - store_->free_blocks()),
          .limit_bytes = bytes(store_->blocks()),
          .entries = static_cast<int64_t>(entries_.size()),
          .hits = hits_,
          .misses = misses_,
          .tokens_reused = tokens_reused_};
}

}  // namespace hlwq
