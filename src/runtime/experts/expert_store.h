#pragma once
// The routed experts of a model in host memory, a record each.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "model/expert_home.h"
#include "ops/backend.h"
#include "ops/expert_cache.h"

namespace hlwq {

class ExpertStore {
 public:
  // `pins`: the rights of the device to read the memory in place; none: it has no such right.
  // Errors: kUnsupported, as Backend::check_experts, and layers that differ in their number of
  // experts.
  static Result<ExpertStore> create(const Backend& backend, LoadedExperts experts,
                                    std::vector<Buffer> pins);

  [[nodiscard]] int64_t layers() const { return static_cast<int64_t>(experts_.layers.size()); }
  [[nodiscard]] int64_t experts() const {
    return static_cast<int64_t>(experts_.layers.front().size());
  }
  [[nodiscard]] const std::vector<Mlp>& layer(int64_t layer) const {
    return experts_.layers[static_cast<size_t>(layer)];
  }
  [[nodiscard]] const ExpertRecord& record(int64_t layer) const {
    return records_[static_cast<size_t>(layer)];
  }
  [[nodiscard]] int64_t slot_bytes() const { return slot_bytes_; }  // of the largest record
  [[nodiscard]] const std::byte* address(int64_t layer, int64_t expert) const {
    return this->layer(layer)[static_cast<size_t>(expert)].up.data;
  }
  [[nodiscard]] int64_t experts_used() const { return experts_.used; }  // by a token, at most
  // Whether ops read the records where they lie.
  [[nodiscard]] bool pinned() const { return !pins_.empty(); }

  // Starts the copy of `count` experts of a layer from `expert` on to device memory, beside the
  // ops.
  // Errors: kIo.
  [[nodiscard]] Status copy(Backend& backend, int64_t layer, int64_t expert, int64_t count,
                            std::byte* to) const;

 private:
  LoadedExperts experts_;
  std::vector<Buffer> pins_;  // after what they pin, so that they go first
  std::vector<ExpertRecord> records_;
  int64_t slot_bytes_ = 0;
};

}  // namespace hlwq
