#pragma once
// Streams and recorded graphs, owned.

#include <cuda_runtime_api.h>

#include <utility>

namespace hlwq::cuda {

// Destroys its handle (at exit the driver may be gone already: failures there mean nothing).
template <typename Handle, cudaError_t (*Destroy)(Handle)>
class Unique {
 public:
  Unique() = default;
  explicit Unique(Handle handle) noexcept : handle_(handle) {}
  Unique(Unique&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Unique& operator=(Unique&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  Unique(const Unique&) = delete;
  Unique& operator=(const Unique&) = delete;
  ~Unique() {
    if (handle_ != nullptr) static_cast<void>(Destroy(handle_));
  }
  [[nodiscard]] Handle get() const noexcept { return handle_; }

 private:
  Handle handle_ = nullptr;
};

using Stream = Unique<cudaStream_t, cudaStreamDestroy>;
using Graph = Unique<cudaGraphExec_t, cudaGraphExecDestroy>;

}  // namespace hlwq::cuda
