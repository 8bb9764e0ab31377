#pragma once
// The CUDA back end: one stream, ops as launches on it, whole decode steps as recorded graphs. A
// file per family of ops; kernels are behind launchers in headers of their own (one kernel a .cu).

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "kernels/cuda/copy_queue.h"
#include "kernels/cuda/device_limits.h"
#include "kernels/cuda/expert_tiles.h"
#include "kernels/cuda/host_calls.h"
#include "kernels/cuda/memory.h"
#include "kernels/cuda/sampling_memory.h"
#include "kernels/cuda/step_inputs.h"
#include "kernels/cuda/stream.h"
#include "ops/backend.h"

namespace hlwq::cuda {

// What the ops write between their steps; all of it lies in one arena made by reserve(). Rows are
// tokens, or pairs of a token and one of its experts (tokens * experts_used). Nothing but counters
// outlives an op, so what products and experts use shares memory with what the mixers use.
struct Scratch {
  int64_t tokens = 0, pairs = 0;
  int64_t width = 0, mlp_width = 0, expert_width = 0, sum_width = 0, experts = 0;
  float* rotated = nullptr;         // exact: [tokens, padded width]
  float* hidden = nullptr;          // [hidden_floats] rows of any width
  QuantizedView hidden_q;           // the same rows, int8
  float* hidden_rotated = nullptr;  // exact: the same rows, rotated
  float* expert_out = nullptr;      // [pairs, sum_width]
  float* shared_out = nullptr;      // [tokens, sum_width]
  int32_t* pair_token = nullptr;    // [pairs] sorted by expert: the token
  int32_t* choice_pair = nullptr;   // [pairs] in the order of ids: its place among the sorted
  int32_t* expert_begin = nullptr;  // [experts + 1] first sorted pair of each expert
  ExpertTile* tiles = nullptr;      // [pairs / 16 + experts] of the sorted pairs
  int32_t* tile_count = nullptr;
  float* scores = nullptr;             // [tokens, experts] router
  uint32_t* route_arrivals = nullptr;  // zero between launches: last-arrival counter of the router
  float* convolved = nullptr;          // [tokens, conv_channels] after SiLU
  float* decay = nullptr;              // [tokens, heads] exp(dt A) of the scan
  float* time_step = nullptr;          // [tokens, heads] dt of the scan
  float* attention_parts = nullptr;    // [attention_splits, heads, attention_record(head_dim)]
  int64_t attention_splits = 0;        // attention_splits_for(context), of all segments of a launch
  uint32_t* counters = nullptr;  // [tokens, groups] zero between launches: last-arriver counters
};

// Some of a step's sorted pairs of tokens and experts; tiles < 0: as many as the device counts.
struct PairRange {
  int64_t first_expert = 0, experts = 0;
  int64_t first_pair = 0, pairs = 0;
  int64_t first_tile = 0, tiles = -1;
};

class CudaBackend final : public Backend {
 public:
  // Errors: kUnsupported (no device, a device too old), kOutOfMemory.
  static Result<std::unique_ptr<CudaBackend>> create(Compute compute, int threads);
  ~CudaBackend() override;

  [[nodiscard]] std::string_view name() const override { return "cuda"; }
  [[nodiscard]] std::string description() const override { return description_; }
  [[nodiscard]] Compute compute() const override { return compute_; }
  [[nodiscard]] int threads() const override { return threads_; }  // of the host, to load with
  [[nodiscard]] Device device() const override { return Device::kCuda; }
  [[nodiscard]] DeviceMemory memory() const override;
  [[nodiscard]] Result<double> read_bandwidth() override;

  [[nodiscard]] Result<Buffer> allocate(size_t bytes, std::string_view what) override;
  [[nodiscard]] Status reserve(const ScratchNeeds& needs) override;
  [[nodiscard]] Status check_experts(std::span<const Mlp> experts) const override;
  [[nodiscard]] Result<Buffer> pin(std::byte* host, size_t bytes) override;
  void copy_beside(void* to, const void* from, size_t bytes) override;
  void record(Queue queue, int fence) override;
  void wait(Queue queue, int fence) override;
  void wait_on_host(int fence) override;
  void upload(void* to, const void* from, size_t bytes) override;
  void download(void* to, const void* from, size_t bytes) override;
  void fill_random(std::byte* to, size_t bytes, uint64_t seed, uint64_t keep,
                   uint64_t set) override;
  [[nodiscard]] Status run_step(const StepTokens& tokens, uint64_t key,
                                const std::function<Status()>& issue) override;
  void synchronize() override;

  void rms_norm(const RmsNormArgs& args) override;
  void quantize(const QuantizeArgs& args) override;
  void project(const ProjectArgs& args) override;
  void embed(const EmbedArgs& args) override;
  void route(const RouteArgs& args) override;
  void place_experts(const PlaceExpertsArgs& args) override;
  void experts(const ExpertsArgs& args) override;
  void begin_experts(const ExpertsArgs& args) override;
  void some_experts(const ExpertsArgs& args, const ExpertRange& range) override;
  void put_experts(const ExpertsArgs& args, const ExpertRows& rows) override;
  void end_experts(const ExpertsArgs& args) override;
  void mlp(const MlpArgs& args) override;
  void silu_gate(const SiluGateArgs& args) override;
  void add(const AddArgs& args) override;
  void mamba(const MambaArgs& args) override;
  void rotary(const RotaryArgs& args) override;
  void attention(const AttentionArgs& args) override;
  void sample(const SampleArgs& args) override;

  [[nodiscard]] bool take_non_finite() override;

 private:
  CudaBackend(Compute compute, int threads) : compute_(compute), threads_(threads) {}

  [[nodiscard]] Status reserve_scratch(const ScratchNeeds& needs);
  // Tokens of context that the launches of this step must cover: at least every position of it. A
  // power of two, so that recordings are few; results do not depend on it.
  [[nodiscard]] int64_t recorded_context() const { return recorded_context_; }

  // What the product with `down` reads of relu(hidden)^2: all of scratch_.hidden, of which `rows`
  // from `first` on are made now.
  [[nodiscard]] Activation activate_hidden(int64_t first, int64_t rows, const Matrix& down);
  // y row p = matrix of the expert of pair p times x row input_row[p] (p itself when null).
  void multiply_pairs(const ExpertsArgs& args, const PairRange& range, bool down,
                      const Activation& x, const int32_t* input_row, float* y);
  void multiply_range(const ExpertsArgs& args, const PairRange& range);
  // Rotated rows of x for exact products, in `rotated`.
  void rotate(const F32View& x, float* rotated);
  void experts_of_one_token(const ExpertsArgs& args, const Mlp& any);

  Compute compute_;
  int threads_;
  DeviceLimits limits_;
  int64_t recorded_context_ = 0;
  std::string description_;
  Stream stream_;
  CopyQueue copies_;
  StepInputs step_;  // ids and segments of the current step, on the device
  SamplingMemory sampling_;
  Buffer arena_;
  Scratch scratch_;
  PinnedBuffer flags_;              // [0]: non-finite, written by kernels, read here
  uint32_t* non_finite_ = nullptr;  // device address of flags_[0]
  bool recording_ = false;
  HostCalls host_calls_;  // of ops that were given to the stream, or recorded, since it was served
  struct Recording {
    Graph graph;
    HostCalls host_calls;
  };
  std::unordered_map<uint64_t, Recording> graphs_;
};

}  // namespace hlwq::cuda
