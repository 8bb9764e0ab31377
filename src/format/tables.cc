#include "format/tables.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>

#include "io/printable.h"
#include "quant/block.h"

namespace hlwq {
namespace {

Result<Levels> read_levels(const ShardSet& shards, const ShardTensor& tensor) {
  const TensorEntry& entry = *tensor.entry;
  const std::string where = printable(entry.name);
  if (entry.dtype != DType::kF32 || entry.shape.size() != 1)
    return fail(ErrorCode::kBadLayout,
                fmt::format("{}: is {} with {} dimensions, want a vector of F32", where,
                            name_of(entry.dtype), entry.shape.size()));
  const auto count = static_cast<uint64_t>(entry.shape[0]);
  if (!std::has_single_bit(count) || count < 1u << kMinBits || count > 1u << kMaxBits)
    return fail(ErrorCode::kBadLayout,
                fmt::format("{}: has {} levels, want a power of two from {} to {}", where, count,
                            1 << kMinBits, 1 << kMaxBits));
  Levels levels(count);
  HLWQ_TRY(shards.read(tensor, 0, std::as_writable_bytes(std::span(levels))));
  for (size_t k = 0; k < levels.size(); ++k) {
    if (!std::isfinite(levels[k]) || (k > 0 && !(levels[k] > levels[k - 1])))
      return fail(ErrorCode::kBadValue, fmt::format("{}: level {} is {}; levels must be finite and "
                                                    "ascending",
                                                    where, k, levels[k]));
  }
  return levels;
}

// ct_scaled may be one unit in the last place off, depending on the device that divided, and the
// product here rounds once more.
bool equals_up_to_rounding(const Levels& a, const Levels& b) {
  for (size_t k = 0; k < a.size(); ++k) {
    if (std::abs(a[k] - b[k]) > 0x1p-22f * std::abs(b[k])) return false;
  }
  return true;
}

Levels mirrored(std::initializer_list<float> positive) {
  Levels levels;
  for (auto it = std::rbegin(positive); it != std::rend(positive); ++it) levels.push_back(-*it);
  levels.insert(levels.end(), positive);
  return levels;
}

}  // namespace

Result<Levels> read_table(const ShardSet& shards, const std::optional<ShardTensor>& table,
                          const std::optional<ShardTensor>& scaled) {
  Levels unscaled;
  if (scaled) {
    HLWQ_TRY_ASSIGN(unscaled, read_levels(shards, *scaled));
    for (float& level : unscaled)
      level = static_cast<float>(static_cast<double>(level) * std::sqrt(double{kBlock}));
    const Levels& wire = codebook(CodebookKind::kWire, std::bit_width(unscaled.size()) - 1);
    if (equals_up_to_rounding(unscaled, wire)) unscaled = wire;
  }
  if (!table) return unscaled;
  HLWQ_TRY_ASSIGN(Levels levels, read_levels(shards, *table));
  if (scaled && unscaled.size() != levels.size())
    return fail(ErrorCode::kBadLayout,
                fmt::format("{}: has {} levels, {} has {}", printable(table->entry->name),
                            levels.size(), printable(scaled->entry->name), unscaled.size()));
  return levels;
}

const Levels& default_table(int bits, bool eoq) {
  static const Levels kEoq2 = mirrored({0.4528f, 1.5104f});
  static const Levels kEoq3 = mirrored({0.2451f, 0.7560f, 1.3440f, 2.1520f});
  if (eoq && bits == 2) return kEoq2;
  if (eoq && bits == 3) return kEoq3;
  return codebook(CodebookKind::kWire, bits);
}

}  // namespace hlwq
