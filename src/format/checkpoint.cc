#include "format/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <unordered_map>
#include <unordered_set>

#include "base/check.h"
#include "base/checked.h"
#include "base/float16.h"
#include "format/coded_layer.h"
#include "format/coded_rows.h"
#include "format/foreign.h"
#include "format/naming.h"
#include "format/polar_config.h"
#include "format/variant.h"
#include "io/file.h"
#include "io/printable.h"
#include "io/shards.h"
#include "quant/block.h"

namespace hlwq {
namespace {

constexpr uint64_t kMostConfigBytes = 64u << 20;
constexpr std::string_view kConfigName = "polar_config.json";

// "PQ5" or "PQ5/" -> 5
std::optional<int> bits_of_folder(const std::string& folder) {
  std::filesystem::path path(folder);
  if (!path.has_filename()) path = path.parent_path();
  const std::string name = path.filename().string();
  if (name.size() != 3 || !name.starts_with("PQ") || name[2] < '2' || name[2] > '8')
    return std::nullopt;
  return name[2] - '0';
}

Result<PolarConfig> read_config(const std::string& folder) {
  const std::string path = (std::filesystem::path(folder) / kConfigName).string();
  if (!file_exists(path)) return PolarConfig();
  HLWQ_TRY_ASSIGN(const std::string text, read_text_file(path, kMostConfigBytes));
  return parse_polar_config(text, path);
}

bool is_byte(DType dtype) { return dtype == DType::kU8 || dtype == DType::kI8; }

int64_t row_count(const CheckpointTensor& tensor) {
  return tensor.shape.empty() ? 1 : tensor.shape[0];
}

// Elements of one row: the product of all dimensions but the first.
uint64_t row_elements(const CheckpointTensor& tensor) {
  if (tensor.shape.empty()) return 1;
  // The product of all dimensions was checked when the file was opened; with a first dimension of 0
  // the rest may overflow, but then there is no row to read.
  return checked_product(std::span(tensor.shape).subspan(1)).value_or(0);
}

Status check_rows(const CheckpointTensor& tensor, int64_t first_row, int64_t rows) {
  if (first_row >= 0 && rows >= 0 && first_row <= row_count(tensor) &&
      rows <= row_count(tensor) - first_row)
    return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{}: rows {} to {} of {}", printable(tensor.name), first_row,
                          first_row + rows, row_count(tensor)));
}

Status check_output(const CheckpointTensor& tensor, std::string_view what, size_t got,
                    uint64_t want) {
  if (got == want) return {};
  return fail(ErrorCode::kInvalidArgument, fmt::format("{}: room for {} {}, {} asked for",
                                                       printable(tensor.name), got, what, want));
}

void widen(DType dtype, std::span<const std::byte> bytes, std::span<float> out) {
  const auto* half = reinterpret_cast<const uint16_t*>(bytes.data());
  if (dtype == DType::kBF16) {
    for (size_t i = 0; i < out.size(); ++i) out[i] = bf16_to_f32(half[i]);
  } else {
    for (size_t i = 0; i < out.size(); ++i) out[i] = f16_to_f32(half[i]);
  }
}

}  // namespace

struct Checkpoint::Impl {
  // Where a tensor's bytes are: exactly one of the two.
  struct Stored {
    std::optional<ShardTensor> plain = {};
    int32_t coded = -1;  // index into `layers`
  };

  std::string path;
  ShardSet shards;
  Variant variant = Variant::kPlain;
  uint64_t bytes = 0;
  std::string quantization, base_model;
  std::vector<CodedLayer> layers;
  std::vector<CheckpointTensor> tensors;
  std::vector<Stored> stored;  // parallel to `tensors`, by CheckpointTensor::slot
  std::unordered_map<std::string, size_t> by_name;

  [[nodiscard]] const Stored& stored_of(const CheckpointTensor& tensor) const {
    HLWQ_CHECK(tensor.slot >= 0 && static_cast<size_t>(tensor.slot) < stored.size());
    return stored[static_cast<size_t>(tensor.slot)];
  }

  Status add(CheckpointTensor tensor, Stored where) {
    if (!by_name.emplace(tensor.name, tensors.size()).second)
      return fail(ErrorCode::kBadLayout, fmt::format("{}: parameter \"{}\" is stored twice", path,
                                                     printable(tensor.name)));
    tensor.slot = static_cast<int32_t>(stored.size());
    stored.push_back(where);
    tensors.push_back(std::move(tensor));
    return {};
  }

  Status collect(const PolarConfig& config, std::span<const ExpectedTensor> expected);
};

// Coded layers first (they claim their companions), then everything unclaimed as plain tensors, in
// file order both.
Status Checkpoint::Impl::collect(const PolarConfig& config,
                                 std::span<const ExpectedTensor> expected) {
  const ParameterNames names(expected);
  const LayerContext context{shards, config, names, bits_of_folder(shards.folder())};
  std::unordered_set<const TensorEntry*> claimed;
  std::unordered_map<const TensorEntry*, int32_t> layer_of;
  for (const ShardTensor& tensor : shards.tensors()) {
    const auto name = match_code_name(tensor.entry->name);
    if (!name) continue;
    // A float tensor that is merely called "codes" is nobody's code tensor.
    const std::string norms = std::string(name->key).append(name->rule->norms);
    if (!is_byte(tensor.entry->dtype) && !shards.find(norms)) continue;
    HLWQ_TRY_ASSIGN(const LayerParts parts, collect_parts(shards, tensor, *name));
    HLWQ_TRY_ASSIGN(CodedLayer layer, resolve_layer(parts, context));
    claimed.insert({parts.codes.entry, parts.norms.entry});
    for (const auto& part :
         {parts.table, parts.scaled_table, parts.meta, parts.input_scales, parts.residual_signs}) {
      if (part) claimed.insert(part->entry);
    }
    layer_of.emplace(tensor.entry, static_cast<int32_t>(layers.size()));
    layers.push_back(std::move(layer));
  }
  variant = decide_variant(layers, config);

  for (const ShardTensor& tensor : shards.tensors()) {
    const TensorEntry& entry = *tensor.entry;
    if (const auto it = layer_of.find(&entry); it != layer_of.end()) {
      const CodedLayer& layer = layers[static_cast<size_t>(it->second)];
      HLWQ_TRY(add({.name = layer.name,
                    .shape = layer.shape,
                    .dtype = entry.dtype,
                    .coded = layer.info,
                    .stored_bytes = layer.stored_bytes},
                   {.coded = it->second}));
      continue;
    }
    if (claimed.contains(&entry)) continue;
    if (!layers.empty() && is_companion_name(entry.name))
      return fail(ErrorCode::kMissing, fmt::format("{}: tensor \"{}\" has no codes beside it",
                                                   tensor.file->path(), printable(entry.name)));
    HLWQ_TRY(add({.name = std::string(without_doubled_weight(entry.name)),
                  .shape = entry.shape,
                  .dtype = entry.dtype,
                  .coded = {},
                  .stored_bytes = entry.bytes()},
                 {.plain = tensor}));
  }
  return {};
}

Checkpoint::Checkpoint(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) noexcept = default;
Checkpoint::~Checkpoint() = default;

Result<Checkpoint> Checkpoint::open(const std::string& path,
                                    std::span<const ExpectedTensor> expected) {
  HLWQ_TRY(refuse_foreign_folder(path));
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  HLWQ_TRY_ASSIGN(impl->shards, ShardSet::open(path));
  HLWQ_TRY(refuse_foreign_tensors(impl->shards));
  HLWQ_TRY_ASSIGN(const PolarConfig config, read_config(impl->shards.folder()));
  impl->quantization = config.quantization;
  impl->base_model = config.base_model;
  for (const SafetensorsFile& file : impl->shards.files()) {
    std::error_code error;  // a file gone since it was opened counts nothing; reads will say so
    const std::uintmax_t bytes = std::filesystem::file_size(file.path(), error);
    if (!error) impl->bytes += bytes;
  }
  HLWQ_TRY(impl->collect(config, expected));
  return Checkpoint(std::move(impl));
}

Variant Checkpoint::variant() const { return impl_->variant; }
const std::string& Checkpoint::path() const { return impl_->path; }
const std::vector<CheckpointTensor>& Checkpoint::tensors() const { return impl_->tensors; }
uint64_t Checkpoint::bytes() const { return impl_->bytes; }
const std::string& Checkpoint::quantization() const { return impl_->quantization; }
const std::string& Checkpoint::base_model() const { return impl_->base_model; }

const CheckpointTensor* Checkpoint::find(std::string_view name) const {
  const auto it = impl_->by_name.find(std::string(name));
  return it == impl_->by_name.end() ? nullptr : &impl_->tensors[it->second];
}

const Levels& Checkpoint::levels(const CheckpointTensor& tensor) const {
  const Impl::Stored& where = impl_->stored_of(tensor);
  HLWQ_CHECK(where.coded >= 0);
  return impl_->layers[static_cast<size_t>(where.coded)].levels;
}

Status Checkpoint::read_plain(const CheckpointTensor& tensor, int64_t first_row, int64_t rows,
                              std::span<std::byte> out) const {
  const Impl::Stored& where = impl_->stored_of(tensor);
  if (!where.plain)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: is coded, it has no plain bytes", printable(tensor.name)));
  HLWQ_TRY(check_rows(tensor, first_row, rows));
  const uint64_t row_bytes = row_elements(tensor) * static_cast<uint64_t>(bytes_of(tensor.dtype));
  HLWQ_TRY(check_output(tensor, "bytes", out.size(), static_cast<uint64_t>(rows) * row_bytes));
  return impl_->shards.read(*where.plain, static_cast<uint64_t>(first_row) * row_bytes, out);
}

Status Checkpoint::read_f32(const CheckpointTensor& tensor, int64_t first_row, int64_t rows,
                            std::span<float> out) const {
  const Impl::Stored& where = impl_->stored_of(tensor);
  HLWQ_TRY(check_rows(tensor, first_row, rows));
  const uint64_t elements = row_elements(tensor);
  HLWQ_TRY(check_output(tensor, "values", out.size(), static_cast<uint64_t>(rows) * elements));
  if (where.coded >= 0) {
    const CodedLayer& layer = impl_->layers[static_cast<size_t>(where.coded)];
    if (!layer.info.flat) return decode_coded_rows(impl_->shards, layer, first_row, rows, out);
    return decode_flat(impl_->shards, layer, static_cast<uint64_t>(first_row) * elements, out);
  }
  if (!is_weight_float(tensor.dtype))
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("{}: {} has no FP32 form here", printable(tensor.name), name_of(tensor.dtype)));
  const auto element_bytes = static_cast<uint64_t>(bytes_of(tensor.dtype));
  const uint64_t offset = static_cast<uint64_t>(first_row) * elements * element_bytes;
  if (tensor.dtype == DType::kF32)
    return impl_->shards.read(*where.plain, offset, std::as_writable_bytes(out));
  constexpr size_t kWidenElements = 1 << 20;
  std::vector<std::byte> narrow(std::min(out.size(), kWidenElements) * element_bytes);
  for (size_t done = 0; done < out.size(); done += kWidenElements) {
    const auto part = out.subspan(done, std::min(kWidenElements, out.size() - done));
    const auto bytes = std::span(narrow).first(part.size() * element_bytes);
    HLWQ_TRY(impl_->shards.read(*where.plain, offset + done * element_bytes, bytes));
    widen(tensor.dtype, bytes, part);
  }
  return {};
}

Status Checkpoint::read_codes(const CheckpointTensor& tensor, int64_t first_row, int64_t rows,
                              std::span<uint8_t> codes, std::span<uint16_t> norms) const {
  const Impl::Stored& where = impl_->stored_of(tensor);
  if (where.coded < 0)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: is not coded", printable(tensor.name)));
  const CodedLayer& layer = impl_->layers[static_cast<size_t>(where.coded)];
  if (layer.info.flat)
    return fail(ErrorCode::kUnsupported,
                fmt::format("{}: its blocks cross rows (F9); it can only be decoded",
                            printable(tensor.name)));
  HLWQ_TRY(check_rows(tensor, first_row, rows));
  const auto blocks = static_cast<uint64_t>(layer.info.blocks);
  HLWQ_TRY(check_output(tensor, "norms", norms.size(), static_cast<uint64_t>(rows) * blocks));
  HLWQ_TRY(
      check_output(tensor, "codes", codes.size(), static_cast<uint64_t>(rows) * blocks * kBlock));
  return read_coded_rows(impl_->shards, layer, first_row, rows, codes, norms);
}

}  // namespace hlwq
