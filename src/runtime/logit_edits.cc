#include "runtime/logit_edits.h"

#include <limits>

namespace hlwq {

void apply_edits(const LogitEdits& edits, const std::unordered_map<int32_t, int64_t>& counts,
                 std::span<float> row) {
  const auto is_inside = [&](int32_t id) {
    return id >= 0 && static_cast<size_t>(id) < row.size();
  };
  for (const auto& [id, bias] : edits.bias)
    if (is_inside(id)) row[static_cast<size_t>(id)] += bias;
  if (edits.presence_penalty == 0 && edits.frequency_penalty == 0) return;
  for (const auto& [id, count] : counts)
    if (is_inside(id))
      row[static_cast<size_t>(id)] -=
          edits.presence_penalty + edits.frequency_penalty * static_cast<float>(count);
}

void apply_mask(std::span<const uint64_t> mask, std::span<float> row) {
  for (size_t id = 0; id < row.size(); ++id)
    if ((mask[id / 64] >> (id % 64) & 1) == 0) row[id] = -std::numeric_limits<float>::infinity();
}

}  // namespace hlwq
