#pragma once
// Sequences kept in host memory: Mamba states and KV pages as they lie on the device. What goes on
// from a snapshot gives the same bits as what goes on from the sequence itself, and, because the
// cuts of a prompt change no bits, as the whole prompt computed anew.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "ops/backend.h"
#include "runtime/sequence_pool.h"

namespace hlwq {

// Host memory in blocks of one size, taken once and pinned where the device wants that, so that
// copies run at full speed and keeping many snapshots never fragments or grows.
class SnapshotStore {
 public:
  // `bytes` of memory for sequences of `pool`; at least one block. `backend` must outlive the
  // store. Errors: kOutOfMemory.
  static Result<std::shared_ptr<SnapshotStore>> create(Backend& backend, const SequencePool& pool,
                                                       size_t bytes);
  SnapshotStore(const SnapshotStore&) = delete;
  SnapshotStore& operator=(const SnapshotStore&) = delete;

  [[nodiscard]] size_t block_bytes() const { return block_bytes_; }
  [[nodiscard]] size_t blocks() const { return blocks_; }
  [[nodiscard]] size_t free_blocks() const { return free_.size(); }

 private:
  friend class SnapshotBlocks;
  SnapshotStore() = default;
  [[nodiscard]] std::byte* block(int32_t number) const {
    return memory_.data() + static_cast<size_t>(number) * block_bytes_;
  }

  Buffer memory_;
  Buffer pinned_;  // the right to memory_; empty where the system refused it
  size_t block_bytes_ = 0, blocks_ = 0;
  std::vector<int32_t> free_;
};

// Some blocks of a store, given back when it is destroyed.
class SnapshotBlocks {
 public:
  // Null when there are not enough free blocks for `bytes`.
  static std::shared_ptr<const SnapshotBlocks> take(SnapshotStore& store, size_t bytes);
  ~SnapshotBlocks();
  SnapshotBlocks(const SnapshotBlocks&) = delete;
  SnapshotBlocks& operator=(const SnapshotBlocks&) = delete;

  // Copies the parts, one after the other, from the device into the blocks or back.
  void fill(Backend& backend, std::span<const std::span<std::byte>> parts) const;
  void copy_to(Backend& backend, std::span<const std::span<std::byte>> parts) const;

 private:
  explicit SnapshotBlocks(SnapshotStore& store) : store_(&store) {}
  template <typename Copy>
  void for_each_piece(std::span<const std::span<std::byte>> parts, Copy&& copy) const;

  SnapshotStore* store_;
  std::vector<int32_t> numbers_;
};

using SnapshotPage = std::shared_ptr<const SnapshotBlocks>;  // a full KV page, in all layers

struct Snapshot {
  int64_t tokens = 0;
  SnapshotPage states;
  std::vector<SnapshotPage> pages;  // full ones, which later snapshots of the sequence share
  SnapshotPage rest;                // the page that is not full yet; null: there is none
};

// Of an open slot that holds `tokens`. `held`: the first of its full pages, if they are in the
// store already. Errors: kOutOfMemory (of the store; nothing is kept).
[[nodiscard]] Result<Snapshot> save_sequence(Backend& backend, const SequencePool& pool,
                                             int64_t slot, int64_t tokens, SnapshotStore& store,
                                             std::span<const SnapshotPage> held);
// Into an open slot without pages. Errors: as SequencePool::grow.
[[nodiscard]] Status restore_sequence(Backend& backend, SequencePool& pool, int64_t slot,
                                      const Snapshot& snapshot);
// Blocks of the store that save_sequence would take for so many tokens with nothing held.
[[nodiscard]] size_t snapshot_blocks(const SnapshotStore& store, const SequencePool& pool,
                                     int64_t tokens);

}  // namespace hlwq
