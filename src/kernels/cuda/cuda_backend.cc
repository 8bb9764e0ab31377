#include "kernels/cuda/cuda_backend.h"

#include <cuda_runtime.h>
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "base/check.h"
#include "base/checked.h"
#include "base/cpu_features.h"
#include "kernels/backends.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/fill_random.h"

namespace hlwq::cuda {
namespace {

constexpr int kOldestMajor = 8;  // int8 tensor cores with k = 32, asynchronous copies
constexpr size_t kMostGraphs = 256;

// Ends a capture that an exception left open.
class Capture {
 public:
  Capture(cudaStream_t stream, bool& recording) : stream_(stream), recording_(recording) {
    HLWQ_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    recording_ = true;
  }
  ~Capture() {
    recording_ = false;
    if (!open_) return;
    cudaGraph_t graph = nullptr;
    static_cast<void>(cudaStreamEndCapture(stream_, &graph));
    if (graph != nullptr) static_cast<void>(cudaGraphDestroy(graph));
    static_cast<void>(cudaGetLastError());
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  [[nodiscard]] Graph finish() {
    open_ = false;
    cudaGraph_t graph = nullptr;
    HLWQ_CUDA(cudaStreamEndCapture(stream_, &graph));
    cudaGraphExec_t executable = nullptr;
    const cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
    static_cast<void>(cudaGraphDestroy(graph));
    HLWQ_CUDA(error);
    return Graph(executable);
  }

 private:
  cudaStream_t stream_;
  bool& recording_;
  bool open_ = true;
};

// The least power of two, from 256 on, that no position of the step reaches.
int64_t context_bucket(std::span<const Segment> segments) {
  int64_t tokens = 256;
  for (const Segment& s : segments) tokens = std::max(tokens, s.position + s.tokens);
  return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(tokens)));
}

}  // namespace

Result<std::unique_ptr<CudaBackend>> CudaBackend::create(Compute compute, int threads) {
  int count = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess || count == 0) {
    static_cast<void>(cudaGetLastError());
    return fail(ErrorCode::kUnsupported,
                fmt::format("no usable CUDA device ({})",
                            error != cudaSuccess ? cudaGetErrorString(error) : "none found"));
  }
  cudaDeviceProp properties;
  HLWQ_CUDA(cudaGetDeviceProperties(&properties, 0));
  if (properties.major < kOldestMajor)
    return fail(ErrorCode::kUnsupported,
                fmt::format("{} has compute capability {}.{}, this build needs {}.0 or later",
                            properties.name, properties.major, properties.minor, kOldestMajor));
  std::unique_ptr<CudaBackend> backend(new CudaBackend(compute, threads));
  backend->limits_ = {properties.multiProcessorCount, properties.sharedMemPerBlockOptin};
  int runtime = 0;
  HLWQ_CUDA(cudaRuntimeGetVersion(&runtime));
  backend->description_ = fmt::format(
      "{}, sm_{}{}, {} multiprocessors, CUDA {}.{}", properties.name, properties.major,
      properties.minor, properties.multiProcessorCount, runtime / 1000, runtime % 1000 / 10);
  cudaStream_t stream = nullptr;
  HLWQ_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  backend->stream_ = Stream(stream);
  backend->copies_.create();
  HLWQ_TRY_ASSIGN(backend->flags_, PinnedBuffer::allocate(sizeof(uint32_t), "flags"));
  HLWQ_TRY(backend->sampling_.create());
  backend->non_finite_ = reinterpret_cast<uint32_t*>(backend->flags_.device());
  return backend;
}

CudaBackend::~CudaBackend() {
  // Buffers that callers free after this must not be in use any more.
  static_cast<void>(cudaStreamSynchronize(stream_.get()));
}

DeviceMemory CudaBackend::memory() const {
  DeviceMemory memory;
  HLWQ_CUDA(cudaMemGetInfo(&memory.free, &memory.total));
  const AllocatedBytes allocated = allocated_bytes();
  memory.allocated = allocated.now;
  memory.peak = allocated.peak;
  return memory;
}

Result<Buffer> CudaBackend::allocate(size_t bytes, std::string_view what) {
  return allocate_device(bytes, what);
}

void CudaBackend::upload(void* to, const void* from, size_t bytes) {
  if (bytes == 0) return;
  HLWQ_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_.get()));
  synchronize();
}

void CudaBackend::download(void* to, const void* from, size_t bytes) {
  if (bytes == 0) return;
  HLWQ_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_.get()));
  synchronize();
}

void CudaBackend::fill_random(std::byte* to, size_t bytes, uint64_t seed, uint64_t keep,
                              uint64_t set) {
  cuda::fill_random(to, bytes, seed, keep, set, stream_.get());
}

void CudaBackend::synchronize() { HLWQ_CUDA(cudaStreamSynchronize(stream_.get())); }

bool CudaBackend::take_non_finite() {
  synchronize();
  auto* const flag = reinterpret_cast<volatile uint32_t*>(flags_.host());
  const bool was_set = *flag != 0;
  *flag = 0;
  return was_set;
}

Status CudaBackend::run_step(const StepTokens& tokens, uint64_t key,
                             const std::function<Status()>& issue) {
  host_calls_ = {};  // of a step that could not be issued
  step_.set(tokens, stream_.get());
  recorded_context_ = context_bucket(tokens.segments);
  if (key == 0) return issue();

  // A bucket of contexts has its own recording: its launches cover that many tokens.
  const uint64_t recording =
      key ^ (static_cast<uint64_t>(recorded_context_) * 0x9E3779B97F4A7C15ull);
  const auto [entry, is_new] = graphs_.try_emplace(recording);
  if (is_new) {
    // What runs once is not worth recording, and kernels are loaded outside of a recording.
    if (graphs_.size() > kMostGraphs) {
      synchronize();  // none of them is running
      graphs_.clear();
    }
    return issue();
  }
  Recording& step = entry->second;
  if (step.graph.get() == nullptr) {
    Capture capture(stream_.get(), recording_);
    HLWQ_TRY(issue());
    step.graph = capture.finish();
    step.host_calls = std::exchange(host_calls_, {});
  }
  HLWQ_CUDA(cudaGraphLaunch(step.graph.get(), stream_.get()));
  HostCalls calls = step.host_calls;
  calls.serve(stream_.get());
  return {};
}

Status CudaBackend::reserve(const ScratchNeeds& needs) {
  synchronize();
  graphs_.clear();  // they hold addresses of the old arena
  HLWQ_TRY(step_.create(std::max<int64_t>(needs.tokens, 1)));
  return reserve_scratch(needs);
}

}  // namespace hlwq::cuda

namespace hlwq {

Result<std::unique_ptr<Backend>> make_cuda_backend(const BackendOptions& options) {
  const int threads = options.threads > 0 ? options.threads : usable_cpus();
  HLWQ_TRY_ASSIGN(std::unique_ptr<Backend> backend,
                  cuda::CudaBackend::create(options.compute, threads));
  return backend;
}

bool built_with_cuda() { return true; }

Result<Buffer> allocate_shared(size_t bytes, std::string_view what) {
  return cuda::allocate_mapped(bytes, what);
}

}  // namespace hlwq
