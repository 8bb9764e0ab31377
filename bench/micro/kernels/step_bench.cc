// The ops of one step of a small Nemotron-H (hidden 256, pattern MEM*EMEME, 32 experts of 160, 4
// used, vocabulary 8192), coded at 5 bits with random weights: the floor for an engine's tokens a
// second, and where the time goes.
//   kernels_step_bench [--benchmark_...]      step/ISA/threads:N/tokens:M, op/NAME/...

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/cpu_features.h"
#include "base/float16.h"
#include "base/random.h"
#include "kernels/backends.h"
#include "quant/codebook.h"

namespace hlwq {
namespace {

constexpr int64_t kHidden = 256, kVocabulary = 8192, kContext = 1024;
constexpr int64_t kExperts = 32, kExpertsUsed = 4, kExpertWidth = 160, kSharedWidth = 320;
constexpr MambaShape kMamba{.heads = 8, .head_dim = 64, .groups = 2, .state = 64, .kernel = 4};
constexpr AttentionShape kAttention{.heads = 4, .kv_heads = 2, .head_dim = 128};
constexpr std::string_view kPattern = "MEM*EMEME";
constexpr uint64_t kSeed = 20261122;

template <typename T>
T value_or_exit(Result<T> result) {
  if (result) return std::move(*result);
  std::fprintf(stderr, "%s\n", result.error().message.c_str());
  std::exit(1);
}

// Weights and activations of the step; matrices are random codes with norms that keep the scale.
class Step {
 public:
  Step(const std::string& isa, int threads, int64_t tokens)
      : tokens_(tokens),
        backend_(value_or_exit(make_cpu_backend({.threads = threads, .isa = isa}))) {
    grid_ = value_or_exit(snap_to_grid(codebook(CodebookKind::kGrid, 5)));
    const Status reserved = backend_->reserve({.tokens = tokens,
                                               .width = 512,
                                               .mlp_width = kSharedWidth,
                                               .experts = kExperts,
                                               .experts_used = kExpertsUsed,
                                               .context = kContext,
                                               .attention = kAttention,
                                               .mamba = kMamba});
    if (!reserved) std::exit(1);
    embedding_ = coded(kVocabulary, kHidden);
    head_ = coded(kVocabulary, kHidden);
    in_ = coded(kMamba.projected(), kHidden);
    out_ = coded(kHidden, kMamba.inner());
    q_ = coded(512, kHidden);
    k_ = coded(256, kHidden);
    v_ = coded(256, kHidden);
    o_ = coded(kHidden, 512);
    shared_ = {coded(kSharedWidth, kHidden), coded(kHidden, kSharedWidth)};
    for (int64_t e = 0; e < kExperts; ++e) {
      experts_.push_back({coded(kExpertWidth, kHidden), coded(kHidden, kExpertWidth)});
    }
    gate_ = {reinterpret_cast<std::byte*>(floats(kExperts * kHidden)), kExperts, kHidden};
    ones_ = floats(4096);
    for (int i = 0; i < 4096; ++i) ones_[i] = 1.0f;
    small_ = floats(4096);
    residual_ = rows(kHidden);
    normed_ = activation(kHidden);
    mixed_ = activation(512);
    projected_ = rows(kMamba.projected());
    qkv_[0] = rows(512);
    qkv_[1] = rows(256);
    qkv_[2] = rows(256);
    sum_ = rows(kHidden);
    logits_ = dense(floats(kVocabulary), 1, kVocabulary);
    ids_.assign(static_cast<size_t>(tokens), 7);
    chosen_.resize(static_cast<size_t>(tokens * kExpertsUsed));
    weights_ = floats(tokens * kExpertsUsed);
    conv_ = floats(kMamba.conv_channels() * 3);
    ssm_ = floats(kMamba.inner() * kMamba.state);
    const int64_t pages = kContext / kPageTokens;
    const int64_t page_bytes = 2 * kAttention.kv_heads * kPageTokens * kAttention.head_dim * 2;
    pages_.data = reinterpret_cast<std::byte*>(floats(pages * page_bytes / 4));
    std::fill_n(pages_.data, pages * page_bytes, std::byte{0});
    pages_.page_bytes = page_bytes;
    for (int64_t i = 0; i < pages; ++i) table_.push_back(static_cast<int32_t>(i));
    pages_.tables = table_.data();
    pages_.table_stride = pages;
  }

  // Runs every op, or only those named `op`.
  void run(std::string_view op = {}) {
    const auto on = [&](std::string_view name) { return op.empty() || op == name; };
    const int64_t position = op.empty() && tokens_ == 1 ? 512 : kContext - tokens_;
    const Segment segment{0, tokens_, position, 0};
    if (on("embed")) backend_->embed({ids_, embedding_, residual_});
    for (const char kind : kPattern) {
      // A layer of experts norms in its router.
      if (kind != 'E' && on("norm")) backend_->rms_norm({residual_, ones_, 1e-5f, normed_});
      if (kind == 'M') {
        if (on("in_proj")) project(normed_, {{in_, nullptr, projected_}});
        if (on("mamba")) {
          backend_->mamba({kMamba,
                           projected_,
                           small_,
                           small_,
                           small_,
                           small_,
                           small_,
                           0.0f,
                           1e9f,
                           ones_,
                           1e-5f,
                           conv_,
                           ssm_,
                           {&segment, 1},
                           mixed_});
        }
        if (on("out_proj")) project(mixed_, {{out_, nullptr, residual_, true}});
      } else if (kind == '*') {
        if (on("qkv")) {
          project(normed_,
                  {{q_, nullptr, qkv_[0]}, {k_, nullptr, qkv_[1]}, {v_, nullptr, qkv_[2]}});
        }
        if (on("attention")) {
          backend_->attention(
              {kAttention, qkv_[0], qkv_[1], qkv_[2], pages_, {&segment, 1}, mixed_});
        }
        if (on("o_proj")) project(mixed_, {{o_, nullptr, residual_, true}});
      } else {
        if (on("route")) {
          backend_->route({{residual_, ones_, 1e-5f},
                           normed_,
                           gate_,
                           small_,
                           1,
                           1,
                           kExpertsUsed,
                           true,
                           2.5f,
                           chosen_.data(),
                           weights_});
        }
        if (on("experts")) {
          backend_->experts({.x = normed_,
                             .experts = experts_,
                             .ids = chosen_.data(),
                             .weights = weights_,
                             .experts_used = kExpertsUsed,
                             .y = sum_});
        }
        if (on("add")) backend_->add({sum_, residual_});
        if (on("shared")) {
          backend_->mlp({normed_, shared_, nullptr, nullptr, residual_, true});
        }
      }
    }
    if (on("norm")) backend_->rms_norm({residual_, ones_, 1e-5f, normed_});
    if (on("head")) {
      Activation last = normed_;
      last.x.rows = last.q.rows = 1;
      project(last, {{head_, nullptr, logits_}});
    }
  }
  [[nodiscard]] bool finite() { return !backend_->take_non_finite(); }

 private:
  std::byte* bytes(int64_t count) {
    buffers_.push_back(value_or_exit(allocate_host(static_cast<size_t>(count), "bench")));
    return buffers_.back().data();
  }
  float* floats(int64_t count) {
    auto* p = reinterpret_cast<float*>(bytes(count * 4));
    for (int64_t i = 0; i < count; ++i) {
      p[i] = static_cast<float>(random_uniform(kSeed, static_cast<uint64_t>(i)) - 0.5) * 0.1f;
    }
    return p;
  }
  MutF32View rows(int64_t cols) { return dense(floats(tokens_ * cols), tokens_, cols); }
  Activation activation(int64_t cols) {
    const int64_t blocks = blocks_of(cols) * tokens_;
    return {rows(cols),
            {reinterpret_cast<int8_t*>(bytes(blocks * kBlock)), floats(blocks),
             reinterpret_cast<int32_t*>(bytes(blocks * 4)), tokens_, blocks_of(cols)}};
  }
  Matrix coded(int64_t row_count, int64_t cols) {
    const CodedShape shape{CodeLayout::kTiled5, 5, row_count, cols};
    std::byte* data = bytes(shape.bytes());
    for (int64_t i = 0; i < shape.bytes(); ++i) {
      data[i] = static_cast<std::byte>(random_bits(kSeed, static_cast<uint64_t>(i)));
    }
    // Rows of length 0.3, so that the residual stays small over many steps.
    const float norm = 0.3f / std::sqrt(static_cast<float>(blocks_of(cols)));
    for (int64_t i = shape.norms_offset(); i < shape.bytes(); i += 2) {
      *reinterpret_cast<uint16_t*>(data + i) = f32_to_f16(norm);
    }
    Matrix m{data, row_count, cols};
    m.grid = &grid_;
    m.layout = CodeLayout::kTiled5;
    return m;
  }
  void project(const Activation& x, std::initializer_list<Projection> list) {
    backend_->project({x, {list.begin(), list.size()}});
  }

  int64_t tokens_;
  std::unique_ptr<Backend> backend_;
  LevelGrid grid_;
  std::vector<Buffer> buffers_;
  Matrix embedding_, head_, in_, out_, q_, k_, v_, o_, gate_;
  Mlp shared_;
  std::vector<Mlp> experts_;
  MutF32View residual_, projected_, qkv_[3], sum_, logits_;
  Activation normed_, mixed_;
  std::vector<int32_t> ids_, chosen_, table_;
  float *ones_ = nullptr, *small_ = nullptr, *weights_ = nullptr, *conv_ = nullptr, *ssm_ = nullptr;
  KvPages pages_;
};

void run_step(benchmark::State& state, const std::string& isa, int threads, int64_t tokens,
              const std::string& op) {
  Step step(isa, threads, tokens);
  step.run();
  double best_s = 1e9;
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    step.run(op);
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    best_s = std::min(best_s, time.count());
  }
  if (!step.finite()) state.SkipWithError("non-finite activations");
  state.counters["best_us"] = best_s * 1e6;  // the fastest: others share the machine
  state.counters["tok/s"] = static_cast<double>(tokens) / best_s;
}

void register_all() {
  std::vector<int> thread_counts{1};
  if (usable_cpus() > 1) thread_counts.push_back(usable_cpus());
  for (const std::string isa : {"portable", "avx2", "avx512"}) {
    if (!make_cpu_backend({.threads = 1, .isa = isa})) continue;  // not on this machine
    for (const int threads : thread_counts) {
      for (const int64_t tokens : {1, 8, 512}) {
        const std::string name = fmt::format("{}/threads:{}/tokens:{}", isa, threads, tokens);
        benchmark::RegisterBenchmark(
            fmt::format("step/{}", name).c_str(),
            [=](benchmark::State& state) { run_step(state, isa, threads, tokens, {}); })
            ->UseRealTime();
        for (const std::string op :
             {"embed", "norm", "in_proj", "mamba", "out_proj", "qkv", "attention", "o_proj",
              "route", "experts", "add", "shared", "head"}) {
          benchmark::RegisterBenchmark(
              fmt::format("op/{}/{}", op, name).c_str(),
              [=](benchmark::State& state) { run_step(state, isa, threads, tokens, op); })
              ->UseRealTime();
        }
      }
    }
  }
}

}  // namespace
}  // namespace hlwq

int main(int argc, char** argv) {
  hlwq::register_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
