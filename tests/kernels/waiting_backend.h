#pragma once
// A back end as the op tests call it: every op has finished when it returns, ops that read the
// tokens of a step run inside one, and the experts op gets its table. So a test reads as if every
// back end computed in place.

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ops/backend.h"

namespace hlwq::test {

class WaitingBackend final : public Backend {
 public:
  explicit WaitingBackend(std::unique_ptr<Backend> inner) : inner_(std::move(inner)) {}

  std::string_view name() const override { return inner_->name(); }
  std::string description() const override { return inner_->description(); }
  Compute compute() const override { return inner_->compute(); }
  int threads() const override { return inner_->threads(); }
  Device device() const override { return inner_->device(); }
  DeviceMemory memory() const override { return inner_->memory(); }
  Result<double> read_bandwidth() override { return inner_->read_bandwidth(); }
  Result<Buffer> allocate(size_t bytes, std::string_view what) override {
    return inner_->allocate(bytes, what);
  }
  Status reserve(const ScratchNeeds& needs) override { return inner_->reserve(needs); }
  Status check_experts(std::span<const Mlp> experts) const override {
    return inner_->check_experts(experts);
  }
  Result<Buffer> pin(std::byte* host, size_t bytes) override { return inner_->pin(host, bytes); }
  void copy_beside(void* to, const void* from, size_t bytes) override {
    inner_->copy_beside(to, from, bytes);
  }
  void record(Queue queue, int fence) override { inner_->record(queue, fence); }
  void wait(Queue queue, int fence) override { inner_->wait(queue, fence); }
  void wait_on_host(int fence) override { inner_->wait_on_host(fence); }
  void upload(void* to, const void* from, size_t bytes) override {
    inner_->upload(to, from, bytes);
  }
  void download(void* to, const void* from, size_t bytes) override {
    inner_->download(to, from, bytes);
  }
  void fill_random(std::byte* to, size_t bytes, uint64_t seed, uint64_t keep,
                   uint64_t set) override {
    inner_->fill_random(to, bytes, seed, keep, set);
    wait();
  }
  Status run_step(const StepTokens& tokens, uint64_t key,
                  const std::function<Status()>& issue) override {
    in_step_ = true;
    const Status status = inner_->run_step(tokens, key, issue);
    in_step_ = false;
    wait();
    return status;
  }
  void synchronize() override { inner_->synchronize(); }

  void rms_norm(const RmsNormArgs& args) override {
    inner_->rms_norm(args);
    wait();
  }
  void quantize(const QuantizeArgs& args) override {
    inner_->quantize(args);
    wait();
  }
  void project(const ProjectArgs& args) override {
    inner_->project(args);
    wait();
  }
  void route(const RouteArgs& args) override {
    inner_->route(args);
    wait();
  }
  void mlp(const MlpArgs& args) override {
    inner_->mlp(args);
    wait();
  }
  void silu_gate(const SiluGateArgs& args) override {
    inner_->silu_gate(args);
    wait();
  }
  void add(const AddArgs& args) override {
    inner_->add(args);
    wait();
  }
  void sample(const SampleArgs& args) override { inner_->sample(args); }

  void experts(const ExpertsArgs& args) override {
    const Buffer table = table_of(args.experts);
    inner_->experts(with_table(args, table));
    wait();
  }
  void place_experts(const PlaceExpertsArgs& args) override {
    inner_->place_experts(args);
    wait();
  }
  // The parts share a table: begin makes it.
  void begin_experts(const ExpertsArgs& args) override {
    table_ = table_of(args.experts);
    inner_->begin_experts(with_table(args, table_));
    wait();
  }
  void some_experts(const ExpertsArgs& args, const ExpertRange& range) override {
    inner_->some_experts(with_table(args, table_), range);
    wait();
  }
  void put_experts(const ExpertsArgs& args, const ExpertRows& rows) override {
    inner_->put_experts(with_table(args, table_), rows);
    wait();
  }
  void end_experts(const ExpertsArgs& args) override {
    inner_->end_experts(with_table(args, table_));
    wait();
  }
  void embed(const EmbedArgs& args) override {
    const Segment all{.first_token = 0, .tokens = static_cast<int64_t>(args.ids.size())};
    in_a_step({args.ids, {&all, 1}}, [&] { inner_->embed(args); });
  }
  void mamba(const MambaArgs& args) override {
    const std::vector<int32_t> ids(static_cast<size_t>(args.projected.rows), 0);
    in_a_step({ids, args.segments}, [&] { inner_->mamba(args); });
  }
  void rotary(const RotaryArgs& args) override {
    const std::vector<int32_t> ids(static_cast<size_t>(args.q.rows), 0);
    in_a_step({ids, args.segments}, [&] { inner_->rotary(args); });
  }
  void attention(const AttentionArgs& args) override {
    const std::vector<int32_t> ids(static_cast<size_t>(args.q.rows), 0);
    in_a_step({ids, args.segments}, [&] { inner_->attention(args); });
  }

  bool take_non_finite() override { return inner_->take_non_finite(); }

 private:
  void wait() {
    if (!in_step_) inner_->synchronize();
  }
  // Where the experts lie, on the device; nothing on the host, where the span says it.
  Buffer table_of(std::span<const Mlp> experts) {
    if (device() == Device::kHost) return {};
    std::vector<ExpertAddress> addresses;
    for (const Mlp& expert : experts) addresses.push_back({expert.up.data, expert.down.data});
    const size_t bytes = addresses.size() * sizeof(ExpertAddress);
    auto table = inner_->allocate(bytes, "table of experts");
    EXPECT_TRUE(table) << table.error().message;
    inner_->upload(table->data(), addresses.data(), bytes);
    return std::move(*table);
  }
  static ExpertsArgs with_table(ExpertsArgs args, const Buffer& table) {
    if (args.table == nullptr && !table.empty())
      args.table = reinterpret_cast<const ExpertAddress*>(table.data());
    return args;
  }
  void in_a_step(const StepTokens& tokens, const std::function<void()>& op) {
    if (in_step_) return op();
    const Status status = run_step(tokens, 0, [&]() -> Status {
      op();
      return {};
    });
    EXPECT_TRUE(status) << status.error().message;
  }

  std::unique_ptr<Backend> inner_;
  bool in_step_ = false;
  Buffer table_;  // of begin_experts
};

}  // namespace hlwq::test
