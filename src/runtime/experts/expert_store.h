#pragma once
// The routed experts of a model outside of the device's memory, a record each: in host memory, or
// in a file where that is too small.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "io/scratch_file.h"
#include "model/expert_home.h"
#include "ops/backend.h"
#include "ops/expert_cache.h"

namespace hlwq {

// Where the memory of LoadedExperts is and what the device may do with it.
struct ExpertMemory {
  std::vector<Buffer> pins;  // rights to read it in place; none: the device has no such right
  std::optional<ScratchFile> file;  // it is a mapping of this, which is not read any more
  std::vector<uint64_t> offsets;    // of each layer in the file
};

class ExpertStore {
 public:
  // Errors: kUnsupported (as Backend::check_experts; layers that differ in their number of experts;
  // too many experts), kOutOfMemory.
  static Result<ExpertStore> create(Backend& backend, LoadedExperts experts, ExpertMemory memory);

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
  [[nodiscard]] bool pinned() const { return !memory_.pins.empty(); }
  [[nodiscard]] bool in_file() const { return memory_.file.has_value(); }

  // Starts the copy of `count` experts of a layer from `expert` on to device memory, beside the
  // ops. Errors: kIo (of the file).
  [[nodiscard]] Status copy(Backend& backend, int64_t layer, int64_t expert, int64_t count,
                            std::byte* to);

 private:
  // Records on their way from the file: read into one of these while the other is copied from.
  struct Bounce {
    std::array<Buffer, 2> memory;
    std::vector<Buffer> pins;
    std::unique_ptr<ThreadPool> threads;  // that read
    size_t next = 0;
  };
  [[nodiscard]] Status create_bounce(Backend& backend);
  [[nodiscard]] Status copy_from_file(Backend& backend, int64_t layer, int64_t expert,
                                      std::byte* to);

  // What borrows from the memory stands after it, and goes first.
  LoadedExperts experts_;
  ExpertMemory memory_;
  std::vector<ExpertRecord> records_;
  int64_t slot_bytes_ = 0;
  Bounce bounce_;
};

}  // namespace hlwq
