#include "hlwq/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "api/check_options.h"
#include "api/choose_backend.h"
#include "api/choose_experts.h"
#include "api/decoded_text.h"
#include "api/draw_seed.h"
#include "api/engine_impl.h"
#include "api/engine_limits.h"
#include "api/expert_traffic.h"
#include "api/guard.h"
#include "api/kv_check.h"
#include "api/request_settings.h"
#include "base/log.h"
#include "base/units.h"
#include "io/file.h"
#include "model/synthetic.h"
#include "model/tensor_names.h"
#include "runtime/generate.h"
#include "runtime/perplexity.h"

namespace hlwq {
namespace {

// A checkpoint that lacks its tokenizer has it in the base folder.
Result<Tokenizer> open_tokenizer(const std::string& path, const std::string& base) {
  const bool from_base = !base.empty() && !file_exists(path + "/tokenizer.json");
  return Tokenizer::open(from_base ? base : path);
}

// Compiled when the model is loaded, so that its faults are known before the first chat; a model
// without one is of use all the same.
Result<ChatTemplate> compile_template(const Tokenizer& tokenizer, const std::string& path) {
  if (!tokenizer.chat_template())
    return fail(ErrorCode::kMissing, fmt::format("{}: there is no chat template", path));
  const auto token = [&](std::optional<int32_t> id) {
    return id ? std::string(tokenizer.bytes(*id)) : std::string();
  };
  return ChatTemplate::compile(*tokenizer.chat_template(), "chat template", token(tokenizer.bos()),
                               token(tokenizer.eos()));
}

std::vector<int32_t> union_of_stop_ids(const GenerationConfig& generation,
                                       const ModelConfig& config,
                                       const Result<Tokenizer>& tokenizer) {
  std::vector<int32_t> ids = generation.stop_ids;
  ids.insert(ids.end(), config.eos.begin(), config.eos.end());
  if (tokenizer && tokenizer->eos()) ids.push_back(*tokenizer->eos());
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

std::vector<TokenScore> token_scores(const PerplexityRequest& request, int64_t window,
                                     const PredictionScores& scores) {
  std::vector<TokenScore> tokens(static_cast<size_t>(request.window - 1));
  for (size_t i = 0; i < tokens.size(); ++i) {
    const size_t at = static_cast<size_t>(window) * tokens.size() + i;
    tokens[i] = {.window = window,
                 .position = static_cast<int64_t>(i) + 1,
                 .id = request.ids[static_cast<size_t>(window * request.window) + i + 1],
                 .nll = scores.nll[at]};
    if (scores.kl.empty()) continue;
    tokens[i].kl = scores.kl[at];
    tokens[i].same_top = scores.same_top[at] != 0;
  }
  return tokens;
}

Divergence to_divergence(const PerplexityReport& report) {
  const DivergenceReport& of = *report.divergence;
  return {.kl_mean = of.kl_mean,
          .kl_median = of.kl_median,
          .kl_p99 = of.kl_p99,
          .kl_p999 = of.kl_p999,
          .top1 = of.top1,
          .kl_mean_stderr = of.kl_mean_stderr,
          .top1_stderr = of.top1_stderr,
          .ppl_reference = std::exp(of.reference_nll),
          .ln_ppl_ratio = report.nll - of.reference_nll,
          .ln_ppl_ratio_stderr = of.nll_difference_stderr};
}

int64_t count_parameters(const ModelConfig& config) {
  int64_t count = 0;
  for (const ExpectedTensor& tensor : expected_tensors(config)) {
    int64_t elements = 1;
    for (const int64_t d : tensor.shape) elements *= d;
    count += elements;
  }
  return count;
}

template <typename T>
void fill_in(std::optional<T>& field, const std::optional<T>& of_model, T otherwise) {
  if (!field) field = of_model.value_or(otherwise);
}

}  // namespace

std::string_view version() { return HLWQ_VERSION; }

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;
Engine::~Engine() = default;

Result<Engine> Engine::open(const std::string& path, const EngineOptions& options,
                            const std::function<void(uint64_t, uint64_t)>& progress) {
  return guarded([&]() -> Result<Engine> {
    HLWQ_TRY_ASSIGN(auto impl, Impl::start(options, path));
    HLWQ_TRY_ASSIGN(const ModelConfig config, read_model_config(path));
    HLWQ_TRY(check_kv_options(options, config));
    HLWQ_TRY_ASSIGN(impl->generation, read_generation_config(path));
    const int64_t context = choose_context(options, config);
    HLWQ_TRY_ASSIGN(impl->model,
                    load_model(path, *impl->backend,
                               {.base = options.base,
                                .limits = step_limits(options, context),
                                .sequence_bytes = sequence_bytes_of(options, *impl->backend),
                                .home = impl->home.get(),
                                .load_threads = impl->backend->threads(),
                                .progress = progress}));
    impl->tokenizer = open_tokenizer(path, options.base);
    if (impl->tokenizer) impl->chat_template = compile_template(*impl->tokenizer, path);
    if (impl->chat_template) impl->tool_format = detect_tool_format(impl->chat_template->source());
    impl->stop_ids = union_of_stop_ids(impl->generation, config, impl->tokenizer);
    impl->describe(path, context);
    if (impl->tokenizer)
      check_kv_cache({.options = options,
                      .backend = *impl->backend,
                      .model = *impl->model,
                      .tokenizer = *impl->tokenizer,
                      .kv = impl->kv,
                      .step_tokens = impl->step_tokens,
                      .context = context,
                      .sequence_bytes = static_cast<size_t>(impl->info.sequence_bytes),
                      .experts_elsewhere = impl->home != nullptr});
    return Engine(std::move(impl));
  });
}

Result<Engine> Engine::open_synthetic(std::string_view spec, const EngineOptions& options) {
  return guarded([&]() -> Result<Engine> {
    HLWQ_TRY_ASSIGN(const SyntheticSpec parsed, parse_synthetic_spec(spec));
    HLWQ_TRY(check_kv_options(options, parsed.config));
    HLWQ_TRY_ASSIGN(auto impl, Impl::start(options, {}));
    const int64_t context = choose_context(options, parsed.config);
    HLWQ_TRY_ASSIGN(impl->model, make_synthetic_model(
                                     spec, *impl->backend, step_limits(options, context),
                                     sequence_bytes_of(options, *impl->backend), impl->home.get()));
    impl->tokenizer = fail(ErrorCode::kMissing, "a synthetic model has no tokenizer");
    impl->describe(std::string(spec), context);
    return Engine(std::move(impl));
  });
}

// What was learned of the experts' use is kept, if it can be.
Engine::Impl::~Impl() {
  if (home == nullptr || model == nullptr) return;
  const Status saved = guarded([&] { return home->save_hotness(); });
  if (!saved) log(LogLevel::kInfo, "the use of experts was not kept: " + saved.error().message);
}

Result<std::unique_ptr<Engine::Impl>> Engine::Impl::start(const EngineOptions& options,
                                                          const std::string& model_path) {
  HLWQ_TRY(check_options(options));
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  impl->step_tokens = step_limits(options, 1).tokens;
  HLWQ_TRY_ASSIGN(impl->backend, choose_backend(options));
  HLWQ_TRY_ASSIGN(impl->home, choose_experts(options, *impl->backend, model_path));
  return impl;
}

void Engine::Impl::describe(std::string path, int64_t context) {
  const ModelConfig& config = model->config();
  const bool coded = model->coded();
  kv = kv_form_of(options, coded, *backend);
  info = {.path = std::move(path),
          .device = std::string(backend->name()),
          .backend = backend->description(),
          .compute = coded ? options.compute : "f32",
          .layers = config.published_layers(),
          .hidden = config.hidden,
          .vocabulary = config.vocabulary,
          .context = context,
          .max_positions = config.max_positions,
          .weight_bytes = static_cast<int64_t>(model->weight_bytes()),
          .activation_bytes = static_cast<int64_t>(model->activation_bytes()),
          .sequence_bytes = static_cast<int64_t>(
              sequence_bytes_of(options, *backend)(model->state_shape(), coded, context)),
          .attention_layers = config.count(LayerKind::kAttention),
          .kv_heads = config.attention.kv_heads,
          .head_dim = config.attention.head_dim,
          .k_cache_nbits = kv.key_bits < 16 ? kv.key_bits : 8 * bytes_of(kv.dtype),
          .v_cache_nbits = kv.value_bits < 16 ? kv.value_bits : 8 * bytes_of(kv.dtype),
          .parameters = count_parameters(config)};
}

const ModelInfo& Engine::info() const { return impl_->info; }
const EngineOptions& Engine::options() const { return impl_->options; }
const std::vector<int32_t>& Engine::stop_ids() const { return impl_->stop_ids; }

Result<std::vector<int32_t>> Engine::tokenize(std::string_view text, bool add_special) const {
  return guarded([&]() -> Result<std::vector<int32_t>> {
    if (!impl_->tokenizer) return tl::unexpected(impl_->tokenizer.error());
    return impl_->tokenizer->encode(text, {.add_special = add_special});
  });
}

Result<std::string> Engine::detokenize(std::span<const int32_t> ids, bool skip_special) const {
  return guarded([&]() -> Result<std::string> {
    if (!impl_->tokenizer) return tl::unexpected(impl_->tokenizer.error());
    return impl_->tokenizer->decode(ids, skip_special);
  });
}

SamplingOptions Engine::resolve(const SamplingOptions& given) const {
  const SamplingOptions& of_model = impl_->generation.sampling;
  const SamplerSettings otherwise;
  SamplingOptions filled = given;
  fill_in(filled.temperature, of_model.temperature, otherwise.temperature);
  fill_in(filled.top_k, of_model.top_k, otherwise.top_k);
  fill_in(filled.top_p, of_model.top_p, otherwise.top_p);
  fill_in(filled.min_p, of_model.min_p, otherwise.min_p);
  fill_in(filled.repeat_penalty, of_model.repeat_penalty, otherwise.repeat_penalty);
  fill_in(filled.repeat_window, of_model.repeat_window, otherwise.repeat_window);
  return filled;
}

Result<Session*> Engine::Impl::generate_session() {
  if (!session) {
    HLWQ_TRY_ASSIGN(session, Session::create(*backend, *model,
                                             {.sequences = 1,
                                              .context = info.context,
                                              .kv = kv,
                                              .prefill_chunk = options.prefill_chunk}));
  }
  return &*session;
}

Result<GenerateResult> Engine::generate(const GenerateRequest& request) {
  return guarded([&]() -> Result<GenerateResult> {
    HLWQ_TRY(check_options(request.sampling));
    if (request.max_tokens < 0)
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("-n: got {}, wanted 0 or more tokens", request.max_tokens));
    HLWQ_TRY(check_stop_strings(request.stop));
    if (!request.stop.empty() && !impl_->tokenizer) return tl::unexpected(impl_->tokenizer.error());
    const SamplingOptions sampling = resolve(request.sampling);
    const int64_t seed = sampling.seed ? *sampling.seed : draw_seed();

    std::optional<DecodedText> text;
    if (impl_->tokenizer) text.emplace(*impl_->tokenizer);
    GenerateSettings settings = {.max_tokens = request.max_tokens,
                                 .sampler = sampler_settings(sampling, seed),
                                 .stop_ids = impl_->stop_ids,
                                 .stop_strings = request.stop,
                                 .text = text ? &*text : nullptr,
                                 .cancel = request.cancel};
    if (request.on_text)
      settings.on_piece = [&](const Piece& piece) {
        return piece.text.empty() || request.on_text(piece.text);
      };
    HLWQ_TRY_ASSIGN(Session* const session, impl_->generate_session());
    std::optional<RoutingRecorder> trace;
    if (!request.trace.empty()) {
      HLWQ_TRY_ASSIGN(trace, RoutingRecorder::create(request.trace, impl_->model->config()));
    }
    session->set_trace(trace ? &*trace : nullptr);
    static_cast<void>(take_expert_traffic(*impl_->model));  // what came before
    auto finished = hlwq::generate(*session, request.ids, settings);
    session->set_trace(nullptr);
    HLWQ_TRY_ASSIGN(Generated generated, std::move(finished));
    if (trace) HLWQ_TRY(trace->commit());
    GenerateResult result = to_result(std::move(generated), seed);
    result.experts = take_expert_traffic(*impl_->model);
    return result;
  });
}

Result<LogitsResult> Engine::logits(const LogitsRequest& request) {
  return guarded([&] { return impl_->logits(request); });
}

Result<BenchResult> Engine::bench(const BenchRequest& request) {
  return guarded([&] { return impl_->bench(request); });
}

Result<PerplexityResult> Engine::perplexity(const PerplexityRequest& request, Engine* reference) {
  return guarded([&]() -> Result<PerplexityResult> {
    if (!impl_->row_threads) impl_->row_threads.emplace(impl_->backend->threads());
    const auto scored = [](Impl& impl) {
      return ScoredModel{impl.backend.get(), impl.model.get(), impl.step_tokens, impl.kv};
    };
    const ScoredModel own = scored(*impl_);
    const ScoredModel other = reference != nullptr ? scored(*reference->impl_) : ScoredModel{};
    PerplexitySettings settings = {.window = request.window,
                                   .windows = request.windows,
                                   .progress = request.progress,
                                   .cancel = request.cancel};
    if (request.on_window)
      settings.on_window = [&](int64_t window, const PredictionScores& scores) {
        return request.on_window(token_scores(request, window, scores));
      };
    HLWQ_TRY_ASSIGN(const PerplexityReport report,
                    measure_perplexity(own, reference != nullptr ? &other : nullptr, request.ids,
                                       settings, *impl_->row_threads));
    PerplexityResult result = {.ppl = report.ppl,
                               .nll = report.nll,
                               .ppl_stderr = report.ppl_stderr,
                               .nll_stderr = report.nll_stderr,
                               .tokens = report.predictions,
                               .windows = report.windows};
    if (report.divergence) result.divergence = to_divergence(report);
    return result;
  });
}

}  // namespace hlwq
