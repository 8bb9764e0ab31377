#include "format/coded_layer.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/checked.h"
#include "base/float16.h"
#include "format/evidence.h"
#include "format/sniff.h"
#include "format/tables.h"
#include "io/printable.h"
#include "quant/block.h"

namespace hlwq {
namespace {

// int64 tensor "meta": [rows, blocks, 128, rows*blocks*128] and, from F7 on, columns.
struct Meta {
  int64_t rows = 0, blocks = 0, codes = 0;
  std::optional<int64_t> cols;
};

template <typename... Args>
tl::unexpected<Error> bad_layout(const std::string& layer, fmt::format_string<Args...> format,
                                 Args&&... args) {
  return fail(ErrorCode::kBadLayout,
              layer + ": " + fmt::format(format, std::forward<Args>(args)...));
}

template <typename T>
Result<std::vector<T>> read_elements(const ShardSet& shards, const ShardTensor& tensor) {
  std::vector<T> elements(tensor.entry->bytes() / sizeof(T));
  HLWQ_TRY(shards.read(tensor, 0, std::as_writable_bytes(std::span(elements))));
  return elements;
}

Result<std::optional<Meta>> read_meta(const LayerParts& parts, const LayerContext& context) {
  if (!parts.meta) return std::nullopt;
  const TensorEntry& entry = *parts.meta->entry;
  const std::string where = printable(entry.name);
  if (entry.dtype != DType::kI64 || entry.shape.size() != 1 ||
      (entry.shape[0] != 4 && entry.shape[0] != 5))
    return bad_layout(where, "is {} of {} elements, want I64 of 4 or 5", name_of(entry.dtype),
                      entry.bytes() / static_cast<uint64_t>(bytes_of(entry.dtype)));
  HLWQ_TRY_ASSIGN(const auto values, read_elements<int64_t>(context.shards, *parts.meta));
  if (values[2] != kBlock)
    return fail(ErrorCode::kUnsupported, fmt::format("{}: block size is {}; only {} is supported",
                                                     where, values[2], kBlock));
  Meta meta{.rows = values[0], .blocks = values[1], .codes = values[3], .cols = std::nullopt};
  if (values.size() == 5) meta.cols = values[4];
  return meta;
}

struct Shape {
  int64_t rows = 0, cols = 0, blocks = 0;
  int64_t row_bytes = 0;  // of the code tensor
  [[nodiscard]] int64_t padded() const { return blocks * kBlock; }
};

// The expected tensor as a matrix, when it is one.
const std::vector<int64_t>* matrix_shape(const ExpectedTensor* expected) {
  return expected != nullptr && expected->shape.size() == 2 ? &expected->shape : nullptr;
}

Result<Shape> resolve_shape(const LayerParts& parts, const LayerContext& context,
                            const std::string& layer, const PolarLayerRow& row,
                            const ExpectedTensor* expected) {
  HLWQ_TRY_ASSIGN(const std::optional<Meta> meta, read_meta(parts, context));
  const std::vector<int64_t>& codes_shape = parts.codes.entry->shape;
  const std::vector<int64_t>& norms_shape = parts.norms.entry->shape;
  if (codes_shape.size() < 1 || codes_shape.size() > 2 || norms_shape.size() < 1 ||
      norms_shape.size() > 2)
    return bad_layout(layer, "codes have {} dimensions and norms {}, want 1 or 2",
                      codes_shape.size(), norms_shape.size());

  Evidence rows(layer, "rows");
  if (codes_shape.size() == 2) HLWQ_TRY(rows.add(codes_shape[0], "the codes' shape"));
  if (norms_shape.size() == 2) HLWQ_TRY(rows.add(norms_shape[0], "the norms' shape"));
  if (meta) HLWQ_TRY(rows.add(meta->rows, "meta"));
  HLWQ_TRY(rows.add(row.out_features, "polar_config.json"));
  const std::vector<int64_t>* wanted = matrix_shape(expected);
  if (!rows.known() && wanted != nullptr) HLWQ_TRY(rows.add((*wanted)[0], "the model"));
  if (!rows.known())
    return bad_layout(layer,
                      "codes and norms are 1-D and nothing says how many rows there are; "
                      "the model's config.json is needed");

  Evidence blocks(layer, "blocks a row");
  if (norms_shape.size() == 2) {
    HLWQ_TRY(blocks.add(norms_shape[1], "the norms' shape"));
  } else {
    if (norms_shape[0] % rows.value() != 0)
      return bad_layout(layer, "{} norms are not a whole number for each of {} rows",
                        norms_shape[0], rows.value());
    HLWQ_TRY(blocks.add(norms_shape[0] / rows.value(), "the norms' length"));
  }
  if (meta) HLWQ_TRY(blocks.add(meta->blocks, "meta"));
  HLWQ_TRY(blocks.add(row.blocks, "polar_config.json"));
  if (row.padded) {
    if (*row.padded % kBlock != 0)
      return bad_layout(layer, "padded row length {} is no multiple of {}", *row.padded, kBlock);
    HLWQ_TRY(blocks.add(*row.padded / kBlock, "the padded length in polar_config.json"));
  }

  Shape shape{.rows = rows.value(), .blocks = blocks.value()};
  const int64_t factors[] = {shape.rows, shape.blocks, kBlock};
  const std::optional<uint64_t> total = checked_product(factors);
  if (!total || *total > static_cast<uint64_t>(INT64_MAX))
    return bad_layout(layer, "{} rows of {} blocks overflow 64 bits", shape.rows, shape.blocks);
  if (meta && meta->codes != static_cast<int64_t>(*total))
    return bad_layout(layer, "meta counts {} codes, {} rows of {} blocks are {}", meta->codes,
                      shape.rows, shape.blocks, *total);

  const uint64_t code_bytes = parts.codes.entry->bytes();
  if (code_bytes % static_cast<uint64_t>(shape.rows) != 0)
    return bad_layout(layer, "{} bytes of codes are not a whole number for each of {} rows",
                      code_bytes, shape.rows);
  shape.row_bytes = static_cast<int64_t>(code_bytes / static_cast<uint64_t>(shape.rows));

  Evidence cols(layer, "columns");
  HLWQ_TRY(cols.add(row.in_features, "polar_config.json"));
  if (meta) HLWQ_TRY(cols.add(meta->cols, "meta"));
  if (!cols.known() && wanted != nullptr) HLWQ_TRY(cols.add((*wanted)[1], "the model"));
  if (!cols.known()) HLWQ_TRY(cols.add(shape.padded(), "the norms' shape"));
  shape.cols = cols.value();
  if (shape.cols > shape.padded() || shape.cols <= shape.padded() - kBlock)
    return bad_layout(layer, "{} columns (by {}) do not make {} blocks of {}", shape.cols,
                      cols.source(), shape.blocks, kBlock);
  return shape;
}

// What the bytes of a row allow. `bits` is 0 where they do not tell.
struct ByteCount {
  Packing packing = Packing::kI8;
  int bits = 0;
  bool ambiguous = false;  // a 5-bit stream of unknown order
};

Result<ByteCount> classify_bytes(const std::string& layer, const Shape& shape, bool stream,
                                 const PolarLayerRow& row) {
  const auto fits = [&](int bits) {
    return shape.row_bytes % (bits * (kBlock / 8)) == 0 &&
           shape.row_bytes / (bits * (kBlock / 8)) == shape.blocks;
  };
  std::optional<ByteCount> found;
  if (row.lsb) {
    for (int bits = kMinBits; bits < kMaxBits; ++bits) {
      if (fits(bits)) found = ByteCount{Packing::kLsb, bits};
    }
  } else if (fits(8)) {
    found = ByteCount{Packing::kI8, 0};
  } else if (stream) {
    for (const int bits : {2, 3, 4, 5, 6}) {
      if (fits(bits)) found = ByteCount{Packing::kMsb, bits};
    }
  } else if (fits(4)) {
    found = ByteCount{Packing::kNibble, 0};
  } else if (fits(5)) {
    const bool flagged = row.packed_q5.value_or(false);
    found = ByteCount{Packing::kLsb, 5, !flagged};
  }
  if (!found)
    return bad_layout(layer, "{} bytes of codes a row fit no packing of {} blocks of {}",
                      shape.row_bytes, shape.blocks, kBlock);
  const auto check = [&](std::optional<bool> flag, std::string_view name, bool is) -> Status {
    if (!flag || *flag == is) return {};
    return bad_layout(layer, "polar_config.json says {}: {}, the codes have {} bytes a row of {}",
                      name, *flag, shape.row_bytes, shape.padded());
  };
  HLWQ_TRY(check(row.packed, "packed", found->packing == Packing::kNibble));
  // An absent or false flag leaves the order of a 5-bit stream open.
  if (row.packed_q5.value_or(false))
    HLWQ_TRY(check(true, "packed_q5", found->packing == Packing::kLsb));
  return *found;
}

Result<int> resolve_bits(const std::string& layer, const ByteCount& bytes, const Levels& table,
                         const std::string& key, const PolarLayerRow& row,
                         const LayerContext& context, bool stream) {
  Evidence bits(layer, "bits");
  if (!table.empty()) {
    const auto width = static_cast<int64_t>(std::bit_width(table.size()) - 1);
    HLWQ_TRY(bits.add(width, "the codebook's length"));
  }
  if (bytes.bits != 0) HLWQ_TRY(bits.add(bytes.bits, "the codes' length"));
  if (row.bits) {
    HLWQ_TRY(bits.add(*row.bits, "polar_config.json"));
  } else if (const auto rule = context.config.bits_by_rule(key)) {
    HLWQ_TRY(bits.add(*rule, "polar_config.json"));
  } else if (context.folder_bits) {
    HLWQ_TRY(bits.add(*context.folder_bits, "the folder's name"));
  }
  if (!bits.known() && bytes.packing == Packing::kNibble)
    return bad_layout(layer, "codes are nibbles, and nothing says whether of 2, 3 or 4 bits");
  if (!bits.known()) HLWQ_TRY(bits.add(stream ? 8 : 5, "default"));
  if (bits.value() < kMinBits || bits.value() > kMaxBits)
    return fail(ErrorCode::kUnsupported,
                fmt::format("{}: {} bits by {}; {} to {} are supported", layer, bits.value(),
                            bits.source(), kMinBits, kMaxBits));
  if (bytes.packing == Packing::kNibble && bits.value() > 4)
    return bad_layout(layer, "{} bits by {}, but the codes are nibbles", bits.value(),
                      bits.source());
  return static_cast<int>(bits.value());
}

// F9 cannot be told from 1-D ordinary codes by shape when its size is a multiple of 128; then both
// readings are the same bytes, unless the model's shape has a tail.
bool is_flat(const LayerParts& parts, const PolarLayerRow& row, const ExpectedTensor* expected) {
  const std::vector<int64_t>& codes = parts.codes.entry->shape;
  const std::vector<int64_t>& norms = parts.norms.entry->shape;
  if (parts.rule->stream || parts.meta || row.out_features || codes.size() != 1 ||
      norms.size() != 1 || codes[0] < 1 || norms[0] != blocks_of(codes[0]))
    return false;
  if (expected == nullptr) return true;
  const std::optional<uint64_t> wanted = checked_product(expected->shape);
  return wanted && *wanted == static_cast<uint64_t>(codes[0]);
}

Status resolve_flat(const LayerParts& parts, const LayerContext& context, const std::string& layer,
                    const ExpectedTensor* expected, CodedLayer& out) {
  const int64_t count = parts.codes.entry->shape[0];
  if (parts.input_scales) {
    const TensorEntry& entry = *parts.input_scales->entry;
    if (entry.dtype != DType::kF16 || entry.shape.size() != 1 || entry.shape[0] < 1)
      return bad_layout(printable(entry.name), "is {}, want a vector of F16", name_of(entry.dtype));
    HLWQ_TRY_ASSIGN(const auto scales,
                    read_elements<uint16_t>(context.shards, *parts.input_scales));
    for (const uint16_t bits : scales) {
      const float scale = f16_to_f32(bits);
      if (!(std::isfinite(scale) && scale != 0))
        return fail(ErrorCode::kBadValue, fmt::format("{}: element {} is {}", printable(entry.name),
                                                      out.input_scales.size(), scale));
      out.input_scales.push_back(scale);
    }
  }
  const auto scale_count = static_cast<int64_t>(out.input_scales.size());
  if (expected != nullptr) {
    out.shape = expected->shape;
  } else if (scale_count > 0 && count % scale_count == 0) {
    out.shape = {count / scale_count, scale_count};
  } else {
    out.shape = {count};
  }
  if (scale_count > 0 && out.shape.back() != scale_count)
    return bad_layout(layer, "{} input scales for rows of {}", scale_count, out.shape.back());
  out.info.cols = out.shape.size() == 1 ? 1 : out.shape.back();
  out.info.rows = count / out.info.cols;
  out.info.blocks = blocks_of(out.info.cols);
  // Blocks that do not cross rows, in a matrix, make an ordinary coded matrix.
  out.info.flat = out.shape.size() != 2 || out.info.cols % kBlock != 0 || !out.input_scales.empty();
  return {};
}

constexpr std::string_view kOrders[] = {"L5", "M5"};

// Which of the two 5-bit streams a layer holds.
Result<Packing> sniff_order(const LayerParts& parts, const LayerContext& context,
                            const std::string& layer, std::span<const float> levels) {
  // A few thousand codes decide; the full sample is read only when they do not.
  const uint64_t stored = parts.codes.entry->bytes();
  StreamLikelihood likelihood;
  for (const uint64_t sample_codes : {uint64_t{8192}, uint64_t{65536}}) {
    std::vector<std::byte> packed(std::min(stored, sample_codes * 5 / 8));
    HLWQ_TRY(context.shards.read(parts.codes, 0, packed));
    likelihood = stream_likelihood(packed, levels);
    if (std::abs(likelihood.lsb - likelihood.msb) >= kStreamGap)
      return likelihood.lsb > likelihood.msb ? Packing::kLsb : Packing::kMsb;
  }
  return bad_layout(layer,
                    "5-bit codes without packed_q5 that read equally well as {} ({:.3f} nats a "
                    "code) and as {} ({:.3f})",
                    kOrders[0], likelihood.lsb, kOrders[1], likelihood.msb);
}

}  // namespace

Result<LayerParts> collect_parts(const ShardSet& shards, const ShardTensor& codes,
                                 const CodeName& name) {
  LayerParts parts;
  parts.rule = name.rule;
  parts.key = name.key;
  parts.codes = codes;
  const auto find = [&](std::string_view suffix) -> std::optional<ShardTensor> {
    if (suffix.empty()) return std::nullopt;
    return shards.find(parts.key + std::string(suffix));
  };
  const std::optional<ShardTensor> norms = find(name.rule->norms);
  if (!norms)
    return fail(ErrorCode::kMissing,
                fmt::format("{}: tensor \"{}\" has no norms (\"{}{}\")", codes.file->path(),
                            printable(codes.entry->name), printable(parts.key), name.rule->norms));
  parts.norms = *norms;
  parts.table = find(name.rule->table);
  parts.scaled_table = find(name.rule->scaled_table);
  parts.meta = find(name.rule->meta);
  parts.input_scales = find(name.rule->input_scales);
  parts.residual_signs = find(name.rule->residual_signs);
  return parts;
}

Result<CodedLayer> resolve_layer(const LayerParts& parts, const LayerContext& context) {
  const std::string layer = printable(parts.key);
  const TensorEntry& codes = *parts.codes.entry;
  const TensorEntry& norms = *parts.norms.entry;
  if (codes.dtype != DType::kU8 && codes.dtype != DType::kI8)
    return bad_layout(layer, "codes are {}, want U8 or I8", name_of(codes.dtype));
  if (norms.dtype != DType::kF16)
    return bad_layout(layer, "norms are {}, want F16", name_of(norms.dtype));

  ParameterNames::Match match = context.names.match(parts.key);
  const std::string_view prefix =
      std::string_view(match.name).ends_with(".weight")
          ? std::string_view(match.name).substr(0, match.name.size() - 7)
          : std::string_view(match.name);
  static const PolarLayerRow kNoRow;
  const PolarLayerRow* found = context.config.row({parts.key, match.name, prefix});
  const PolarLayerRow& row = found != nullptr ? *found : kNoRow;

  CodedLayer out;
  out.rule = parts.rule;
  out.dotted_key = parts.key.find('.') != std::string::npos;
  out.slice = match.slice;
  out.codes = parts.codes;
  out.norms = parts.norms;
  out.stored_bytes = codes.bytes() + norms.bytes();
  for (const auto& part :
       {parts.table, parts.scaled_table, parts.meta, parts.input_scales, parts.residual_signs}) {
    if (part) out.stored_bytes += part->entry->bytes();
  }

  HLWQ_TRY_ASSIGN(Levels table, read_table(context.shards, parts.table, parts.scaled_table));
  out.info.has_codebook = !table.empty();
  out.scaled = !parts.table && parts.scaled_table;

  ByteCount bytes;
  out.eoq = is_flat(parts, row, match.expected);
  if (out.eoq) {
    HLWQ_TRY(resolve_flat(parts, context, layer, match.expected, out));
  } else {
    HLWQ_TRY_ASSIGN(const Shape shape, resolve_shape(parts, context, layer, row, match.expected));
    HLWQ_TRY_ASSIGN(bytes, classify_bytes(layer, shape, parts.rule->stream, row));
    out.shape = {shape.rows, shape.cols};
    out.info.rows = shape.rows;
    out.info.cols = shape.cols;
    out.info.blocks = shape.blocks;
  }
  HLWQ_TRY_ASSIGN(out.info.bits,
                  resolve_bits(layer, bytes, table, parts.key, row, context, parts.rule->stream));
  out.levels = table.empty() ? default_table(out.info.bits, out.eoq) : std::move(table);
  out.info.packing = bytes.packing;
  if (bytes.ambiguous) {
    HLWQ_TRY_ASSIGN(out.info.packing, sniff_order(parts, context, layer, out.levels));
  }
  out.name = std::move(match.name);
  return out;
}

}  // namespace hlwq
