#pragma once
// What config.json says of a model, checked, for every architecture. Keys, aliases and defaults:
// docs/format.md#configjson.

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "io/json.h"
#include "ops/backend.h"

namespace hlwq {

// architecture.h has what differs between them.
enum class Architecture : uint8_t { kNemotronH, kLlama };

// The letters are those of Nemotron-H's patterns, where it has the kind.
enum class LayerKind : char {
  kMamba = 'M',
  kMoe = 'E',
  kAttention = '*',
  kMlp = '-',
  kGatedMlp = 'G'
};

struct MoeConfig {
  int64_t experts = 0, experts_used = 0;  // n_routed_experts, num_experts_per_tok
  int64_t width = 0;                      // moe_intermediate_size
  int64_t shared_width = 0;             // moe_shared_expert_intermediate_size; 0 = no shared expert
  int64_t latent = 0;                   // moe_latent_size; 0 = none
  int64_t groups = 1, groups_used = 1;  // n_group, topk_group
  bool normalize = true;                // norm_topk_prob
  float scale = 1.0f;                   // routed_scaling_factor
};

// One mixer with its norm. A decoder layer of Llama is two of them. Per-layer values are kept per
// layer from the start: pruned siblings vary them.
struct LayerConfig {
  LayerKind kind;
  int64_t mlp_width = 0;  // '-' and 'G' layers
  MoeConfig moe;          // 'E' layers
};

// Rotary positions: how angles grow with them (model/rope.h).
struct RopeConfig {
  enum class Scaling : uint8_t { kNone, kLinear, kLlama3 };
  double theta = 10000.0;
  Scaling scaling = Scaling::kNone;
  double factor = 1.0;                                   // linear, llama3
  double low_freq_factor = 1.0, high_freq_factor = 4.0;  // llama3
  double original_positions = 8192;                      // llama3
};

struct ModelConfig {
  Architecture architecture = Architecture::kNemotronH;
  int64_t vocabulary = 0, hidden = 0;
  float eps = 1e-5f;
  bool tied_head = false;
  std::vector<LayerConfig> layers;
  AttentionShape attention{0, 0, 0};
  bool attention_bias = false, mlp_bias = false;
  std::optional<RopeConfig> rope;  // none: attention without positions
  MambaShape mamba{0, 0, 0, 0, 0};
  bool conv_bias = true, mamba_bias = false;  // use_conv_bias, use_bias
  float dt_min = 0.0f;                        // time_step_limit; never time_step_min/max
  float dt_max = std::numeric_limits<float>::infinity();
  int64_t max_positions = 0;
  std::optional<int32_t> bos, pad;
  std::vector<int32_t> eos;  // of config.json alone

  [[nodiscard]] int64_t count(LayerKind kind) const;
  // Layers as config.json counts them.
  [[nodiscard]] int64_t published_layers() const;
};

// Errors: kUnsupported (another architecture, a kind of positions, sliding window, activation or
// layer letter that is not known, FP8/FP4 releases), kBadHeader (missing or contradictory values);
// each names the key, what was got and what was wanted.
[[nodiscard]] Result<ModelConfig> parse_model_config(const Json& config, std::string_view where);
[[nodiscard]] Result<ModelConfig> read_model_config(const std::string& folder);

}  // namespace hlwq
