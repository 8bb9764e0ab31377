#pragma once
// Beginnings of sequences that were computed before. A hybrid model can go on only from a position
// whose Mamba states were kept, so an entry is a snapshot at one position, with the tokens before
// it. The least recently used entries make room. One thread owns it.

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "runtime/session.h"
#include "runtime/snapshot.h"

namespace hlwq {

struct PrefixCacheStats {
  int64_t bytes = 0, limit_bytes = 0, entries = 0;
  int64_t hits = 0, misses = 0;  // lookups that found something, nothing
  int64_t tokens_reused = 0;     // that need not be computed again
};

class PrefixCache {
 public:
  // Of the sequences of `session`, which must outlive it. Errors: kOutOfMemory.
  static Result<PrefixCache> create(Session& session, Backend& backend, size_t bytes);

  // Entry that is the longest beginning of `ids` and leaves at least one of them; null: none. Valid
  // until the next call of keep(). Counts as a use.
  [[nodiscard]] const Snapshot* find(std::span<const int32_t> ids);

  // How many of the first tokens of `ids` some entry's tokens begin with: a second prompt with a
  // common beginning shows where keeping it pays.
  [[nodiscard]] int64_t common_prefix(std::span<const int32_t> ids) const;

  // Whether a snapshot after so many tokens could be kept at all.
  [[nodiscard]] bool takes(int64_t tokens) const;

  // Keeps what `slot` holds, which are the tokens `ids`; others leave for it. `held`: full pages of
  // the sequence's latest snapshot, which this call brings up to date. No entry is made when
  // everything else together would not leave room.
  void keep(Session& session, int64_t slot, std::span<const int32_t> ids,
            std::vector<SnapshotPage>& held);

  [[nodiscard]] PrefixCacheStats stats() const;

 private:
  struct Entry {
    std::vector<int32_t> ids;
    Snapshot snapshot;
    uint64_t hash;
  };
  using Entries = std::list<Entry>;  // the latest used at the front

  PrefixCache() = default;
  [[nodiscard]] Entries::iterator exact(std::span<const int32_t> ids, uint64_t hash);
  void drop_last();

  // The store is destroyed last: entries give their blocks back.
  std::shared_ptr<SnapshotStore> store_;
  const SequencePool* pool_ = nullptr;
  Entries entries_;
  std::unordered_multimap<uint64_t, Entries::iterator> by_hash_;
  std::unordered_map<int64_t, int64_t> lengths_;  // entries of each length
  int64_t hits_ = 0, misses_ = 0, tokens_reused_ = 0;
};

}  // namespace hlwq
