#include "ops/reference/reference_backend.h"

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
