#pragma once
// Keys and values with codes, in host memory: what the host back ends write, and how tests and the
// reference read it back.

#include <cstdint>
#include <span>

#include "ops/backend.h"

namespace hlwq {

enum class KvHalf : uint8_t { kKeys, kValues };

// One vector of a page pool.
struct KvPlace {
  KvHalf half = KvHalf::kKeys;
  int64_t slot = 0, position = 0, kv_head = 0;
};

// A section of the page that holds the vector: codes or, at 16 bits, F16.
[[nodiscard]] std::byte* kv_section(const KvPages& pages, const AttentionShape& shape,
                                    const KvPlace& place);
// The exact copy of a vector: [head_dim] F16, rotated when its half is coded.
[[nodiscard]] uint16_t* exact_kv(const KvPages& pages, const AttentionShape& shape,
                                 const KvPlace& place);

// Keeps a vector [head_dim] in both forms. The pages must be coded.
void store_coded_kv(const KvPages& pages, const AttentionShape& shape, const KvPlace& place,
                    const float* values);
// Reads a vector back from the pool: H v from codes, v itself at 16 bits.
void load_coded_kv(const KvPages& pages, const AttentionShape& shape, const KvPlace& place,
                   std::span<float> out);

}  // namespace hlwq
