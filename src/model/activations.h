#pragma once
// What steps work in, allocated at load and sized by StepLimits.

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "model/config.h"
#include "model/model.h"
#include "ops/backend.h"
#include "tensor/buffer.h"

namespace hlwq {

// FP32 rows of at most `width` floats, and their int8 form when coded matrices read them.
class ActivationBuffer {
 public:
  // `quantized`: with room for the int8 form. Errors: kOutOfMemory.
  static Result<ActivationBuffer> create(Backend& backend, int64_t tokens, int64_t width,
                                         bool quantized, std::string_view what);

  // [tokens, cols] of it; `coded`: a coded matrix reads this, so the int8 form is wanted (it is
  // left out all the same where the buffer has none, under exact arithmetic).
  [[nodiscard]] Activation view(int64_t tokens, int64_t cols, bool coded) const;
  [[nodiscard]] float* data() const { return reinterpret_cast<float*>(x_.data()); }
  [[nodiscard]] size_t bytes() const;

 private:
  Buffer x_, xq_, sx_, sum_;
};

// The buffers a step works in. Widths are those of docs/architecture.md#activations.
struct StepBuffers {
  ActivationBuffer residual;    // x: [tokens, hidden]
  ActivationBuffer normed;      // u: [tokens, hidden]
  ActivationBuffer projected;   // in_proj of Mamba; q, k and v, or gate and up, one after the other
  ActivationBuffer mixed;       // before the output projection: out of the scan, of attention or of
                                // the gate
  ActivationBuffer latent;      // LatentMoE: what the experts read, [tokens, latent]
  ActivationBuffer latent_sum;  // LatentMoE: the experts' sum, [tokens, latent]
  ActivationBuffer expert_sum;  // [tokens, hidden]
  Buffer rope;                  // what RotaryArgs reads, [context, head_dim]; empty without
  Buffer routed_ids, routed_weights;  // [tokens, experts_used]

  // `quantized`: coded matrices under int8 arithmetic.
  static Result<StepBuffers> create(Backend& backend, const ModelConfig& config,
                                    const StepLimits& limits, bool quantized);
  // What create() allocates.
  [[nodiscard]] static size_t bytes_for(const ModelConfig& config, const StepLimits& limits,
                                        bool quantized);
  [[nodiscard]] size_t bytes() const;
  [[nodiscard]] const float* rope_table() const {
    return reinterpret_cast<const float*>(rope.data());
  }
};

// What a back end must be ready for, from the configuration.
[[nodiscard]] ScratchNeeds scratch_needs(const ModelConfig& config, const StepLimits& limits);

}  // namespace hlwq
