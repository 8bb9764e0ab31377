// The ops of one step, coded at 5 bits with random weights: the floor for an engine's tokens a
// second, and where the time goes. Two models: `small`, a whole Nemotron-H of hidden size 256; and
// `30b`, one layer of each kind of the 30B with its head, of which the whole has 23, 23 and 6.
//   kernels_step_bench [--benchmark_...]      step/MODEL/ISA/threads:N/tokens:M, op/NAME/...

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

constexpr int64_t kContext = 1024;
constexpr uint64_t kSeed = 20261122;

struct Model {
  std::string_view name, pattern;
  int64_t hidden, vocabulary, experts, experts_used, expert_width, shared_width;
  MambaShape mamba;
  AttentionShape attention;

  [[nodiscard]] int64_t attention_width() const { return attention.heads * attention.head_dim; }
  [[nodiscard]] int64_t kv_width() const { return attention.kv_heads * attention.head_dim; }
};
constexpr Model kSmall{.name = "small",
                       .pattern = "MEM*EMEME",
                       .hidden = 256,
                       .vocabulary = 8192,
                       .experts = 32,
                       .experts_used = 4,
                       .expert_width = 160,
                       .shared_width = 320,
                       .mamba = {8, 64, 2, 64, 4},
                       .attention = {4, 2, 128}};
constexpr Model k30b{.name = "30b",
                     .pattern = "ME*",
                     .hidden = 2688,
                     .vocabulary = 131072,
                     .experts = 128,
                     .experts_used = 6,
                     .expert_width = 1856,
                     .shared_width = 3712,
                     .mamba = {64, 64, 8, 128, 4},
                     .attention = {32, 2, 128}};

template <typename T>
T value_or_exit(Result<T> result) {
  if (result) return std::move(*result);
  std::fprintf(stderr, "%s\n", result.error().message.c_str());
  std::exit(1);
}

std::byte* keep_bytes(std::vector<Buffer>& buffers, int64_t count) {
  buffers.push_back(value_or_exit(allocate_host(static_cast<size_t>(count), "bench")));
  return buffers.back().data();
}

float* keep_floats(std::vector<Buffer>& buffers, int64_t count) {
  auto* p = reinterpret_cast<float*>(keep_bytes(buffers, count * 4));
  for (int64_t i = 0; i < count; ++i) {
    p[i] = static_cast<float>(random_uniform(kSeed, static_cast<uint64_t>(i)) - 0.5) * 0.1f;
  }
  return p;
}

// The matrices of a model: random codes with norms that keep the scale.
class ModelWeights {
 public:
  explicit ModelWeights(const Model& model)
      : backend_(value_or_exit(make_cpu_backend({}))),
        grid_(value_or_exit(snap_to_grid(codebook(CodebookKind::kGrid, 5)))) {
    const int64_t hidden = model.hidden;
    embedding = coded(model.vocabulary, hidden);
    head = coded(model.vocabulary, hidden);
    in = coded(model.mamba.projected(), hidden);
    out = coded(hidden, model.mamba.inner());
    q = coded(model.attention_width(), hidden);
    k = coded(model.kv_width(), hidden);
    v = coded(model.kv_width(), hidden);
    o = coded(hidden, model.attention_width());
    shared = {coded(model.shared_width, hidden), coded(hidden, model.shared_width)};
    for (int64_t e = 0; e < model.experts; ++e) {
      experts.push_back({coded(model.expert_width, hidden), coded(hidden, model.expert_width)});
    }
    float* gate_weights = keep_floats(buffers_, model.experts * hidden);
    gate = {reinterpret_cast<std::byte*>(gate_weights), model.experts, hidden};
  }

  Matrix embedding, head, in, out, q, k, v, o, gate;
  Mlp shared;
  std::vector<Mlp> experts;

 private:
  Matrix coded(int64_t rows, int64_t cols) {
    const CodedShape shape{CodeLayout::kTiled5, 5, rows, cols};
    std::byte* data = keep_bytes(buffers_, shape.bytes());
    backend_->fill_random(data, static_cast<size_t>(shape.bytes()), kSeed + buffers_.size(),
                          ~uint64_t{0}, 0);
    // Rows of length 0.3, so that the residual stays small over many steps.
    const float norm = 0.3f / std::sqrt(static_cast<float>(blocks_of(cols)));
    for (int64_t i = shape.norms_offset(); i < shape.bytes(); i += 2) {
      *reinterpret_cast<uint16_t*>(data + i) = f32_to_f16(norm);
    }
    Matrix m{data, rows, cols};
    m.grid = &grid_;
    m.layout = CodeLayout::kTiled5;
    return m;
  }

  std::unique_ptr<Backend> backend_;
  LevelGrid grid_;
  std::vector<Buffer> buffers_;
};

const ModelWeights& weights_of(const Model& model) {
  if (&model == &kSmall) {
    static const ModelWeights small(kSmall);
    return small;
  }
  static const ModelWeights large(k30b);
  return large;
}

// A back end with the activations of a step.
class Step {
 public:
  Step(const Model& model, const std::string& isa, int threads, int64_t tokens)
      : model_(model),
        w_(weights_of(model)),
        tokens_(tokens),
        backend_(value_or_exit(make_cpu_backend({.threads = threads, .isa = isa}))) {
    const int64_t widest = std::max(model.mamba.inner(), model.attention_width());
    const Status reserved = backend_->reserve({.tokens = tokens,
                                               .width = std::max(widest, model.hidden),
                                               .mlp_width = model.shared_width,
                                               .experts = model.experts,
                                               .experts_used = model.experts_used,
                                               .context = kContext,
                                               .attention = model.attention,
                                               .mamba = model.mamba});
    if (!reserved) std::exit(1);
    const int64_t most = std::max(widest, model.mamba.conv_channels() * model.mamba.kernel);
    ones_ = floats(most);
    std::fill_n(ones_, most, 1.0f);
    small_ = floats(most);
    residual_ = rows(model.hidden);
    normed_ = activation(model.hidden);
    mixed_ = activation(widest);
    projected_ = rows(model.mamba.projected());
    qkv_[0] = rows(model.attention_width());
    qkv_[1] = rows(model.kv_width());
    qkv_[2] = rows(model.kv_width());
    sum_ = rows(model.hidden);
    logits_ = dense(floats(model.vocabulary), 1, model.vocabulary);
    ids_.assign(static_cast<size_t>(tokens), 7);
    routed_.resize(static_cast<size_t>(tokens * model.experts_used));
    choose_evenly();
    weights_ = floats(tokens * model.experts_used);
    conv_ = floats(model.mamba.conv_channels() * (model.mamba.kernel - 1));
    ssm_ = floats(model.mamba.inner() * model.mamba.state);
    const int64_t pages = kContext / kPageTokens;
    const int64_t page_bytes = 2 * model.kv_width() * kPageTokens * 2;
    pages_.data = keep_bytes(buffers_, pages * page_bytes);
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
    if (on("embed")) backend_->embed({ids_, w_.embedding, residual_});
    for (const char kind : model_.pattern) {
      // A layer of experts norms in its router.
      if (kind != 'E' && on("norm")) backend_->rms_norm({residual_, ones_, 1e-5f, normed_});
      if (kind == 'M') {
        if (on("in_proj")) project(normed_, {{w_.in, nullptr, projected_}});
        if (on("mamba")) run_mamba(segment);
        if (on("out_proj")) {
          project(mixed(model_.mamba.inner()), {{w_.out, nullptr, residual_, true}});
        }
      } else if (kind == '*') {
        if (on("qkv")) {
          project(normed_,
                  {{w_.q, nullptr, qkv_[0]}, {w_.k, nullptr, qkv_[1]}, {w_.v, nullptr, qkv_[2]}});
        }
        if (on("attention")) {
          backend_->attention({model_.attention,
                               qkv_[0],
                               qkv_[1],
                               qkv_[2],
                               pages_,
                               {&segment, 1},
                               mixed(model_.attention_width())});
        }
        if (on("o_proj")) {
          project(mixed(model_.attention_width()), {{w_.o, nullptr, residual_, true}});
        }
      } else {
        if (on("route")) {
          backend_->route({{residual_, ones_, 1e-5f},
                           normed_,
                           w_.gate,
                           small_,
                           1,
                           1,
                           model_.experts_used,
                           true,
                           2.5f,
                           routed_.data(),
                           weights_});
        }
        if (on("experts")) {
          backend_->experts({.x = normed_,
                             .experts = w_.experts,
                             .ids = chosen_.data(),
                             .weights = weights_,
                             .experts_used = model_.experts_used,
                             .y = sum_});
        }
        if (on("add")) backend_->add({sum_, residual_});
        if (on("shared")) {
          backend_->mlp({normed_, w_.shared, nullptr, nullptr, residual_, true});
        }
      }
    }
    if (on("norm")) backend_->rms_norm({residual_, ones_, 1e-5f, normed_});
    if (on("head")) {
      Activation last = normed_;
      last.x.rows = last.q.rows = 1;
      project(last, {{w_.head, nullptr, logits_}});
    }
  }
  [[nodiscard]] bool finite() { return !backend_->take_non_finite(); }

 private:
  float* floats(int64_t count) { return keep_floats(buffers_, count); }
  MutF32View rows(int64_t cols) { return dense(floats(tokens_ * cols), tokens_, cols); }
  Activation activation(int64_t cols) {
    const int64_t blocks = blocks_of(cols) * tokens_;
    return {
        rows(cols),
        {reinterpret_cast<int8_t*>(keep_bytes(buffers_, blocks * kBlock)), floats(blocks),
         reinterpret_cast<int32_t*>(keep_bytes(buffers_, blocks * 4)), tokens_, blocks_of(cols)}};
  }
  // Experts of each token, as if a router chose evenly: a random run of ids with equal gaps.
  void choose_evenly() {
    const int64_t used = model_.experts_used, gap = model_.experts / used;
    for (int64_t t = 0; t < tokens_; ++t) {
      const auto first = static_cast<int64_t>(random_bits(kSeed, static_cast<uint64_t>(t)) >> 33);
      for (int64_t i = 0; i < used; ++i) {
        chosen_.push_back(static_cast<int32_t>((first + i * gap) % model_.experts));
      }
      std::sort(chosen_.end() - used, chosen_.end());
    }
  }
  // What the mixers write, this many columns wide.
  [[nodiscard]] Activation mixed(int64_t cols) const {
    Activation a = mixed_;
    a.x = dense(a.x.data, tokens_, cols);
    a.q.blocks = blocks_of(cols);
    return a;
  }
  void run_mamba(const Segment& segment) {
    backend_->mamba({model_.mamba,
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
                     mixed(model_.mamba.inner())});
  }
  void project(const Activation& x, std::initializer_list<Projection> list) {
    backend_->project({x, {list.begin(), list.size()}});
  }

  const Model& model_;
  const ModelWeights& w_;
  int64_t tokens_;
  std::unique_ptr<Backend> backend_;
  std::vector<Buffer> buffers_;
  MutF32View residual_, projected_, qkv_[3], sum_, logits_;
  Activation normed_, mixed_;
  std::vector<int32_t> ids_, chosen_, routed_, table_;
  float *ones_ = nullptr, *small_ = nullptr, *weights_ = nullptr, *conv_ = nullptr, *ssm_ = nullptr;
  KvPages pages_;
};

void run_step(benchmark::State& state, const Model& model, const std::string& isa, int threads,
              int64_t tokens, const std::string& op) {
  Step step(model, isa, threads, tokens);
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
  for (const Model* model : {&kSmall, &k30b}) {
    for (const std::string isa : {"portable", "avx2", "avx512", "amx"}) {
      if (model == &k30b && isa == "portable") continue;            // minutes
      if (!make_cpu_backend({.threads = 1, .isa = isa})) continue;  // not on this machine
      for (const int threads : thread_counts) {
        for (const int64_t tokens : {1, 8, 128, 512}) {
          const std::string name =
              fmt::format("{}/{}/threads:{}/tokens:{}", model->name, isa, threads, tokens);
          benchmark::RegisterBenchmark(
              fmt::format("step/{}", name).c_str(),
              [=](benchmark::State& state) { run_step(state, *model, isa, threads, tokens, {}); })
              ->UseRealTime();
          for (const std::string op :
               {"embed", "norm", "in_proj", "mamba", "out_proj", "qkv", "attention", "o_proj",
                "route", "experts", "add", "shared", "head"}) {
            benchmark::RegisterBenchmark(
                fmt::format("op/{}/{}", op, name).c_str(),
                [=](benchmark::State& state) { run_step(state, *model, isa, threads, tokens, op); })
                ->UseRealTime();
          }
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
