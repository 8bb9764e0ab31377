#include "format/coded_rows.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/float16.h"
#include "io/printable.h"
#include "quant/block.h"
#include "quant/encode.h"

namespace hlwq {
namespace {

constexpr int64_t kDecodeCodes = 1 << 20;  // codes decoded at a time

Status check_codes(const CodedLayer& layer, std::span<const uint8_t> codes, int64_t first_code) {
  const int limit = 1 << layer.info.bits;
  if (limit == 256) return {};
  // The maximum alone vectorizes; the position is looked up only when there is something to report.
  uint8_t most = 0;
  for (const uint8_t code : codes) most = std::max(most, code);
  if (most < limit) return {};
  const auto bad = std::ranges::find_if(codes, [&](uint8_t code) { return code >= limit; });
  const int64_t at = first_code + (bad - codes.begin());
  const int64_t padded = layer.info.blocks * kBlock;
  return fail(ErrorCode::kBadValue,
              fmt::format("{}: row {}, column {}: code {} is outside the table of {} levels",
                          printable(layer.codes.entry->name), at / padded, at % padded,
                          static_cast<int>(*bad), limit));
}

// FP16 bits of a norm that a block can have. -0 counts as 0.
bool is_norm(uint16_t bits) { return bits < 0x7c00 || bits == 0x8000; }

Status check_norms(const CodedLayer& layer, std::span<const uint16_t> norms, int64_t first_norm) {
  bool valid = true;
  for (const uint16_t bits : norms) valid &= is_norm(bits);
  if (valid) return {};
  const auto bad = std::ranges::find_if_not(norms, is_norm);
  const int64_t at = first_norm + (bad - norms.begin());
  return fail(ErrorCode::kBadValue,
              fmt::format("{}: row {}, block {}: norm is {}", printable(layer.norms.entry->name),
                          at / layer.info.blocks, at % layer.info.blocks, f16_to_f32(*bad)));
}

Status read_norms(const ShardSet& shards, const CodedLayer& layer, int64_t first,
                  std::span<uint16_t> norms) {
  HLWQ_TRY(shards.read(layer.norms, static_cast<uint64_t>(first) * sizeof(uint16_t),
                       std::as_writable_bytes(norms)));
  return check_norms(layer, norms, first);
}

}  // namespace

Status read_coded_rows(const ShardSet& shards, const CodedLayer& layer, int64_t first_row,
                       int64_t rows, std::span<uint8_t> codes, std::span<uint16_t> norms) {
  const int64_t padded = layer.info.blocks * kBlock;
  HLWQ_CHECK(codes.size() == static_cast<size_t>(rows * padded));
  HLWQ_CHECK(norms.size() == static_cast<size_t>(rows * layer.info.blocks));
  const int64_t row_bytes = packed_bytes(layer.info.packing, layer.info.bits, padded);
  const auto offset = static_cast<uint64_t>(first_row * row_bytes);
  if (layer.info.packing == Packing::kI8) {
    HLWQ_TRY(shards.read(layer.codes, offset, std::as_writable_bytes(codes)));
  } else {
    std::vector<std::byte> packed(static_cast<size_t>(rows * row_bytes));
    HLWQ_TRY(shards.read(layer.codes, offset, packed));
    unpack_codes(layer.info.packing, layer.info.bits, packed, codes);
  }
  HLWQ_TRY(check_codes(layer, codes, first_row * padded));
  return read_norms(shards, layer, first_row * layer.info.blocks, norms);
}

Status decode_coded_rows(const ShardSet& shards, const CodedLayer& layer, int64_t first_row,
                         int64_t rows, std::span<float> out) {
  const CodedInfo& info = layer.info;
  HLWQ_CHECK(out.size() == static_cast<size_t>(rows * info.cols));
  const int64_t padded = info.blocks * kBlock;
  const int64_t most_rows = std::min(rows, std::max<int64_t>(1, kDecodeCodes / padded));
  std::vector<uint8_t> code_buffer(static_cast<size_t>(most_rows * padded));
  std::vector<uint16_t> norm_buffer(static_cast<size_t>(most_rows * info.blocks));
  for (int64_t done = 0; done < rows; done += most_rows) {
    const int64_t count = std::min(most_rows, rows - done);
    const auto codes = std::span(code_buffer).first(static_cast<size_t>(count * padded));
    const auto norms = std::span(norm_buffer).first(static_cast<size_t>(count * info.blocks));
    HLWQ_TRY(read_coded_rows(shards, layer, first_row + done, count, codes, norms));
    decode_rows(
        codes, norms, info.cols, layer.levels,
        out.subspan(static_cast<size_t>(done * info.cols), static_cast<size_t>(count * info.cols)));
  }
  return {};
}

Status decode_flat(const ShardSet& shards, const CodedLayer& layer, uint64_t first,
                   std::span<float> out) {
  constexpr uint64_t kBlockCodes = kBlock;
  constexpr uint64_t kMostBlocks = kDecodeCodes / kBlock;
  const uint64_t stored = layer.codes.entry->bytes();
  const uint64_t end = first + out.size();
  HLWQ_CHECK(end <= stored);
  std::vector<uint8_t> codes;
  std::vector<uint16_t> norms;
  std::vector<float> decoded;
  const uint64_t end_block = (end + kBlockCodes - 1) / kBlockCodes;
  for (uint64_t block = first / kBlockCodes; block < end_block; block += kMostBlocks) {
    const uint64_t blocks = std::min(kMostBlocks, end_block - block);
    const uint64_t begin = block * kBlockCodes;
    codes.assign(blocks * kBlockCodes, 0);
    norms.resize(blocks);
    decoded.resize(codes.size());
    const auto present = std::span(codes).first(std::min<uint64_t>(codes.size(), stored - begin));
    HLWQ_TRY(shards.read(layer.codes, begin, std::as_writable_bytes(present)));
    HLWQ_TRY(check_codes(layer, codes, static_cast<int64_t>(begin)));
    HLWQ_TRY(read_norms(shards, layer, static_cast<int64_t>(block), norms));
    decode_rows(codes, norms, kBlock, layer.levels, decoded);  // a block is a row here
    const uint64_t from = std::max(first, begin);
    const uint64_t to = std::min(end, begin + codes.size());
    for (uint64_t i = from; i < to; ++i) {
      float value = decoded[i - begin];
      if (!layer.input_scales.empty()) value /= layer.input_scales[i % layer.input_scales.size()];
      out[i - first] = value;
    }
  }
  return {};
}

}  // namespace hlwq
