#include "model/synthetic.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "io/printable.h"
#include "model/assemble.h"
#include "model/memory_plan.h"
#include "model/resident_experts.h"
#include "model/synthetic_weights.h"

namespace hlwq {
namespace {

void add_layers(ModelConfig& config, std::string_view pattern, int64_t mlp_width,
                const MoeConfig& moe) {
  for (const char letter : pattern) {
    LayerConfig layer{.kind = static_cast<LayerKind>(letter), .mlp_width = 0, .moe = {}};
    if (layer.kind == LayerKind::kMlp) layer.mlp_width = mlp_width;
    if (layer.kind == LayerKind::kMoe) layer.moe = moe;
    config.layers.push_back(layer);
  }
}

// config.json of Nemotron-Cascade-2-30B-A3B.
ModelConfig nemotron_30b_a3b() {
  ModelConfig config;
  config.vocabulary = 131072;
  config.hidden = 2688;
  config.eps = 1e-5f;
  config.attention = {.heads = 32, .kv_heads = 2, .head_dim = 128};
  config.mamba = {.heads = 64, .head_dim = 64, .groups = 8, .state = 128, .kernel = 4};
  config.max_positions = 262144;
  add_layers(config, "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME", 0,
             {.experts = 128,
              .experts_used = 6,
              .width = 1856,
              .shared_width = 3712,
              .normalize = true,
              .scale = 2.5f});
  return config;
}

// Widths that are no multiples of a block, every kind of layer.
ModelConfig tiny() {
  ModelConfig config;
  config.vocabulary = 512;
  config.hidden = 192;
  config.attention = {.heads = 4, .kv_heads = 2, .head_dim = 32};
  config.mamba = {.heads = 8, .head_dim = 16, .groups = 2, .state = 32, .kernel = 4};
  config.max_positions = 4096;
  add_layers(config, "MEM*E-ME", 224,
             {.experts = 16,
              .experts_used = 3,
              .width = 96,
              .shared_width = 160,
              .normalize = true,
              .scale = 2.5f});
  return config;
}

template <typename Number>
bool parse_number(std::string_view text, Number& number) {
  const char* const end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, number);
  return result.ec == std::errc() && result.ptr == end;
}

// The text up to the next ':', which is taken off.
std::string_view take_part(std::string_view& text) {
  const size_t colon = std::min(text.find(':'), text.size());
  const std::string_view part = text.substr(0, colon);
  text.remove_prefix(std::min(colon + 1, text.size()));
  return part;
}

}  // namespace

Result<SyntheticSpec> parse_synthetic_spec(std::string_view spec) {
  const auto refuse = [&](std::string_view part, const std::string& wanted) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("synthetic model '{}': got '{}', wanted {}", printable(spec),
                            printable(part), wanted));
  };
  std::string_view rest = spec;
  const std::string_view name = take_part(rest);
  SyntheticSpec out;
  if (name == "nemotron-30b-a3b") {
    out.config = nemotron_30b_a3b();
  } else if (name == "tiny") {
    out.config = tiny();
  } else {
    return refuse(name, "nemotron-30b-a3b or tiny");
  }
  out.all_layers = static_cast<int64_t>(out.config.layers.size());
  while (!rest.empty()) {
    const std::string_view part = take_part(rest);
    if (part.starts_with("seed=")) {
      if (!parse_number(part.substr(5), out.seed)) return refuse(part, "seed=N, N from 0");
    } else if (part.starts_with("skew=")) {
      if (!parse_number(part.substr(5), out.skew) || !(out.skew >= 0 && out.skew <= 100))
        return refuse(part, "skew=S, S from 0 to 100");
    } else if (part.starts_with("layers=")) {
      int64_t layers = 0;
      if (!parse_number(part.substr(7), layers) || layers < 1 || layers > out.all_layers)
        return refuse(part, fmt::format("layers=K, K from 1 to {}", out.all_layers));
      out.config.layers.resize(static_cast<size_t>(layers), LayerConfig{});
    } else {
      return refuse(part, "seed=N, skew=S or layers=K");
    }
  }
  return out;
}

Result<std::unique_ptr<Model>> make_synthetic_model(std::string_view spec, Backend& backend,
                                                    const StepLimits& limits,
                                                    const SequenceBytes& sequence_bytes,
                                                    ExpertHome* home) {
  HLWQ_TRY_ASSIGN(const SyntheticSpec parsed, parse_synthetic_spec(spec));
  return make_synthetic_model(parsed, backend, limits, sequence_bytes, home);
}

Result<std::unique_ptr<Model>> make_synthetic_model(const SyntheticSpec& spec, Backend& backend,
                                                    const StepLimits& limits,
                                                    const SequenceBytes& sequence_bytes,
                                                    ExpertHome* given) {
  HLWQ_TRY_ASSIGN(const auto weights, SyntheticWeights::plan(spec));
  ResidentHome resident;
  ExpertHome& home = given == nullptr ? resident : *given;
  HLWQ_TRY_ASSIGN(const size_t later, prepare_memory(backend, spec.config, limits, weights->bytes(),
                                                     weights->coded(), home, sequence_bytes));
  HLWQ_TRY_ASSIGN(ModelWeights made, weights->make(backend, home));
  return assemble(backend, spec.config, std::move(made), home, later, limits);
}

Result<ModelNeeds> measure_synthetic_model(const SyntheticSpec& spec, Backend& backend,
                                           const StepLimits& limits,
                                           const SequenceBytes& sequence_bytes) {
  HLWQ_TRY_ASSIGN(const auto weights, SyntheticWeights::plan(spec));
  return measure_needs(backend, spec.config, limits, weights->bytes(), weights->coded(),
                       sequence_bytes);
}

}  // namespace hlwq
