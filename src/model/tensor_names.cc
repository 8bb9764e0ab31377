#include "model/tensor_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "io/printable.h"
#include "model/architecture.h"
#include "model/expert_names.h"
#include "model/weights.h"

namespace hlwq {
namespace {

constexpr std::string_view kWrapper = "language_model.";

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

std::string shape_text(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

// Tensors of a checkpoint by their canonical names.
using StoredByName = std::unordered_map<std::string, const CheckpointTensor*>;

// Errors: kBadLayout when two tensors of the checkpoint are the same parameter.
Result<StoredByName> index_by_canonical_name(const Checkpoint& checkpoint,
                                             Architecture architecture) {
  // A vision-language package: what lacks the wrapper's prefix belongs to its other towers.
  const auto& tensors = checkpoint.tensors();
  const bool wrapped = std::any_of(tensors.begin(), tensors.end(), [](const CheckpointTensor& t) {
    return t.name.starts_with(kWrapper);
  });
  StoredByName stored;
  for (const CheckpointTensor& tensor : tensors) {
    if (is_ignored(tensor.name)) continue;
    if (wrapped && !tensor.name.starts_with(kWrapper)) continue;
    const auto [it, fresh] = stored.emplace(canonical_name(architecture, tensor.name), &tensor);
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

std::string canonical_name(Architecture architecture, std::string_view name) {
  take_prefix(name, kWrapper);
  return traits_of(architecture).canonical_name(name);
}

bool is_ignored(std::string_view name) {
  take_prefix(name, kWrapper);
  return name.starts_with("mtp.") || name.ends_with(".k_scale") || name.ends_with(".v_scale") ||
         name.find("rotary_emb") != std::string_view::npos || name.ends_with("inv_freq");
}

Result<TensorMap> map_tensors(const Checkpoint& checkpoint, Architecture architecture,
                              std::span<const ExpectedTensor> expected) {
  HLWQ_TRY_ASSIGN(StoredByName stored, index_by_canonical_name(checkpoint, architecture));
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
    const auto it = stored.find(canonical_name(architecture, tensor.name));
    if (it != stored.end() && it->second == &tensor && !used.contains(&tensor))
      map.unknown.push_back(tensor.name);
  }
  return map;
}

std::vector<ExpectedTensor> all_spellings(Architecture architecture,
                                          std::span<const ExpectedTensor> expected) {
  std::vector<ExpectedTensor> spellings;
  const auto add = [&](const std::string& name, const std::vector<int64_t>& shape) {
    std::vector<std::string> names = traits_of(architecture).spellings(name);
    for (size_t i = 0, plain = names.size(); i < plain; ++i)
      names.push_back(std::string(kWrapper) + names[i]);
    for (std::string& spelling : names) spellings.push_back({std::move(spelling), shape});
  };
  std::unordered_map<std::string, int64_t> experts_of_fused;
  for (const ExpectedTensor& tensor : expected) {
    add(tensor.name, tensor.shape);
    if (const auto slice = fused_slice_of(tensor.name)) {
      add(fmt::format("{}_e{}", slice->name, slice->expert), tensor.shape);
      add(fmt::format("{}_e{}.weight", slice->name, slice->expert), tensor.shape);
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
    add(slice->name, shape);
  }
  return spellings;
}

}  // namespace hlwq
