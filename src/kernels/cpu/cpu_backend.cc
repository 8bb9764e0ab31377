#include "kernels/cpu/cpu_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "base/check.h"
#include "base/checked.h"
#include "base/cpu_features.h"
#include "kernels/backends.h"
#include "ops/host_bandwidth.h"
#include "ops/host_memory.h"

namespace hlwq {
namespace cpu {
namespace {

constexpr int64_t kFillWords = 1 << 15;  // of a task
constexpr double kSampleNs = 2.0;        // a logit

// Lays arrays one after the other: first to measure, then to hand out pointers.
class Layout {
 public:
  explicit Layout(std::byte* base) : base_(base) {}
  template <typename T>
  void place(T*& pointer, int64_t count) {
    if (base_ != nullptr && count > 0) pointer = reinterpret_cast<T*>(base_ + bytes_);
    bytes_ += static_cast<size_t>(round_up(count * static_cast<int64_t>(sizeof(T)), 64));
  }
  [[nodiscard]] size_t bytes() const { return bytes_; }

 private:
  std::byte* base_;
  size_t bytes_ = 0;
};

void lay_out(Scratch& s, Job*& jobs, int64_t job_count, Compute compute, Layout& layout) {
  const int64_t blocks = blocks_of(s.mlp_width);
  if (compute == Compute::kExact) {
    layout.place(s.rotated, s.tokens * blocks_of(s.width) * kBlock);
    layout.place(s.hidden_rotated, s.outputs * blocks * kBlock);
  } else {
    layout.place(s.hidden_xq, s.outputs * blocks * kBlock);
    layout.place(s.hidden_sx, s.outputs * blocks);
    layout.place(s.hidden_sum, s.outputs * blocks);
  }
  layout.place(s.hidden, s.outputs * s.mlp_width);
  if (s.experts > 0) {
    layout.place(s.expert_out, s.outputs * s.width);
    layout.place(s.pair_token, s.pairs);
    layout.place(s.choice_pair, s.pairs);
    layout.place(s.expert_begin, s.experts + 1);
    layout.place(s.expert_pairs, s.experts + 1);
    layout.place(s.scores, s.tokens * s.experts);
    layout.place(s.corrected, s.tokens * s.experts);
    layout.place(s.group_scores, s.tokens * s.experts);
    layout.place(s.chosen, s.tokens * s.experts);
  }
  layout.place(s.convolved, s.tokens * s.conv_channels);
  layout.place(s.queries, s.tokens * s.query_width);
  layout.place(jobs, job_count);
}

}  // namespace

CpuBackend::CpuBackend(const CpuKernels& kernels, int threads, Compute compute)
    : kernels_(kernels), pool_(threads), compute_(compute) {}

std::string CpuBackend::description() const {
  return fmt::format("cpu, {} kernels, {} threads, {} compute", kernels_.name, threads(),
                     compute_ == Compute::kInt8 ? "int8" : "exact");
}

Result<Buffer> CpuBackend::allocate(size_t bytes, std::string_view what) {
  return allocate_host(bytes, what);
}

Status CpuBackend::reserve(const ScratchNeeds& needs) {
  Scratch sizes;
  sizes.tokens = needs.tokens;
  sizes.pairs = needs.tokens * std::max<int64_t>(needs.experts_used, 1);
  sizes.outputs = sizes.pairs + (needs.experts > 0 ? needs.tokens : 0);
  sizes.width = needs.width;
  sizes.mlp_width = needs.mlp_width;
  sizes.experts = needs.experts;
  sizes.conv_channels = needs.mamba.conv_channels();
  sizes.query_width = needs.attention.heads * needs.attention.head_dim;
  const int64_t jobs = std::max(kFewestJobs, needs.experts + 1);

  Scratch scratch = sizes;
  Job* first = nullptr;
  Layout measure(nullptr);
  lay_out(scratch, first, jobs, compute_, measure);
  HLWQ_TRY_ASSIGN(arena_, allocate_host(measure.bytes(), "scratch of the CPU back end"));
  Layout layout(arena_.data());
  lay_out(scratch, first, jobs, compute_, layout);
  std::uninitialized_default_construct_n(first, jobs);
  scratch_ = scratch;
  jobs_ = {first, static_cast<size_t>(jobs)};
  job_count_ = 0;
  return {};
}

DeviceMemory CpuBackend::memory() const { return host_memory(); }

Result<double> CpuBackend::read_bandwidth() { return host_read_bandwidth(pool_); }

void CpuBackend::fill_random(std::byte* to, size_t bytes, uint64_t seed, uint64_t keep,
                             uint64_t set) {
  const auto words = static_cast<int64_t>((bytes + sizeof(uint64_t) - 1) / sizeof(uint64_t));
  pool_.run_ranges(words, kFillWords, [&](int64_t begin, int64_t end) {
    const auto first = static_cast<size_t>(begin) * sizeof(uint64_t);
    const auto last = static_cast<size_t>(end) * sizeof(uint64_t);
    fill_random_range(to, first, std::min(last, bytes), seed, keep, set);
  });
}

void CpuBackend::sample(const SampleArgs& args) {
  const auto rows = static_cast<int64_t>(args.rows.size());
  HLWQ_CHECK(rows == args.logits.rows && args.ids.size() == args.rows.size());
  if (samplers_.size() < args.rows.size()) samplers_.resize(args.rows.size());
  parallel(rows, static_cast<double>(rows * args.logits.cols) * kSampleNs, [&](int64_t r) {
    const auto at = static_cast<size_t>(r);
    args.ids[at] = samplers_[at].sample({args.logits.row(r), static_cast<size_t>(args.logits.cols)},
                                        args.rows[at]);
  });
}

}  // namespace cpu

Result<std::unique_ptr<HostBackend>> make_cpu_backend(const BackendOptions& options) {
  if (options.threads < 0) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("threads: {} is negative (0 means every usable CPU)", options.threads));
  }
  const int threads = options.threads == 0 ? usable_cpus() : options.threads;
  const cpu::CpuKernels* kernels = nullptr;
  const bool best = options.isa == "best";
  bool known = best || options.isa == "amx" || options.isa == "avx512" || options.isa == "avx2";
#if defined(__x86_64__)
  const CpuFeatures& features = cpu_features();
  if ((best || options.isa == "amx") && features.amx_int8) kernels = &cpu::amx_kernels();
  if (kernels == nullptr && (best || options.isa == "avx512") && features.avx512_vbmi) {
    kernels = &cpu::avx512_kernels();
  }
  if (kernels == nullptr && (best || options.isa == "avx2") && features.avx2) {
    kernels = &cpu::avx2_kernels();
  }
#endif
  if (kernels == nullptr && (best || options.isa == "portable")) {
    kernels = &cpu::portable_kernels();
    known = true;
  }
  if (!known) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("isa: got '{}', want best, amx, avx512, avx2 or portable", options.isa));
  }
  if (kernels == nullptr) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("isa: this processor cannot run '{}'", options.isa));
  }
  return std::make_unique<cpu::CpuBackend>(*kernels, threads, options.compute);
}

}  // namespace hlwq
