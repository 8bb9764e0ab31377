#pragma once
// Reading the payload of coded layers, rows at a time.

#include <cstdint>
#include <span>

#include "base/result.h"
#include "format/coded_layer.h"
#include "io/shards.h"

namespace hlwq {

// Codes [rows, blocks*128] and FP16 norms [rows, blocks] of a layer that is not flat. Errors:
// kBadValue for codes outside the table and norms that are negative, infinite or NaN; kIo.
[[nodiscard]] Status read_coded_rows(const ShardSet& shards, const CodedLayer& layer,
                                     int64_t first_row, int64_t rows, std::span<uint8_t> codes,
                                     std::span<uint16_t> norms);

// The same rows decoded, [rows, cols]; a bounded number of rows is in flight at a time.
[[nodiscard]] Status decode_coded_rows(const ShardSet& shards, const CodedLayer& layer,
                                       int64_t first_row, int64_t rows, std::span<float> out);

// Elements [first, first + out.size()) of a flat layer in row-major order, decoded. Codes past the
// tensor's end in the last block count as 0, as the published decoder has it.
[[nodiscard]] Status decode_flat(const ShardSet& shards, const CodedLayer& layer, uint64_t first,
                                 std::span<float> out);

}  // namespace hlwq
