#pragma once
// Routed experts in host memory with a cache on the device: how much of the device they get, and
// what they begin with.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/expert_home.h"
#include "ops/expert_cache.h"
#include "runtime/experts/offloaded_experts.h"

namespace hlwq {

struct OffloadOptions {
  int64_t slots_per_layer = 0;  // 0: what the budget leaves
  int64_t vram_bytes = 0;       // of the device, for everything on it
  CachePolicy policy = CachePolicy::kFrecency;
  std::string hotness_file = {};  // read at the start, if there is one; empty: none
  // The experts go to a scratch file in this folder when host memory is too short for them, or in
  // any case; empty: a load that is too large is refused.
  std::string file_folder = {};
  bool always_file = false;
  size_t piece_bytes = 0;  // of slots that are allocated, and given back, together; 0: as it suits
  // As ExpertCacheOptions.
  std::unique_ptr<HostBackend> cpu = {};
  std::optional<double> cpu_share = {};
};

class OffloadHome final : public ExpertHome {
 public:
  explicit OffloadHome(OffloadOptions options) : options_(std::move(options)) {}

  [[nodiscard]] Status choose(const Backend& backend, size_t expert_bytes,
                              size_t other_bytes) override;
  [[nodiscard]] bool on_device() const override { return resident_; }
  [[nodiscard]] bool device_reaches() const override {
    return resident_ || (!refused_ && !in_file_);
  }
  // Host memory in huge pages, pinned. Where the system refuses to pin it, plain memory, said in a
  // warning: experts then go through the driver's own staging. Or a mapping of the scratch file.
  [[nodiscard]] Result<Buffer> allocate(Backend& backend, size_t bytes,
                                        std::string_view what) override;
  // Errors: kOutOfMemory (the budget leaves not one slot), as OffloadedExperts::create.
  [[nodiscard]] Result<std::unique_ptr<ExpertRunner>> make_runner(Backend& backend,
                                                                  LoadedExperts experts,
                                                                  size_t later_bytes) override;

  // How the runner, which must still live, splits misses between bus and CPU; null: it does not.
  [[nodiscard]] const HostShare* host_share() const;
  // Writes what the runner, which must still live, learned of the experts' use. Errors: kIo.
  [[nodiscard]] Status save_hotness() const;

 private:
  [[nodiscard]] Result<Buffer> map_of_file(size_t bytes, std::string_view what);
  [[nodiscard]] Result<int64_t> slots_for(const Backend& backend, const ExpertStore& store,
                                          size_t later_bytes) const;

  OffloadOptions options_;
  bool resident_ = false;  // everything fits the budget
  bool in_file_ = false;
  bool refused_ = false;                    // pinning
  uint64_t file_bytes_ = 0, file_end_ = 0;  // reserved, given away
  ExpertMemory memory_;
  const OffloadedExperts* runner_ = nullptr;  // made here, not owned
};

}  // namespace hlwq
