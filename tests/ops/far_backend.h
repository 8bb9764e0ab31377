#pragma once
// A back end on the host that behaves like one on another device, so that what stands above back
// ends is tested without one: its memory can be touched by its ops alone (any other access ends the
// program), steps with a key are recorded and replayed with new tokens, and of ops and the copies
// beside them one kind runs as late as the fences allow, so that a missing fence gives wrong
// numbers.

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "ops/backend.h"

namespace hlwq::test {

enum class Late { kCopies, kOps };

class FarBackend final : public Backend {
 public:
  explicit FarBackend(std::unique_ptr<Backend> inner) : inner_(std::move(inner)) {}

  std::string_view name() const override { return "far"; }
  std::string description() const override { return inner_->description(); }
  Compute compute() const override { return inner_->compute(); }
  int threads() const override { return inner_->threads(); }
  Device device() const override { return Device::kCuda; }
  DeviceMemory memory() const override {
    size_t taken = 0;
    for (const auto& [data, bytes] : regions()) taken += bytes;
    return {.total = most_bytes_,
            .free = most_bytes_ - std::min(taken, most_bytes_),
            .allocated = taken,
            .peak = taken};
  }
  Result<double> read_bandwidth() override { return inner_->read_bandwidth(); }

  Result<Buffer> allocate(size_t bytes, std::string_view what) override {
    if (bytes == 0) return Buffer();
    if (fails_after_ >= 0 && fails_after_-- == 0)
      return fail(ErrorCode::kOutOfMemory, "no memory for " + std::string(what));
    if (bytes > memory().free) return fail(ErrorCode::kOutOfMemory, std::string(what));
    const int protection = open_ > 0 || !guards_ ? PROT_READ | PROT_WRITE : PROT_NONE;
    void* data = mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    HLWQ_CHECK(data != MAP_FAILED);
    regions()[data] = bytes;
    most_allocated_ = std::max(most_allocated_, memory().allocated);
    return Buffer(data, bytes, Device::kCuda, &release);
  }
  Status reserve(const ScratchNeeds& needs) override { return inner_->reserve(needs); }
  Status check_experts(std::span<const Mlp> experts) const override {
    return inner_->check_experts(experts);
  }
  Result<Buffer> pin(std::byte* host, size_t bytes) override {
    if (refuses_pins_) return fail(ErrorCode::kUnsupported, "no pins today");
    return inner_->pin(host, bytes);
  }
  // Like a driver it refuses a copy that is not within one allocation.
  void copy_beside(void* to, const void* from, size_t bytes) override {
    auto region = regions().upper_bound(to);
    HLWQ_CHECK(region != regions().begin());
    --region;
    const auto offset =
        static_cast<size_t>(static_cast<std::byte*>(to) - static_cast<std::byte*>(region->first));
    HLWQ_CHECK(offset + bytes <= region->second);
    const Op copy = [this, to, from, bytes] {
      const Access access(*this);
      std::memcpy(to, from, bytes);
    };
    late_ == Late::kCopies ? waiting_.push_back(copy) : copy();
  }
  // What waits has been given so much before the fence.
  void record(Queue queue, int fence) override {
    if (is_late(queue)) fences_[fence] = done_ + waiting_.size();
  }
  void wait(Queue queue, int fence) override {
    if (!is_late(queue)) catch_up(fences_[fence]);
  }
  void wait_on_host(int fence) override { catch_up(fences_[fence]); }
  void upload(void* to, const void* from, size_t bytes) override {
    if (late_ == Late::kOps) catch_up_all();
    const Access access(*this);
    if (bytes > 0) std::memcpy(to, from, bytes);
    uploaded_ += bytes;
  }
  void download(void* to, const void* from, size_t bytes) override { upload(to, from, bytes); }
  void fill_random(std::byte* to, size_t bytes, uint64_t seed, uint64_t keep,
                   uint64_t set) override {
    if (late_ == Late::kOps) catch_up_all();
    const Access access(*this);
    inner_->fill_random(to, bytes, seed, keep, set);
  }
  void synchronize() override {
    if (late_ == Late::kOps) catch_up_all();
    ++waits_;
  }

  Status run_step(const StepTokens& tokens, uint64_t key,
                  const std::function<Status()>& issue) override {
    HLWQ_CHECK(tokens_ == nullptr);
    tokens_ = &tokens;
    Status status;
    if (const auto known = recorded_.find(key); key != 0 && known != recorded_.end()) {
      ++replays_;
      for (const auto& op : known->second) op();
    } else {
      recording_ = key == 0 ? nullptr : &recorded_[key];
      status = issue();
      recording_ = nullptr;
    }
    if (late_ == Late::kOps) catch_up_all();  // they look at the step's tokens
    tokens_ = nullptr;
    return status;
  }

  void rms_norm(const RmsNormArgs& args) override {
    run([this, args] { inner_->rms_norm(args); });
  }
  void quantize(const QuantizeArgs& args) override {
    run([this, args] { inner_->quantize(args); });
  }
  void project(const ProjectArgs& args) override {
    run([this, args, all = std::vector(args.projections.begin(), args.projections.end())] {
      inner_->project({.x = args.x, .projections = all, .norm = args.norm});
    });
  }
  void embed(const EmbedArgs& args) override {
    HLWQ_CHECK(tokens_ != nullptr && same(args.ids, tokens_->ids));
    run([this, args] {
      EmbedArgs now = args;
      now.ids = tokens_->ids;
      inner_->embed(now);
    });
  }
  void route(const RouteArgs& args) override {
    run([this, args] { inner_->route(args); });
  }
  void place_experts(const PlaceExpertsArgs& args) override {
    run([this, args] { inner_->place_experts(args); });
  }
  void experts(const ExpertsArgs& args) override {
    run([this, args] { inner_->experts(args); });
  }
  void begin_experts(const ExpertsArgs& args) override {
    run([this, args] { inner_->begin_experts(args); });
  }
  void some_experts(const ExpertsArgs& args, const ExpertRange& range) override {
    run([this, args, range, all = std::vector(range.choices.begin(), range.choices.end())] {
      inner_->some_experts(args, {.first = range.first, .last = range.last, .choices = all});
    });
  }
  void put_experts(const ExpertsArgs& args, const ExpertRows& rows) override {
    run([this, args, rows] { inner_->put_experts(args, rows); });
  }
  void end_experts(const ExpertsArgs& args) override {
    run([this, args] { inner_->end_experts(args); });
  }
  void mlp(const MlpArgs& args) override {
    run([this, args] { inner_->mlp(args); });
  }
  void silu_gate(const SiluGateArgs& args) override {
    run([this, args] { inner_->silu_gate(args); });
  }
  void add(const AddArgs& args) override {
    run([this, args] { inner_->add(args); });
  }
  void mamba(const MambaArgs& args) override { run_mixer(args, &Backend::mamba); }
  void rotary(const RotaryArgs& args) override { run_mixer(args, &Backend::rotary); }
  void attention(const AttentionArgs& args) override { run_mixer(args, &Backend::attention); }
  void sample(const SampleArgs& args) override {
    HLWQ_CHECK(tokens_ == nullptr);
    ++waits_;
    if (late_ == Late::kOps) catch_up_all();
    const Access access(*this);
    inner_->sample(args);
  }
  bool take_non_finite() override {
    ++waits_;
    if (late_ == Late::kOps) catch_up_all();
    return inner_->take_non_finite();
  }

  int64_t replays_ = 0, waits_ = 0;
  size_t uploaded_ = 0;  // downloads count too
  size_t most_bytes_ = size_t{1} << 40;
  size_t most_allocated_ = 0;  // at once
  int64_t fails_after_ = -1;   // so many allocations more; -1: never
  bool refuses_pins_ = false;
  bool guards_ = true;  // its memory; set before the first allocation
  Late late_ = Late::kCopies;

 private:
  using Op = std::function<void()>;

  // Bytes of each buffer there is, of all back ends: a Buffer's deleter knows nothing else.
  static std::map<void*, size_t>& regions() {
    static std::map<void*, size_t> all;
    return all;
  }
  static void release(void* data, size_t bytes) noexcept {
    regions().erase(data);
    munmap(data, bytes);
  }

  // While one lives, the memory can be touched.
  class Access {
   public:
    explicit Access(FarBackend& backend) : backend_(backend) {
      if (backend_.open_++ == 0 && backend_.guards_) protect(PROT_READ | PROT_WRITE);
    }
    ~Access() {
      if (--backend_.open_ == 0 && backend_.guards_) protect(PROT_NONE);
    }
    Access(const Access&) = delete;
    Access& operator=(const Access&) = delete;

   private:
    static void protect(int protection) {
      for (const auto& [data, bytes] : regions()) mprotect(data, bytes, protection);
    }
    FarBackend& backend_;
  };

  template <typename T>
  static bool same(std::span<const T> a, std::span<const T> b) {
    return a.data() == b.data() && a.size() == b.size();
  }
  void run(Op op) {
    const auto with_access = [this, op = std::move(op)] {
      const Access access(*this);
      op();
    };
    late_ == Late::kOps ? waiting_.push_back(with_access) : with_access();
    if (recording_ != nullptr) recording_->push_back(with_access);
  }
  template <typename Args>
  void run_mixer(const Args& args, void (Backend::*mixer)(const Args&)) {
    HLWQ_CHECK(tokens_ != nullptr && same(args.segments, tokens_->segments));
    run([this, args, mixer] {
      Args now = args;
      now.segments = tokens_->segments;
      (*inner_.*mixer)(now);
    });
  }

  [[nodiscard]] bool is_late(Queue queue) const {
    return (queue == Queue::kOps) == (late_ == Late::kOps);
  }
  // Runs what waits, up to the `count`-th there ever was.
  void catch_up(size_t count) {
    for (; done_ < count; ++done_) {
      const Op op = std::move(waiting_.front());
      waiting_.pop_front();
      op();
    }
  }
  void catch_up_all() { catch_up(done_ + waiting_.size()); }

  std::unique_ptr<Backend> inner_;
  std::deque<Op> waiting_;  // ops or copies, whichever are late
  size_t done_ = 0;         // of them so far
  std::map<int, size_t> fences_;
  int open_ = 0;
  const StepTokens* tokens_ = nullptr;  // of the step that runs
  std::vector<Op>* recording_ = nullptr;
  std::map<uint64_t, std::vector<Op>> recorded_;
};

}  // namespace hlwq::test
