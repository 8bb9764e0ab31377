#include "ops/reference/reference_backend.h"

#include "base/check.h"
#include "ops/host_bandwidth.h"
#include "ops/host_memory.h"

namespace hlwq {

std::unique_ptr<Backend> make_reference_backend(Compute compute) {
  return std::make_unique<ReferenceBackend>(compute);
}

std::string ReferenceBackend::description() const { return "scalar reference, 1 thread"; }

Result<Buffer> ReferenceBackend::allocate(size_t bytes, std::string_view what) {
  return allocate_host(bytes, what);
}

// The oracle's scratch is made where it is used.
Status ReferenceBackend::reserve(const ScratchNeeds& /*needs*/) { return {}; }

DeviceMemory ReferenceBackend::memory() const { return host_memory(); }

Result<double> ReferenceBackend::read_bandwidth() {
  ThreadPool one_thread(1);
  return host_read_bandwidth(one_thread);
}

void ReferenceBackend::fill_random(std::byte* to, size_t bytes, uint64_t seed, uint64_t keep,
                                   uint64_t set) {
  fill_random_range(to, 0, bytes, seed, keep, set);
}

void ReferenceBackend::sample(const SampleArgs& args) {
  HLWQ_CHECK(static_cast<int64_t>(args.rows.size()) == args.logits.rows &&
             args.ids.size() == args.rows.size());
  for (size_t r = 0; r < args.rows.size(); ++r) {
    const float* logits = args.logits.row(static_cast<int64_t>(r));
    args.ids[r] = sampler_.sample({logits, static_cast<size_t>(args.logits.cols)}, args.rows[r]);
  }
}

bool ReferenceBackend::take_non_finite() {
  const bool seen = non_finite_;
  non_finite_ = false;
  return seen;
}

OwnedActivation::OwnedActivation(int64_t tokens, int64_t cols, bool quantized)
    : x_(static_cast<size_t>(tokens * cols)) {
  view_.x = dense(x_.data(), tokens, cols);
  if (!quantized) return;
  const int64_t blocks = blocks_of(cols);
  sx_.resize(static_cast<size_t>(tokens * blocks));
  sum_.resize(static_cast<size_t>(tokens * blocks));
  xq_.resize(static_cast<size_t>(tokens * blocks * kBlock));
  view_.q = {xq_.data(), sx_.data(), sum_.data(), tokens, blocks};
}

}  // namespace hlwq
