#include "kernels/cuda/step_inputs.h"

#include <cstring>

#include "base/check.h"
#include "base/checked.h"
#include "kernels/cuda/check.h"

namespace hlwq::cuda {
namespace {

// One block of memory: segments, then ids, then token_segment, without gaps, so that one short copy
// brings it. Where they lie depends on the counts alone, which a recorded step fixes.
struct Layout {
  size_t ids, token_segment, bytes;
};
Layout layout_of(int64_t tokens, int64_t segments) {
  const size_t ids = static_cast<size_t>(segments) * sizeof(Segment);
  const size_t id_bytes = static_cast<size_t>(tokens) * sizeof(int32_t);
  return {ids, ids + id_bytes, ids + 2 * id_bytes};
}

}  // namespace

Status StepInputs::create(int64_t tokens) {
  const size_t bytes = layout_of(tokens, tokens).bytes;
  HLWQ_TRY_ASSIGN(staging_, PinnedBuffer::allocate(bytes, "step inputs"));
  HLWQ_TRY_ASSIGN(memory_, allocate_device(bytes, "step inputs"));
  most_tokens_ = tokens;
  if (copied_ == nullptr) HLWQ_CUDA(cudaEventCreateWithFlags(&copied_, cudaEventDisableTiming));
  return {};
}

StepInputs::~StepInputs() {
  if (copied_ != nullptr) static_cast<void>(cudaEventDestroy(copied_));
}

void StepInputs::set(const StepTokens& tokens, cudaStream_t stream) {
  const auto count = static_cast<int64_t>(tokens.ids.size());
  const auto segments = static_cast<int64_t>(tokens.segments.size());
  HLWQ_CHECK(count <= most_tokens_ && segments <= most_tokens_);
  HLWQ_CUDA(cudaEventSynchronize(copied_));  // the copy before this one has read the staging
  const Layout layout = layout_of(count, segments);
  std::byte* const to = staging_.host();
  std::memcpy(to, tokens.segments.data(), tokens.segments.size_bytes());
  std::memcpy(to + layout.ids, tokens.ids.data(), tokens.ids.size_bytes());
  auto* const owner = reinterpret_cast<int32_t*>(to + layout.token_segment);
  for (int64_t s = 0; s < segments; ++s) {
    const Segment& segment = tokens.segments[static_cast<size_t>(s)];
    HLWQ_CHECK(segment.first_token + segment.tokens <= count);
    for (int64_t t = 0; t < segment.tokens; ++t)
      owner[segment.first_token + t] = static_cast<int32_t>(s);
  }
  HLWQ_CUDA(cudaMemcpyAsync(memory_.data(), to, layout.bytes, cudaMemcpyHostToDevice, stream));
  HLWQ_CUDA(cudaEventRecord(copied_, stream));
  on_device_ = {
      .ids = reinterpret_cast<const int32_t*>(memory_.data() + layout.ids),
      .segments = reinterpret_cast<const Segment*>(memory_.data()),
      .token_segment = reinterpret_cast<const int32_t*>(memory_.data() + layout.token_segment),
      .tokens = count,
      .segment_count = segments};
}

}  // namespace hlwq::cuda
