#pragma once
// Codebooks as files carry them, and those in force where a file carries none.

#include <optional>

#include "base/result.h"
#include "io/shards.h"
#include "quant/codebook.h"

namespace hlwq {

// The levels of a layer from its "ct" (which wins) or "ct_scaled" tensor, F32, ascending, a power
// of two from 4 to 256 of them; empty when it has neither. A scaled table that is WIRE up to the
// rounding of the division gives WIRE itself.
// Errors: kBadLayout, kBadValue; kIo. They name the tensor.
[[nodiscard]] Result<Levels> read_table(const ShardSet& shards,
                                        const std::optional<ShardTensor>& table,
                                        const std::optional<ShardTensor>& scaled);

// WIRE; for the flat EOQ variant (F9) at 2 and 3 bits the table its module has, to four decimals.
[[nodiscard]] const Levels& default_table(int bits, bool eoq);

}  // namespace hlwq
