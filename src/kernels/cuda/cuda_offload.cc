// What experts outside of GPU memory need: host memory that kernels read, copies beside the ops,
// the cache's decisions.

#include <fmt/format.h>

#include "base/check.h"
#include "base/units.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/place_experts.h"

namespace hlwq::cuda {
namespace {

void unpin(void* host, size_t /*bytes*/) noexcept {
  static_cast<void>(cudaHostUnregister(host));
  static_cast<void>(cudaGetLastError());  // at exit the driver may be gone already
}

}  // namespace

Result<Buffer> CudaBackend::pin(std::byte* host, size_t bytes) {
  if (bytes == 0) return Buffer();
  const cudaError_t error =
      cudaHostRegister(host, bytes, cudaHostRegisterMapped | cudaHostRegisterPortable);
  if (error != cudaSuccess) {
    static_cast<void>(cudaGetLastError());  // a refusal leaves nothing behind
    return fail(ErrorCode::kUnsupported,
                fmt::format("the driver refused to pin {} of host memory ({})",
                            format_bytes(static_cast<int64_t>(bytes)), cudaGetErrorString(error)));
  }
  Buffer right(host, bytes, Device::kHost, unpin);
  void* device = nullptr;
  HLWQ_CUDA(cudaHostGetDevicePointer(&device, host, 0));
  if (device != host)
    return fail(ErrorCode::kUnsupported,
                "pinned host memory has another address on the GPU than on the host");
  return right;
}

void CudaBackend::copy_beside(void* to, const void* from, size_t bytes) {
  copies_.copy(to, from, bytes);
}

void CudaBackend::record(Queue queue, int fence) { copies_.record(stream_.get(), queue, fence); }

void CudaBackend::wait(Queue queue, int fence) { copies_.wait(stream_.get(), queue, fence); }

void CudaBackend::wait_on_host(int fence) { copies_.wait_on_host(fence); }

void CudaBackend::place_experts(const PlaceExpertsArgs& args) {
  const ExpertMail mail = args.host == nullptr ? ExpertMail{} : args.host->mail();
  QuantizedInput x;
  // Of one token the answer is taken while its other experts are multiplied, else after that.
  AnswerOfOne answer = {.mail = mail};
  if (args.host != nullptr) {
    HLWQ_CHECK(args.x.rows <= mail.shape.tokens && args.x.blocks == mail.shape.blocks);
    HLWQ_CHECK(args.choices == args.x.rows * mail.shape.experts_used);
    x = {args.x.xq, args.x.sx, args.x.sum, static_cast<int32_t>(args.x.rows),
         static_cast<int32_t>(args.x.blocks)};
    if (args.x.rows == 1 && args.choices < 32)
      answer = {mail, args.ids, args.table, static_cast<int>(args.choices), scratch_.expert_out};
  }
  cuda::place_experts(args.cache, args.layer, args.ids, args.choices, args.table, mail, x, limits_,
                      stream_.get());
  fetch_experts(args.cache, args.layer, answer, stream_.get());
  if (args.host != nullptr) host_calls_.add(*args.host, args.x.rows);
  if (!recording_) host_calls_.serve(stream_.get());
}

}  // namespace hlwq::cuda
