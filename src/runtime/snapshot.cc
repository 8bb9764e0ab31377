#include "runtime/snapshot.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/log.h"
#include "base/units.h"

namespace hlwq {
namespace {

constexpr size_t kLeastBlock = size_t{16} << 10;

size_t bytes_of(std::span<const std::span<std::byte>> parts) {
  size_t bytes = 0;
  for (const auto& part : parts) bytes += part.size();
  return bytes;
}

size_t blocks_for(size_t bytes, size_t block) { return (bytes + block - 1) / block; }

}  // namespace

Result<std::shared_ptr<SnapshotStore>> SnapshotStore::create(Backend& backend,
                                                             const SequencePool& pool,
                                                             size_t bytes) {
  std::shared_ptr<SnapshotStore> store(new SnapshotStore);
  // A KV page is a whole block: of the two things that are kept it is the smaller, and nothing of
  // its last block is lost.
  store->block_bytes_ = std::max(static_cast<size_t>(pool.page_bytes()), kLeastBlock);
  store->blocks_ = std::max<size_t>(bytes / store->block_bytes_, 1);
  const size_t whole = store->blocks_ * store->block_bytes_;
  HLWQ_TRY_ASSIGN(store->memory_, allocate_host(whole, "the prefix cache"));
  if (backend.device() != Device::kHost) {
    auto pinned = backend.pin(store->memory_.data(), whole);
    if (pinned) {
      store->pinned_ = std::move(*pinned);
    } else {
      log(LogLevel::kWarning, "prefix cache: its memory could not be pinned, copies are slower: " +
                                  pinned.error().message);
    }
  }
  for (size_t i = store->blocks_; i > 0; --i) store->free_.push_back(static_cast<int32_t>(i - 1));
  return store;
}

std::shared_ptr<const SnapshotBlocks> SnapshotBlocks::take(SnapshotStore& store, size_t bytes) {
  const size_t wanted = blocks_for(bytes, store.block_bytes());
  if (wanted > store.free_.size()) return nullptr;
  std::shared_ptr<SnapshotBlocks> taken(new SnapshotBlocks(store));
  const auto first = store.free_.end() - static_cast<std::ptrdiff_t>(wanted);
  taken->numbers_.assign(first, store.free_.end());
  store.free_.erase(first, store.free_.end());
  return taken;
}

SnapshotBlocks::~SnapshotBlocks() {
  store_->free_.insert(store_->free_.end(), numbers_.rbegin(), numbers_.rend());
}

template <typename Copy>
void SnapshotBlocks::for_each_piece(std::span<const std::span<std::byte>> parts,
                                    Copy&& copy) const {
  HLWQ_CHECK(blocks_for(bytes_of(parts), store_->block_bytes()) <= numbers_.size());
  size_t block = 0, used = 0;
  for (std::span<std::byte> part : parts) {
    while (!part.empty()) {
      const size_t piece = std::min(part.size(), store_->block_bytes() - used);
      copy(part.data(), store_->block(numbers_[block]) + used, piece);
      part = part.subspan(piece);
      used += piece;
      if (used == store_->block_bytes()) {
        ++block;
        used = 0;
      }
    }
  }
}

void SnapshotBlocks::fill(Backend& backend, std::span<const std::span<std::byte>> parts) const {
  for_each_piece(parts, [&](std::byte* device, std::byte* host, size_t bytes) {
    backend.download(host, device, bytes);
  });
}

void SnapshotBlocks::copy_to(Backend& backend, std::span<const std::span<std::byte>> parts) const {
  for_each_piece(parts, [&](std::byte* device, const std::byte* host, size_t bytes) {
    backend.upload(device, host, bytes);
  });
}

Result<Snapshot> save_sequence(Backend& backend, const SequencePool& pool, int64_t slot,
                               int64_t tokens, SnapshotStore& store,
                               std::span<const SnapshotPage> held) {
  const auto kept = [&](std::span<const std::span<std::byte>> parts) -> SnapshotPage {
    SnapshotPage blocks = SnapshotBlocks::take(store, bytes_of(parts));
    if (blocks != nullptr) blocks->fill(backend, parts);
    return blocks;
  };
  const auto no_room = [&] {
    return fail(
        ErrorCode::kOutOfMemory,
        fmt::format("prefix cache: {} free of {} is not enough for a sequence of {} tokens",
                    format_bytes(static_cast<int64_t>(store.free_blocks() * store.block_bytes())),
                    format_bytes(static_cast<int64_t>(store.blocks() * store.block_bytes())),
                    tokens));
  };
  const int64_t full = pool.page_bytes() == 0 ? 0 : tokens / kPageTokens;
  HLWQ_CHECK(static_cast<int64_t>(held.size()) <= full);
  Snapshot snapshot;
  snapshot.tokens = tokens;
  snapshot.states = kept(pool.states_of(slot));
  if (snapshot.states == nullptr) return no_room();
  snapshot.pages.assign(held.begin(), held.end());
  for (auto page = static_cast<int64_t>(held.size()); page < full; ++page) {
    snapshot.pages.push_back(kept(pool.page_of(slot, page)));
    if (snapshot.pages.back() == nullptr) return no_room();
  }
  if (pool.page_bytes() > 0 && tokens % kPageTokens != 0) {
    snapshot.rest = kept(pool.page_of(slot, full));
    if (snapshot.rest == nullptr) return no_room();
  }
  return snapshot;
}

Status restore_sequence(Backend& backend, SequencePool& pool, int64_t slot,
                        const Snapshot& snapshot) {
  HLWQ_TRY(pool.grow(slot, snapshot.tokens));
  snapshot.states->copy_to(backend, pool.states_of(slot));
  for (size_t page = 0; page < snapshot.pages.size(); ++page)
    snapshot.pages[page]->copy_to(backend, pool.page_of(slot, static_cast<int64_t>(page)));
  if (snapshot.rest != nullptr)
    snapshot.rest->copy_to(backend,
                           pool.page_of(slot, static_cast<int64_t>(snapshot.pages.size())));
  return {};
}

size_t snapshot_blocks(const SnapshotStore& store, const SequencePool& pool, int64_t tokens) {
  const size_t block = store.block_bytes();
  const auto page_bytes = static_cast<size_t>(pool.page_bytes());
  const auto pages = static_cast<size_t>((tokens + kPageTokens - 1) / kPageTokens);
  return blocks_for(pool.state_bytes(), block) + pages * blocks_for(page_bytes, block);
}

}  // namespace hlwq
