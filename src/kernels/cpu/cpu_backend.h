#pragma once
// The CPU back end: splits each op into tasks for the pool and calls the kernels of one instruction
// set (kernels.h). A file per family of ops.

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/cpu/kernels.h"
#include "ops/host_backend.h"
#include "ops/sample_row.h"
#include "tensor/buffer.h"

namespace hlwq::cpu {

// An expert and the tokens it meets: rows of x, and as many rows of y one after the other.
struct ExpertPairs {
  Mlp expert;
  const int32_t* tokens = nullptr;  // [count]; null: all of x in order
  int64_t count = 0;
  float* y = nullptr;
  // Set by multiply_pairs: where the hidden rows lie (exact: rotated too), and how many pieces of
  // rows the experts before it have.
  Activation hidden = {};
  float* rotated = nullptr;
  int64_t first_piece = 0;
};

// What the ops write between their steps; all of it lies in one arena made by reserve().
struct Scratch {
  int64_t tokens = 0, pairs = 0;     // rows of the per-token and per-choice arrays
  int64_t outputs = 0;               // pairs, and the tokens of the shared expert after them
  int64_t width = 0, mlp_width = 0;  // floats of their rows
  int64_t experts = 0, conv_channels = 0;
  float* rotated = nullptr;         // exact: [tokens, padded width]
  float* hidden = nullptr;          // [outputs, mlp_width]
  float* hidden_rotated = nullptr;  // exact: [outputs, padded mlp_width]
  int8_t* hidden_xq = nullptr;      // integer: [outputs, padded mlp_width] ...
  float* hidden_sx = nullptr;       // ... [outputs, blocks]
  int32_t* hidden_sum = nullptr;
  float* expert_out = nullptr;          // [outputs, width]
  int32_t* pair_token = nullptr;        // [pairs] choices sorted by expert: the token
  int32_t* choice_pair = nullptr;       // [pairs] of ids' order: the place among sorted choices
  int32_t* expert_begin = nullptr;      // [experts + 1]
  ExpertPairs* expert_pairs = nullptr;  // [experts + 1]
  float* scores = nullptr;              // [tokens, experts] router
  float* corrected = nullptr;           // [tokens, experts]
  float* group_scores = nullptr;        // [tokens, experts]
  uint8_t* chosen = nullptr;            // [tokens, experts]
  float* convolved = nullptr;           // [tokens, conv_channels]
  int64_t query_width = 0;
  float* queries = nullptr;  // [tokens, query_width] rotated, for keys with codes
};

// A product and how it is cut into tasks.
struct Job {
  Product product;
  void (*run)(const Product& product, int64_t begin, int64_t end) = nullptr;
  int64_t task_rows = 0, task_tokens = 0;
  int64_t first_task = 0;
};

class CpuBackend final : public HostBackend {
 public:
  CpuBackend(const CpuKernels& kernels, int threads, Compute compute);

  [[nodiscard]] std::string_view name() const override { return "cpu"; }
  [[nodiscard]] std::string description() const override;
  [[nodiscard]] Compute compute() const override { return compute_; }
  [[nodiscard]] int threads() const override { return pool_.threads(); }
  [[nodiscard]] ThreadPool* pool() override { return &pool_; }
  [[nodiscard]] DeviceMemory memory() const override;
  [[nodiscard]] Result<double> read_bandwidth() override;

  [[nodiscard]] Result<Buffer> allocate(size_t bytes, std::string_view what) override;
  [[nodiscard]] Status reserve(const ScratchNeeds& needs) override;
  void fill_random(std::byte* to, size_t bytes, uint64_t seed, uint64_t keep,
                   uint64_t set) override;

  [[nodiscard]] Status run_step(const StepTokens& /*tokens*/, uint64_t /*key*/,
                                const std::function<Status()>& issue) override {
    const ThreadPool::Awake awake = pool_.keep_awake();
    return issue();
  }

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

  [[nodiscard]] bool take_non_finite() override { return non_finite_.exchange(false); }

 private:
  // fn(task) for every task: on the pool when the whole takes longer than waking it does.
  template <typename Fn>
  void parallel(int64_t tasks, double cost_ns, Fn&& fn) {
    if (tasks <= 1 || cost_ns < kInlineNs) {
      for (int64_t t = 0; t < tasks; ++t) fn(t);
    } else {
      pool_.run(tasks, fn);
    }
  }
  // fn(row) for every row, in ranges; `row_ns` is the cost of one.
  template <typename Fn>
  void parallel_rows(int64_t rows, double row_ns, Fn&& fn) {
    const auto most = static_cast<int64_t>(static_cast<double>(rows) * row_ns / kTaskNs) + 1;
    const int64_t limit = int64_t{4} * pool_.threads();
    const int64_t tasks = most < rows ? (most < limit ? most : limit) : rows < limit ? rows : limit;
    parallel(tasks, static_cast<double>(rows) * row_ns, [&](int64_t task) {
      for (int64_t r = rows * task / tasks; r < rows * (task + 1) / tasks; ++r) fn(r);
    });
  }

  // The product of `matrix` with an activation or, in exact mode, its rotated rows.
  [[nodiscard]] Product make_product(const Matrix& matrix, const Activation& x,
                                     const float* rotated) const;
  // Starts a list of products, adds to it, runs the list in one parallel region.
  void start_jobs() { job_count_ = 0; }
  void add_job(const Product& product);
  void run_jobs();
  // Rotated rows of x for exact products: [x.rows, blocks*128] in `rotated`.
  void rotate(const F32View& x, float* rotated);
  // How many pieces a row of this many blocks has.
  static int64_t pieces_of(int64_t blocks) { return (blocks + kPieceBlocks - 1) / kPieceBlocks; }
  // Quantizes blocks [first, first + count) of a row.
  void quantize_blocks(const Activation& a, int64_t row, int64_t first, int64_t count);
  // `rows` hidden rows from float `at` and block `block` of the scratch on, as a down matrix reads
  // them.
  [[nodiscard]] Activation hidden_rows(int64_t at, int64_t block, int64_t rows,
                                       const Matrix& down) const;
  // relu^2 of a piece of a hidden row, and what the down matrix reads of it.
  void activate(const Activation& hidden, const Matrix& down, float* rotated, int64_t row,
                int64_t piece);
  void choose_experts(const RouteArgs& args, int64_t token);
  void sort_choices(const ExpertsArgs& args);
  // The experts of a range that have tokens, from expert_pairs[0] on; returns how many.
  size_t list_pairs(const ExpertsArgs& args, const ExpertRange& range);
  // Up matrices, hidden layers and down matrices; each in one parallel region.
  void multiply_pairs(const Activation& x, std::span<ExpertPairs> experts, int64_t y_stride);
  // y of all tokens from the outputs of their experts and, unless null, of the shared one; when it
  // is complete it is added to the residual.
  void sum_experts(const ExpertsArgs& args, const float* shared_out);
  void store_keys_values(const AttentionArgs& args);
  void store_coded_keys_values(const AttentionArgs& args);

  static constexpr double kInlineNs = 3000;  // a region costs 0.5 to 2 us
  static constexpr double kTaskNs = 1000;    // shortest task worth handing out
  // Rows are rotated and quantized in pieces of this many blocks, so that threads share one row.
  static constexpr int64_t kPieceBlocks = 8;
  static constexpr double kQuantizeNs = 0.5;  // a value
  static constexpr int64_t kFewestJobs = 8;   // room for projections of models without experts

  const CpuKernels& kernels_;
  ThreadPool pool_;
  Compute compute_;
  std::atomic<bool> non_finite_{false};
  Buffer arena_;
  Scratch scratch_;
  std::span<Job> jobs_;
  size_t job_count_ = 0;
  std::vector<RowSampler> samplers_;  // one a row of sample()
};

}  // namespace hlwq::cpu
