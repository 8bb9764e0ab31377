#include "model/step_key.h"

#include "base/random.h"

namespace hlwq {
namespace {

class Hash {
 public:
  void add(uint64_t value) { state_ = random_bits(state_ ^ value, 0); }
  void add(int64_t value) { add(static_cast<uint64_t>(value)); }
  void add(const void* address) {
    add(static_cast<uint64_t>(reinterpret_cast<uintptr_t>(address)));
  }
  [[nodiscard]] uint64_t value() const { return state_; }

 private:
  uint64_t state_ = 0;
};

}  // namespace

uint64_t step_key(uint64_t model_number, const StepBatch& step, const SequenceMemory& memory,
                  const MutF32View& logits) {
  if (step.segments.size() != step.ids.size()) return 0;
  Hash hash;
  hash.add(model_number);
  hash.add(static_cast<uint64_t>(step.ids.size()));
  hash.add(static_cast<uint64_t>(step.logit_rows.size()));
  for (const int64_t row : step.logit_rows) hash.add(row);
  if (!step.logit_rows.empty()) {
    hash.add(logits.data);
    hash.add(logits.stride);
  }
  for (const float* pool : memory.conv) hash.add(pool);
  for (const float* pool : memory.ssm) hash.add(pool);
  for (const KvPages& pages : memory.kv) {
    hash.add(pages.data);
    hash.add(pages.tables);
    hash.add(static_cast<int64_t>(pages.dtype));
    hash.add(pages.page_bytes);
    hash.add(pages.table_stride);
    hash.add(static_cast<int64_t>(pages.key_bits));
    hash.add(static_cast<int64_t>(pages.value_bits));
    hash.add(pages.ring);
    hash.add(pages.ring_pages);
  }
  return hash.value() == 0 ? 1 : hash.value();
}

}  // namespace hlwq
