#pragma once
// The scalar oracle behind make_reference_backend; a file per family of ops.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ops/host_backend.h"
#include "ops/sample_row.h"

namespace hlwq {

class ReferenceBackend final : public HostBackend {
 public:
  explicit ReferenceBackend(Compute compute) : compute_(compute) {}

  [[nodiscard]] std::string_view name() const override { return "reference"; }
  [[nodiscard]] std::string description() const override;
  [[nodiscard]] Compute compute() const override { return compute_; }
  [[nodiscard]] int threads() const override { return 1; }
  [[nodiscard]] DeviceMemory memory() const override;
  [[nodiscard]] Result<double> read_bandwidth() override;

  [[nodiscard]] Result<Buffer> allocate(size_t bytes, std::string_view what) override;
  [[nodiscard]] Status reserve(const ScratchNeeds& needs) override;
  void fill_random(std::byte* to, size_t bytes, uint64_t seed, uint64_t keep,
                   uint64_t set) override;

  void rms_norm(const RmsNormArgs& args) override;
  void quantize(const QuantizeArgs& args) override;
  void project(const ProjectArgs& args) override;
  void embed(const EmbedArgs& args) override;
  void route(const RouteArgs& args) override;
  void experts(const ExpertsArgs& args) override;
  void begin_experts(const ExpertsArgs& args) override;
  void some_experts(const ExpertsArgs& args, const ExpertRange& range) override;
  void put_experts(const ExpertsArgs& args, const ExpertRows& rows) override;
  void end_experts(const ExpertsArgs& args) override;
  void expert_outputs(const OutputsArgs& args) override;
  void mlp(const MlpArgs& args) override;
  void silu_gate(const SiluGateArgs& args) override;
  void add(const AddArgs& args) override;
  void mamba(const MambaArgs& args) override;
  void rotary(const RotaryArgs& args) override;
  void attention(const AttentionArgs& args) override;
  void sample(const SampleArgs& args) override;

  [[nodiscard]] bool take_non_finite() override;

 private:
  // One expert of some rows of x, in their order.
  void multiply_rows(const Mlp& expert, const Activation& x, std::span<const int64_t> rows,
                     MutF32View y);
  // y = x Wᵀ (+ bias) (+ y), coded or plain, by this back end's compute mode.
  void multiply(const Projection& projection, const Activation& x);
  void multiply_plain(const Projection& projection, F32View x);
  void multiply_integer(const Projection& projection, const Activation& x);
  void multiply_decoded(const Projection& projection, F32View x);
  void mamba_segment(const MambaArgs& args, const Segment& segment);
  void attend(const AttentionArgs& args, const Segment& segment, int64_t token);

  Compute compute_;
  bool non_finite_ = false;
  std::vector<float> outputs_;  // [choices, width] of the experts op at hand
  RowSampler sampler_;
};

// An activation that owns its rows.
class OwnedActivation {
 public:
  OwnedActivation(int64_t tokens, int64_t cols, bool quantized);
  OwnedActivation(const OwnedActivation&) = delete;
  OwnedActivation& operator=(const OwnedActivation&) = delete;
  [[nodiscard]] const Activation& view() const { return view_; }

 private:
  std::vector<float> x_, sx_;
  std::vector<int8_t> xq_;
  std::vector<int32_t> sum_;
  Activation view_;
};

// Element (row, col) of a plain matrix. dtype is F32, F16 or BF16.
[[nodiscard]] float plain_at(const Matrix& matrix, int64_t row, int64_t col);

// v[code] of a whole row of a coded matrix, blocks()*128 of them.
[[nodiscard]] std::vector<int16_t> row_levels(const Matrix& matrix, int64_t row);

// The norm of a block of a coded matrix, widened.
[[nodiscard]] float norm_value(const Matrix& matrix, int64_t row, int64_t block);

}  // namespace hlwq
