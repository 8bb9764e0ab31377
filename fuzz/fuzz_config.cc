// Any text as config.json: a refusal that names the file, or a configuration whose derived sizes
// fit and whose tensors can be listed.
// Links: hlwq::model

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>

#include "base/utf8.h"
#include "model/config.h"
#include "model/rope.h"
#include "model/tensor_names.h"

namespace {

void require(bool promise) {
  if (!promise) std::abort();
}

// What the runtime multiplies without looking.
void check_sizes(const hlwq::ModelConfig& config) {
  const hlwq::MambaShape& m = config.mamba;
  if (config.count(hlwq::LayerKind::kMamba) > 0) {
    require(m.heads > 0 && m.groups > 0 && m.heads % m.groups == 0 && m.kernel > 1);
    require(m.projected() > 0 && m.projected() <= INT32_MAX);
    require(m.inner() * m.state <= int64_t{1} << 40);
  }
  const hlwq::AttentionShape& a = config.attention;
  if (config.count(hlwq::LayerKind::kAttention) > 0) {
    require(a.kv_heads > 0 && a.heads % a.kv_heads == 0);
    require(a.heads * a.head_dim > 0 && a.heads * a.head_dim <= INT32_MAX);
  }
  for (const hlwq::LayerConfig& layer : config.layers)
    if (layer.kind == hlwq::LayerKind::kGatedMlp)
      require(layer.mlp_width > 0 && 2 * layer.mlp_width <= INT32_MAX);
  if (config.rope) {
    require(a.head_dim % 2 == 0 && a.head_dim <= 1 << 16);
    for (const double frequency : hlwq::rope_frequencies(*config.rope, a.head_dim))
      require(frequency >= 0 && frequency <= 1);
  }
  require(config.dt_min <= config.dt_max);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  const std::string_view text(reinterpret_cast<const char*>(data), bytes);
  const hlwq::Result<hlwq::Json> json = hlwq::parse_json(text, "input");
  if (!json) return 0;
  const hlwq::Result<hlwq::ModelConfig> config = hlwq::parse_model_config(*json, "input");
  if (!config) {
    require(config.error().code == hlwq::ErrorCode::kBadHeader ||
            config.error().code == hlwq::ErrorCode::kUnsupported);
    require(config.error().message.starts_with("input: ") && hlwq::is_utf8(config.error().message));
    return 0;
  }
  check_sizes(*config);
  int64_t experts = 0;
  for (const hlwq::LayerConfig& layer : config->layers) experts += layer.moe.experts;
  if (experts > 10'000) return 0;  // a long list teaches nothing
  std::set<std::string> names;
  for (const hlwq::ExpectedTensor& tensor : hlwq::expected_tensors(*config)) {
    require(names.insert(tensor.name).second);
    require(hlwq::canonical_name(config->architecture, tensor.name) == tensor.name);
    for (const int64_t dimension : tensor.shape) require(dimension >= 1 && dimension <= INT32_MAX);
  }
  return 0;
}
