#pragma once
// Memory of sequences: KV pages, page tables, rings of exact keys and values, convolution and SSM
// states, in pools indexed by slot.
// One owner (the engine thread) changes it. Which page is whose is decided on the host; the page
// tables on the device get the entries that change.

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "model/model.h"

namespace hlwq {

// How keys and values are kept: F16 or F32, or either of them as codes of 8, 4, 3 or 2 bits, with
// the newest tokens in F16 beside them (ops/kv_pages.h).
struct KvForm {
  DType dtype = DType::kF16;
  int key_bits = 16, value_bits = 16;  // 16: `dtype`, which is F16 when the other one is coded

  [[nodiscard]] bool coded() const { return key_bits < 16 || value_bits < 16; }
  // Bytes of a page of one layer.
  [[nodiscard]] int64_t page_bytes(const AttentionShape& shape) const;
};

// kUnsupported: a type or a width there is no cache of, heads that have no codes.
[[nodiscard]] Status check_kv_form(const KvForm& form, const AttentionShape& shape);

struct SequencePoolOptions {
  int64_t sequences = 1;   // slots
  int64_t context = 4096;  // most tokens of a sequence
  KvForm kv = {};
  int64_t pages = 0;  // KV pages all sequences share; 0: enough for each to fill its context
  // Most tokens that a step adds to a sequence: with codes, how far its exact copies reach back.
  int64_t step_tokens = 512;
};

class SequencePool {
 public:
  // Bytes are known before: see bytes_for. Errors: kInvalidArgument (counts out of range),
  // kUnsupported (check_kv_form), kOutOfMemory.
  // `backend` must outlive the pool.
  static Result<SequencePool> create(Backend& backend, const StateShape& shape,
                                     const SequencePoolOptions& options);
  // Saturates at the largest size_t.
  [[nodiscard]] static size_t bytes_for(const StateShape& shape,
                                        const SequencePoolOptions& options);

  // A free slot with no pages; its states count as zero because its first segment starts at
  // position 0. Errors: kOutOfMemory when every slot is taken.
  [[nodiscard]] Result<int64_t> open();
  // Gives the slot and its pages back.
  void close(int64_t slot);
  // Makes positions [0, tokens) of the slot writable. Errors: kOutOfMemory (no page left),
  // kInvalidArgument (beyond the context).
  [[nodiscard]] Status grow(int64_t slot, int64_t tokens);
  [[nodiscard]] SequenceMemory memory() const;
  [[nodiscard]] int64_t context() const { return options_.context; }
  [[nodiscard]] int64_t pages() const;  // KV pages of all sequences
  [[nodiscard]] int64_t free_pages() const { return static_cast<int64_t>(free_pages_.size()); }
  [[nodiscard]] int64_t page_bytes() const;  // of a KV page, all layers together
  // Of a sequence's convolution and SSM states and its ring of exact keys and values.
  [[nodiscard]] size_t state_bytes() const;
  [[nodiscard]] int64_t open_sequences() const;

  // A sequence's memory on the device, in an order of its own: its states, and page `page` of its
  // KV cache in all layers. The slot must be open and grown to that page.
  [[nodiscard]] std::vector<std::span<std::byte>> states_of(int64_t slot) const;
  [[nodiscard]] std::vector<std::span<std::byte>> page_of(int64_t slot, int64_t page) const;

 private:
  explicit SequencePool(Backend& backend) : backend_(&backend) {}
  Backend* backend_;
  SequencePoolOptions options_;
  StateShape shape_;
  Buffer states_, pages_, rings_, tables_;
  std::vector<float*> conv_, ssm_;
  std::vector<KvPages> kv_;
  std::vector<int32_t> free_pages_;
  std::vector<std::vector<int32_t>> slot_pages_;
  std::vector<int64_t> free_slots_;  // the lowest at the back, as in free_pages_
  std::vector<bool> is_open_;
};

}  // namespace hlwq
