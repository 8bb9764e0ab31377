#pragma once
// A back end that looks at the inputs of matrices as a model runs on it, and leaves the computing
// to another one. It sees ops, not architectures, so every model can be calibrated.

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/thread_pool.h"
#include "calibrate/moments.h"
#include "ops/backend.h"
#include "ops/host_rows.h"

namespace hlwq {

class WatchingBackend final : public Backend {
 public:
  // `inner` and `pool` must outlive it.
  WatchingBackend(Backend& inner, ThreadPool& pool) : inner_(inner), pool_(pool) {}

  // From now on the inputs of matrices whose data lies there are taken in. Matrices that share an
  // input share one object.
  void watch(const std::byte* matrix) { moments_.emplace(matrix, nullptr); }
  // What was taken in so far; null: nothing was.
  [[nodiscard]] std::shared_ptr<const Moments> moments(const std::byte* matrix) const;
  // Whether rows of this matrix were looked up, since the last forget().
  [[nodiscard]] bool looked_up(const std::byte* matrix) const {
    return looked_up_.contains(matrix);
  }
  // kOutOfMemory when inputs could not be looked at, since the last forget().
  [[nodiscard]] Status looked() const {
    return failure_ ? Status(tl::unexpected(*failure_)) : Status();
  }
  void forget() {
    failure_.reset();
    moments_.clear();
    looked_up_.clear();
  }

  [[nodiscard]] std::string_view name() const override { return inner_.name(); }
  [[nodiscard]] std::string description() const override { return inner_.description(); }
  [[nodiscard]] Compute compute() const override { return inner_.compute(); }
  [[nodiscard]] int threads() const override { return inner_.threads(); }
  [[nodiscard]] Device device() const override { return inner_.device(); }
  [[nodiscard]] DeviceMemory memory() const override { return inner_.memory(); }
  [[nodiscard]] Result<double> read_bandwidth() override { return inner_.read_bandwidth(); }
  [[nodiscard]] Result<Buffer> allocate(size_t bytes, std::string_view what) override {
    return inner_.allocate(bytes, what);
  }
  [[nodiscard]] Status reserve(const ScratchNeeds& needs) override { return inner_.reserve(needs); }
  [[nodiscard]] Status check_experts(std::span<const Mlp> experts) const override {
    return inner_.check_experts(experts);
  }
  [[nodiscard]] Result<Buffer> pin(std::byte* host, size_t bytes) override {
    return inner_.pin(host, bytes);
  }
  void copy_beside(void* to, const void* from, size_t bytes) override {
    inner_.copy_beside(to, from, bytes);
  }
  void record(Queue queue, int fence) override { inner_.record(queue, fence); }
  void wait(Queue queue, int fence) override { inner_.wait(queue, fence); }
  void wait_on_host(int fence) override { inner_.wait_on_host(fence); }
  void upload(void* to, const void* from, size_t bytes) override { inner_.upload(to, from, bytes); }
  void download(void* to, const void* from, size_t bytes) override {
    inner_.download(to, from, bytes);
  }
  void fill_random(std::byte* to, size_t bytes, uint64_t seed, uint64_t keep,
                   uint64_t set) override {
    inner_.fill_random(to, bytes, seed, keep, set);
  }
  // Never recorded: what is looked at must be there when an op is called.
  [[nodiscard]] Status run_step(const StepTokens& tokens, uint64_t /*key*/,
                                const std::function<Status()>& issue) override {
    return inner_.run_step(tokens, 0, issue);
  }
  void synchronize() override { inner_.synchronize(); }

  void rms_norm(const RmsNormArgs& args) override { inner_.rms_norm(args); }
  void quantize(const QuantizeArgs& args) override { inner_.quantize(args); }
  void project(const ProjectArgs& args) override;
  void embed(const EmbedArgs& args) override {
    looked_up_.insert(args.table.data);
    inner_.embed(args);
  }
  void route(const RouteArgs& args) override { inner_.route(args); }
  void place_experts(const PlaceExpertsArgs& args) override { inner_.place_experts(args); }
  void experts(const ExpertsArgs& args) override;
  void begin_experts(const ExpertsArgs& args) override { inner_.begin_experts(args); }
  void some_experts(const ExpertsArgs& args, const ExpertRange& range) override {
    inner_.some_experts(args, range);
  }
  void put_experts(const ExpertsArgs& args, const ExpertRows& rows) override {
    inner_.put_experts(args, rows);
  }
  void end_experts(const ExpertsArgs& args) override { inner_.end_experts(args); }
  void mlp(const MlpArgs& args) override;
  void silu_gate(const SiluGateArgs& args) override { inner_.silu_gate(args); }
  void add(const AddArgs& args) override { inner_.add(args); }
  void mamba(const MambaArgs& args) override { inner_.mamba(args); }
  void rotary(const RotaryArgs& args) override { inner_.rotary(args); }
  void attention(const AttentionArgs& args) override { inner_.attention(args); }
  void sample(const SampleArgs& args) override { inner_.sample(args); }
  [[nodiscard]] bool take_non_finite() override { return inner_.take_non_finite(); }

 private:
  [[nodiscard]] bool watched(const Matrix& matrix) const { return moments_.contains(matrix.data); }
  // Adds rows on the host to the moments of these matrices, which share them.
  void take_in(std::span<const Matrix> matrices, F32View host_rows);
  // Both matrices of an MLP for inputs on the host.
  void take_in(const Mlp& mlp, const float* up_bias, F32View host_rows);

  Backend& inner_;
  ThreadPool& pool_;
  std::unordered_map<const std::byte*, std::shared_ptr<Moments>> moments_;
  std::unordered_set<const std::byte*> looked_up_;
  HostRows rows_, hidden_rows_;
  std::vector<float> squared_;
  std::optional<Error> failure_;
  Buffer device_in_, device_hidden_;  // for up projections of gathered rows
};

}  // namespace hlwq
