#pragma once
// A model without weights whose logits depend on every token of the sequence, through the state it
// keeps in the pool: a wrong slot, position or order changes them. A back end that only allocates,
// copies and draws.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/check.h"
#include "base/random.h"
#include "model/model.h"
#include "ops/host_backend.h"
#include "ops/sample_row.h"

namespace hlwq {

class FakeBackend : public HostBackend {
 public:
  std::string_view name() const override { return "fake"; }
  std::string description() const override { return "allocates, computes nothing"; }
  Compute compute() const override { return compute_; }
  int threads() const override { return 1; }
  DeviceMemory memory() const override { return {}; }
  Result<double> read_bandwidth() override { return fail(ErrorCode::kUnsupported, "fake"); }
  Result<Buffer> allocate(size_t bytes, std::string_view what) override {
    if (bytes > most_bytes_) return fail(ErrorCode::kOutOfMemory, std::string(what));
    return allocate_host(bytes, what);
  }
  Status reserve(const ScratchNeeds&) override { return {}; }
  void upload(void* to, const void* from, size_t bytes) override {
    uploaded_ += bytes;
    std::memcpy(to, from, bytes);
  }
  void download(void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  void fill_random(std::byte*, size_t, uint64_t, uint64_t, uint64_t) override { HLWQ_CHECK(false); }
  Status run_step(const StepTokens&, uint64_t, const std::function<Status()>& issue) override {
    return issue();
  }
  void synchronize() override {}
  void rms_norm(const RmsNormArgs&) override { HLWQ_CHECK(false); }
  void quantize(const QuantizeArgs&) override { HLWQ_CHECK(false); }
  void project(const ProjectArgs&) override { HLWQ_CHECK(false); }
  void embed(const EmbedArgs&) override { HLWQ_CHECK(false); }
  void route(const RouteArgs&) override { HLWQ_CHECK(false); }
  void experts(const ExpertsArgs&) override { HLWQ_CHECK(false); }
  void begin_experts(const ExpertsArgs&) override { HLWQ_CHECK(false); }
  void some_experts(const ExpertsArgs&, const ExpertRange&) override { HLWQ_CHECK(false); }
  void put_experts(const ExpertsArgs&, const ExpertRows&) override { HLWQ_CHECK(false); }
  void end_experts(const ExpertsArgs&) override { HLWQ_CHECK(false); }
  void expert_outputs(const OutputsArgs&) override { HLWQ_CHECK(false); }
  void mlp(const MlpArgs&) override { HLWQ_CHECK(false); }
  void silu_gate(const SiluGateArgs&) override { HLWQ_CHECK(false); }
  void add(const AddArgs&) override { HLWQ_CHECK(false); }
  void mamba(const MambaArgs&) override { HLWQ_CHECK(false); }
  void rotary(const RotaryArgs&) override { HLWQ_CHECK(false); }
  void attention(const AttentionArgs&) override { HLWQ_CHECK(false); }
  void sample(const SampleArgs& args) override {
    for (size_t r = 0; r < args.rows.size(); ++r)
      args.ids[r] = sampler_.sample(
          {args.logits.row(static_cast<int64_t>(r)), static_cast<size_t>(args.logits.cols)},
          args.rows[r]);
  }
  bool take_non_finite() override { return false; }

  Compute compute_ = Compute::kInt8;
  size_t most_bytes_ = std::numeric_limits<size_t>::max();
  size_t uploaded_ = 0;
  RowSampler sampler_;
};

class FakeModel : public Model {
 public:
  explicit FakeModel(int64_t vocabulary, uint64_t seed = 1) : seed_(seed) {
    config_.vocabulary = vocabulary;
  }

  // The state after `ids`: any function that depends on order does; small integers stay exact.
  static float next_state(float state, int32_t id) {
    return std::fmod(state * 31.0f + static_cast<float>(id % 1000) + 1.0f, 65521.0f);
  }
  std::vector<float> logits_after(std::span<const int32_t> ids) const {
    float state = 0;
    for (const int32_t id : ids) state = next_state(state, id);
    std::vector<float> row(static_cast<size_t>(config_.vocabulary));
    fill(state, row.data());
    return row;
  }

  const ModelConfig& config() const override { return config_; }
  StateShape state_shape() const override {
    return {
        .mamba_layers = 1, .mamba = {1, 2, 1, 3, 4}, .attention_layers = 2, .attention = {2, 1, 4}};
  }
  size_t weight_bytes() const override { return 0; }
  size_t activation_bytes() const override { return 0; }
  bool coded() const override { return true; }
  int64_t decode_bytes(int64_t) const override { return 0; }

  Status forward(const StepBatch& step, const SequenceMemory& memory, MutF32View logits,
                 const StepObserver*) override {
    ++forwards_;
    widest_step_ = std::max<int64_t>(widest_step_, static_cast<int64_t>(step.ids.size()));
    EXPECT_EQ(logits.rows, static_cast<int64_t>(step.logit_rows.size()));
    const int64_t floats = state_shape().ssm_floats();
    size_t row = 0;
    for (const Segment& segment : step.segments) {
      float& state = memory.ssm[0][segment.slot * floats];
      float& position = memory.ssm[0][segment.slot * floats + 1];
      if (segment.position == 0) state = position = 0;
      EXPECT_EQ(static_cast<int64_t>(position), segment.position);
      for (int64_t t = segment.first_token; t < segment.first_token + segment.tokens; ++t) {
        state = next_state(state, step.ids[static_cast<size_t>(t)]);
        position += 1;
        if (row < step.logit_rows.size() && step.logit_rows[row] == t)
          fill(state, logits.row(static_cast<int64_t>(row++)));
      }
    }
    EXPECT_EQ(row, step.logit_rows.size());
    non_finite_ = non_finite_ || fail_at_ == forwards_;
    return {};
  }
  Status check_finite() override {
    ++checks_;
    return std::exchange(non_finite_, false) ? fail(ErrorCode::kBadValue, "non-finite activations")
                                             : Status{};
  }

  int64_t forwards_ = 0, widest_step_ = 0, checks_ = 0;
  int64_t fail_at_ = -1;   // number of the forward whose activations are not finite
  float noise_ = 0;        // adds a second random term: a "quantized" variant of the model
  int32_t poisoned_ = -1;  // a vocabulary entry whose logit is NaN

 private:
  bool non_finite_ = false;
  void fill(float state, float* row) const {
    const uint64_t base = static_cast<uint64_t>(state) << 20;
    for (int64_t v = 0; v < config_.vocabulary; ++v) {
      const uint64_t counter = base + static_cast<uint64_t>(v);
      const double other = noise_ == 0 ? 0 : random_uniform(99, counter) - 0.5;
      row[v] = static_cast<float>(8 * random_uniform(seed_, counter) + noise_ * other);
      if (v == poisoned_) row[v] = std::numeric_limits<float>::quiet_NaN();
    }
  }

  ModelConfig config_;
  uint64_t seed_;
};

}  // namespace hlwq
