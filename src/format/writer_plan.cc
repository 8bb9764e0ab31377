#include "format/writer_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_set>

#include "base/check.h"
#include "base/checked.h"
#include "format/naming.h"
#include "io/printable.h"
#include "io/shards.h"
#include "quant/block.h"

namespace hlwq {
namespace {

constexpr ProfileLayout kProfiles[] = {
    {Profile::kV5Int8, "v5-int8", "polar_engine_v5", false, ".codes", ".norms", ".ct", "",
     Packing::kI8, Packing::kI8},
    {Profile::kV5Packed, "v5-packed", "polar_engine_v5", false, ".codes", ".norms", ".ct", "",
     Packing::kLsb, Packing::kI8},
    {Profile::kHlwqQ5, "hlwq-q5", "hlwq-q5", true, "__packed", "__norms", "", "__meta",
     Packing::kMsb, Packing::kI8},
    {Profile::kPacked, "packed", "polar_engine_v5", false, ".codes", ".norms", ".ct", "",
     Packing::kLsb, Packing::kLsb},
};

constexpr std::string_view kWeight = ".weight";

// One stored tensor and what it is for.
struct Piece {
  TensorEntry entry;
  size_t parameter;
  std::optional<size_t> StoredParts::*part;
  int order;  // files hold pieces of lower order first
};

int order_of(int element_bytes) { return element_bytes == 8 ? 0 : element_bytes == 4 ? 1 : 2; }

Status check_levels(const OutputTensor& tensor, const ProfileLayout& layout,
                    const WriterOptions& options) {
  const auto bits = static_cast<size_t>(tensor.bits);
  if (bits >= options.levels_by_bits.size() || options.levels_by_bits[bits].size() != size_t{1}
                                                                                          << bits)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: no table of {} levels was given", printable(tensor.name),
                            size_t{1} << bits));
  const Levels& levels = options.levels_by_bits[bits];
  for (size_t k = 0; k < levels.size(); ++k) {
    if (!std::isfinite(levels[k]) || (k > 0 && !(levels[k] > levels[k - 1])))
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: the table of {} levels is not finite and ascending at level {}",
                              printable(tensor.name), levels.size(), k));
  }
  if (layout.table.empty() && levels != codebook(CodebookKind::kWire, tensor.bits))
    return fail(ErrorCode::kUnsupported,
                fmt::format("{}: profile {} stores no table, so the codes must be of the published "
                            "one",
                            printable(tensor.name), layout.name));
  return {};
}

Status check_tensor(const OutputTensor& tensor, const ProfileLayout& layout,
                    const WriterOptions& options) {
  const std::string name = printable(tensor.name);
  if (!checked_product(tensor.shape))
    return fail(ErrorCode::kInvalidArgument, fmt::format("{}: shape overflows 64 bits", name));
  if (!tensor.coded) {
    if (match_code_name(tensor.name) || is_companion_name(tensor.name))
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("{}: a plain tensor of this name would be read as part of a coded one",
                      name));
    return {};
  }
  if (tensor.shape.size() != 2 || tensor.shape[0] < 1 || tensor.shape[1] < 1 ||
      !tensor.name.ends_with(kWeight) || tensor.name.size() == kWeight.size())
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: only matrices named \"....weight\" can be coded", name));
  const std::array factors{tensor.shape[0], blocks_of(std::min(tensor.shape[1], INT64_MAX / 2)),
                           int64_t{kBlock}};
  const auto codes = checked_product(factors);
  if (!codes || *codes > static_cast<uint64_t>(INT64_MAX) / kMaxBits)
    return fail(ErrorCode::kInvalidArgument, fmt::format("{}: too many codes", name));
  if (tensor.bits < kMinBits || tensor.bits > kMaxBits)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: {} bits, want {} to {}", name, tensor.bits, kMinBits, kMaxBits));
  if (layout.profile == Profile::kHlwqQ5 && tensor.bits != 5)
    return fail(ErrorCode::kUnsupported, fmt::format("{}: {} bits; profile {} holds 5 bits only",
                                                     name, tensor.bits, layout.name));
  return check_levels(tensor, layout, options);
}

std::string coded_prefix(const OutputTensor& tensor, const ProfileLayout& layout) {
  return layout.keeps_weight ? tensor.name
                             : tensor.name.substr(0, tensor.name.size() - kWeight.size());
}

std::vector<Piece> pieces_of(const OutputTensor& tensor, size_t parameter,
                             const ProfileLayout& layout) {
  std::vector<Piece> pieces;
  const auto add = [&](std::string name, DType dtype, std::vector<int64_t> shape,
                       std::optional<size_t> StoredParts::*part, int order) {
    pieces.push_back({{.name = std::move(name), .dtype = dtype, .shape = std::move(shape)},
                      parameter,
                      part,
                      order});
  };
  if (!tensor.coded) {
    const int bytes = bytes_of(tensor.dtype);
    add(tensor.name, tensor.dtype, tensor.shape, &StoredParts::plain,
        bytes == 1 ? 3 : order_of(bytes));
    return pieces;
  }
  const std::string prefix = coded_prefix(tensor, layout);
  const int64_t rows = tensor.shape[0], blocks = blocks_of(tensor.shape[1]);
  const Packing packing = packing_of(layout, tensor.bits);
  const int64_t row_bytes = packed_bytes(packing, tensor.bits, blocks * kBlock);
  if (!layout.table.empty())
    add(prefix + std::string(layout.table), DType::kF32, {int64_t{1} << tensor.bits},
        &StoredParts::table, order_of(4));
  if (!layout.meta.empty())
    add(prefix + std::string(layout.meta), DType::kI64, {5}, &StoredParts::meta, order_of(8));
  // A whole number of blocks is an even number of bytes, so the norms behind the codes are aligned.
  const std::vector<int64_t> codes_shape = packing == Packing::kMsb
                                               ? std::vector<int64_t>{rows * row_bytes}
                                               : std::vector<int64_t>{rows, row_bytes};
  add(prefix + std::string(layout.codes), packing == Packing::kI8 ? DType::kI8 : DType::kU8,
      codes_shape, &StoredParts::codes, order_of(2));
  add(prefix + std::string(layout.norms), DType::kF16, {rows, blocks}, &StoredParts::norms,
      order_of(2));
  return pieces;
}

}  // namespace

std::string_view name_of(Profile profile) { return layout_of(profile).name; }

Result<Profile> parse_profile(std::string_view name) {
  for (const ProfileLayout& layout : kProfiles) {
    if (layout.name == name) return layout.profile;
  }
  return fail(
      ErrorCode::kInvalidArgument,
      fmt::format("profile \"{}\" is unknown; there are v5-packed, v5-int8, hlwq-q5 and packed",
                  printable(name)));
}

const ProfileLayout& layout_of(Profile profile) {
  const auto* found = std::ranges::find(kProfiles, profile, &ProfileLayout::profile);
  HLWQ_CHECK(found != std::end(kProfiles));
  return *found;
}

Packing packing_of(const ProfileLayout& layout, int bits) {
  if (bits == 8) return Packing::kI8;  // the same bytes in any packing
  return bits == 5 ? layout.five_bits : layout.other_widths;
}

Result<std::vector<ShardPlan>> plan_checkpoint(std::span<const OutputTensor> tensors,
                                               const WriterOptions& options) {
  if (tensors.empty())
    return fail(ErrorCode::kInvalidArgument, "a checkpoint of no tensors cannot be written");
  const ProfileLayout& layout = layout_of(options.profile);
  std::vector<std::vector<Piece>> pieces;
  std::vector<TensorEntry> wholes;  // a parameter as one tensor, so that no shard splits it
  std::unordered_set<std::string> names;
  for (size_t i = 0; i < tensors.size(); ++i) {
    HLWQ_TRY(check_tensor(tensors[i], layout, options));
    pieces.push_back(pieces_of(tensors[i], i, layout));
    uint64_t total_bytes = 0;
    for (const Piece& piece : pieces.back()) {
      if (!names.insert(piece.entry.name).second)
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("{}: tensor is declared twice", printable(piece.entry.name)));
      HLWQ_TRY_ASSIGN(const uint64_t bytes,
                      checked_bytes(piece.entry.name, piece.entry.dtype, piece.entry.shape));
      const auto sum = checked_add(total_bytes, bytes);
      if (!sum || *sum > static_cast<uint64_t>(INT64_MAX))
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("{}: more than 2^63 bytes", printable(tensors[i].name)));
      total_bytes = *sum;
    }
    wholes.push_back({.name = tensors[i].name,
                      .dtype = DType::kU8,
                      .shape = {static_cast<int64_t>(total_bytes)},
                      .begin = 0,
                      .end = total_bytes});
  }

  std::vector<ShardPlan> shards;
  size_t next = 0;
  for (const auto& group : plan_shards(std::move(wholes), options.shard_bytes)) {
    ShardPlan shard{.first = next, .last = next + group.size(), .entries = {}, .parts = {}};
    next = shard.last;
    std::vector<Piece> members;
    for (size_t i = shard.first; i < shard.last; ++i)
      std::ranges::move(pieces[i], std::back_inserter(members));
    std::ranges::stable_sort(members, {}, &Piece::order);
    shard.parts.resize(group.size());
    for (Piece& piece : members) {
      shard.parts[piece.parameter - shard.first].*piece.part = shard.entries.size();
      shard.entries.push_back(std::move(piece.entry));
    }
    shards.push_back(std::move(shard));
  }
  return shards;
}

}  // namespace hlwq
