// The next token of each row of logits: settings and recent ids to the GPU, ids back.

#include <cuda_runtime.h>

#include <algorithm>

#include "base/check.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/sample.h"
#include "kernels/cuda/sampling_memory.h"

namespace hlwq::cuda {
namespace {

// Recent ids of one launch. A call whose rows have more takes several launches; one row can have no
// more than this, and none has: the ids of a row are distinct and a window is far shorter.
constexpr size_t kMostRecent = size_t{1} << 18;
constexpr size_t kIdsBytes = kMostSampledRows * sizeof(int32_t);

RowSettings settings_of(const SampleRow& row, size_t recent_begin) {
  return {.seed = row.seed,
          .position = row.position,
          .inverse_temperature = row.inverse_temperature,
          .top_p = row.top_p,
          .min_p = row.min_p,
          .repeat_penalty = row.repeat_penalty,
          .top_k = row.top_k,
          .recent_begin = static_cast<int32_t>(recent_begin),
          .recent_count = static_cast<int32_t>(row.recent.size())};
}

}  // namespace

Status SamplingMemory::create() {
  HLWQ_TRY_ASSIGN(staging,
                  PinnedBuffer::allocate(kIdsBytes + kMostRecent * sizeof(int32_t), "sampling"));
  HLWQ_TRY_ASSIGN(recent, allocate_device(kMostRecent * sizeof(int32_t), "recent ids"));
  HLWQ_TRY_ASSIGN(work, allocate_device(sampling_work_bytes(), "sampling"));
  return {};
}

void CudaBackend::sample(const SampleArgs& args) {
  const size_t rows = args.rows.size();
  HLWQ_CHECK(args.logits.rows == static_cast<int64_t>(rows) && args.ids.size() == rows);
  HLWQ_CHECK(args.logits.cols >= 1 && args.logits.cols <= kLargestVocabulary);
  auto* const ids = reinterpret_cast<volatile int32_t*>(sampling_.staging.host());
  auto* const recent = reinterpret_cast<int32_t*>(sampling_.staging.host() + kIdsBytes);

  for (size_t first = 0, last; first < rows; first = last) {
    SampledRows launched;
    size_t recent_count = 0;
    for (last = first; last < rows && launched.rows < kMostSampledRows; ++last) {
      const SampleRow& row = args.rows[last];
      HLWQ_CHECK(row.recent.size() <= kMostRecent);
      if (recent_count + row.recent.size() > kMostRecent) break;
      for (const int32_t id : row.recent) HLWQ_CHECK(id >= 0 && id < args.logits.cols);
      std::copy(row.recent.begin(), row.recent.end(), recent + recent_count);
      launched.row[launched.rows++] = settings_of(row, recent_count);
      recent_count += row.recent.size();
    }
    launched.logits = args.logits.row(static_cast<int64_t>(first));
    launched.stride = args.logits.stride;
    launched.vocabulary = static_cast<int32_t>(args.logits.cols);
    launched.recent = reinterpret_cast<const int32_t*>(sampling_.recent.data());
    launched.ids = reinterpret_cast<int32_t*>(sampling_.staging.device());
    launched.work = sampling_.work.data();
    if (recent_count > 0) {
      HLWQ_CUDA(cudaMemcpyAsync(sampling_.recent.data(), recent, recent_count * sizeof(int32_t),
                                cudaMemcpyHostToDevice, stream_.get()));
    }
    sample_rows(launched, stream_.get());
    synchronize();  // the ids are there, and the staging is free again
    for (size_t i = first; i < last; ++i) args.ids[i] = ids[i - first];
  }
}

}  // namespace hlwq::cuda
