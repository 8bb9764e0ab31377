#include "model/tensor_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "io/printable.h"
#include "model/weights.h"

namespace hlwq {
namespace {

constexpr std::string_view kWrapper = "language_model.";
constexpr std::string_view kExperts = ".mixer.experts.";

// Collects names and shapes; the weights it is shown stay empty.
class TensorLister final : public ParameterVisitor {
 public:
  void matrix(const std::string& name, int64_t rows, int64_t cols, Matrix&) override {
    tensors.push_back({name, {rows, cols}});
  }
  void plain_matrix(const std::string& name, int64_t rows, int64_t cols, Matrix&) override {
    tensors.push_back({name, {rows, cols}});
  }
  void values(const std::string& name, const std::vector<int64_t>& shape, const float*&) override {
    tensors.push_back({name, shape});
  }
  void experts(const std::string& prefix, int64_t width, int64_t input,
               std::vector<Mlp>& out) override {
    for (size_t e = 0; e < out.size(); ++e) {
      tensors.push_back({fmt::format("{}.{}.up_proj.weight", prefix, e), {width, input}});
      tensors.push_back({fmt::format("{}.{}.down_proj.weight", prefix, e), {input, width}});
    }
  }
  std::vector<ExpectedTensor> tensors;
};

bool take_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

bool take_suffix(std::string_view& text, std::string_view suffix) {
  if (!text.ends_with(suffix)) return false;
  text.remove_suffix(suffix.size());
  return true;
}

std::optional<int64_t> whole_number(std::string_view digits) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size() || value < 0)
    return std::nullopt;
  return value;
}

// One expert's slice of a fused tensor that a quantizer cut up (docs/format.md#variants, F8):
// "...mixer.experts.up_proj_e3" is "...mixer.experts.3.up_proj.weight".
std::optional<std::string> expert_of_sliced_name(std::string_view name) {
  take_suffix(name, ".weight");
  const size_t at = name.find(kExperts);
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view rest = name.substr(at + kExperts.size());
  for (const std::string_view matrix : {"up_proj", "down_proj"}) {
    std::string_view tail = rest;
    if (!take_prefix(tail, matrix) || !take_prefix(tail, "_e")) continue;
    if (const auto expert = whole_number(tail))
      return fmt::format("{}{}.{}.weight", name.substr(0, at + kExperts.size()), *expert, matrix);
  }
  return std::nullopt;
}

std::string shape_text(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

// Tensors of a checkpoint by their canonical names.
using StoredByName = std::unordered_map<std::string, const CheckpointTensor*>;

// Errors: kBadLayout when two tensors of the checkpoint are the same parameter.
Result<StoredByName> index_by_canonical_name(const Checkpoint& checkpoint) {
  // A vision-language package: what lacks the wrapper's prefix belongs to its other towers.
  const auto& tensors = checkpoint.tensors();
  const bool wrapped = std::any_of(tensors.begin(), tensors.end(), [](const CheckpointTensor& t) {
    return t.name.starts_with(kWrapper);
  });
  StoredByName stored;
  for (const CheckpointTensor& tensor : tensors) {
    if (is_ignored(tensor.name)) continue;
    if (wrapped && !tensor.name.starts_with(kWrapper)) continue;
    const auto [it, fresh] = stored.emplace(canonical_name(tensor.name), &tensor);
    if (!fresh)
      return fail(ErrorCode::kBadLayout,
                  fmt::format("{}: {} and {} are the same parameter", checkpoint.path(),
                              printable(it->second->name), printable(tensor.name)));
  }
  return stored;
}

}  // namespace

std::vector<ExpectedTensor> expected_tensors(const ModelConfig& config) {
  TensorLister lister;
  ModelWeights none;
  visit_parameters(config, none, lister);
  return std::move(lister.tensors);
}

std::string canonical_name(std::string_view name) {
  take_prefix(name, kWrapper);
  std::string canonical(name);
  if (take_prefix(name, "model.")) canonical = "backbone." + std::string(name);
  if (canonical == "backbone.embedding.weight") canonical = "backbone.embeddings.weight";
  if (auto expert = expert_of_sliced_name(canonical)) return *std::move(expert);
  return canonical;
}

std::optional<FusedSlice> fused_slice_of(std::string_view name) {
  const size_t at = name.find(kExperts);
  if (at == std::string_view::npos || !take_suffix(name, ".weight")) return std::nullopt;
  const std::string_view rest = name.substr(at + kExperts.size());
  const size_t dot = rest.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view matrix = rest.substr(dot + 1);
  const auto expert = whole_number(rest.substr(0, dot));
  if (!expert || (matrix != "up_proj" && matrix != "down_proj")) return std::nullopt;
  return FusedSlice{fmt::format("{}{}", name.substr(0, at + kExperts.size()), matrix), *expert};
}

bool is_ignored(std::string_view name) {
  take_prefix(name, kWrapper);
  return name.starts_with("mtp.") || name.ends_with(".k_scale") || name.ends_with(".v_scale") ||
         name.find("rotary_emb") != std::string_view::npos || name.ends_with("inv_freq");
}

Result<TensorMap> map_tensors(const Checkpoint& checkpoint,
                              std::span<const ExpectedTensor> expected) {
  HLWQ_TRY_ASSIGN(StoredByName stored, index_by_canonical_name(checkpoint));
  std::unordered_map<std::string, int64_t> experts_of_fused;
  for (const ExpectedTensor& tensor : expected)
    if (const auto slice = fused_slice_of(tensor.name)) {
      int64_t& experts = experts_of_fused[slice->name];
      experts = std::max(experts, slice->expert + 1);
    }

  TensorMap map;
  std::unordered_set<const CheckpointTensor*> used;
  for (const ExpectedTensor& tensor : expected) {
    LocatedTensor located{.expected = &tensor, .stored = nullptr, .slice = -1};
    std::vector<int64_t> shape = tensor.shape;
    if (const auto it = stored.find(tensor.name); it != stored.end()) {
      located.stored = it->second;
    } else if (const auto slice = fused_slice_of(tensor.name)) {
      if (const auto fused = stored.find(slice->name); fused != stored.end()) {
        located.stored = fused->second;
        located.slice = slice->expert;
        shape.insert(shape.begin(), experts_of_fused[slice->name]);
      }
    }
    if (located.stored == nullptr) {
      map.missing.push_back(tensor.name);
      continue;
    }
    if (located.stored->shape != shape)
      return fail(ErrorCode::kBadLayout,
                  fmt::format("{}: {} has shape {}, config.json wants {}", checkpoint.path(),
                              printable(located.stored->name), shape_text(located.stored->shape),
                              shape_text(shape)));
    used.insert(located.stored);
    map.found.push_back(located);
  }
  for (const CheckpointTensor& tensor : checkpoint.tensors()) {
    const auto it = stored.find(canonical_name(tensor.name));
    if (it != stored.end() && it->second == &tensor && !used.contains(&tensor))
      map.unknown.push_back(tensor.name);
  }
  return map;
}

std::vector<ExpectedTensor> all_spellings(std::span<const ExpectedTensor> expected) {
  std::vector<ExpectedTensor> spellings;
  const auto add_prefixes = [&](const std::string& name, const std::vector<int64_t>& shape) {
    std::vector<std::string> names = {name};
    std::string_view rest = name;
    if (take_prefix(rest, "backbone.")) names.push_back("model." + std::string(rest));
    for (size_t i = 0, plain = names.size(); i < plain; ++i)
      names.push_back(std::string(kWrapper) + names[i]);
    for (std::string& spelling : names) spellings.push_back({std::move(spelling), shape});
  };
  std::unordered_map<std::string, int64_t> experts_of_fused;
  for (const ExpectedTensor& tensor : expected) {
    add_prefixes(tensor.name, tensor.shape);
    if (tensor.name == "backbone.embeddings.weight")
      add_prefixes("backbone.embedding.weight", tensor.shape);
    if (const auto slice = fused_slice_of(tensor.name)) {
      add_prefixes(fmt::format("{}_e{}", slice->name, slice->expert), tensor.shape);
      add_prefixes(fmt::format("{}_e{}.weight", slice->name, slice->expert), tensor.shape);
      int64_t& experts = experts_of_fused[slice->name];
      experts = std::max(experts, slice->expert + 1);
    }
  }
  // The whole fused tensor once, with the number of experts in front.
  for (const ExpectedTensor& tensor : expected) {
    const auto slice = fused_slice_of(tensor.name);
    if (!slice || slice->expert != 0) continue;
    std::vector<int64_t> shape = tensor.shape;
    shape.insert(shape.begin(), experts_of_fused[slice->name]);
    add_prefixes(slice->name, shape);
  }
  return spellings;
}

}  // namespace hlwq
