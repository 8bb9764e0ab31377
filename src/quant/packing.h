#pragma once
// The packings of codes on disk. Names and bit orders: docs/format.md#packings.

#include <cstddef>
#include <cstdint>
#include <span>

namespace hlwq {

enum class Packing {
  kI8,      // one code a byte
  kNibble,  // half-block nibbles, bits <= 4: byte m of a block = q[m] + 16 q[m + 64]
  kLsb,     // little-endian bit stream of a row ("L5" at 5 bits): code k at bits b*k from bit 0 of
            // byte 0
  kMsb,     // big-endian bit stream of the flat array ("Mb"): most significant bit first
};

// Bytes of `count` codes; count % 128 == 0, so every packing ends on a byte.
[[nodiscard]] int64_t packed_bytes(Packing packing, int bits, int64_t count);

// count % 128 == 0 codes; `codes.size() == count`, `packed.size() == packed_bytes(...)`.
// unpack masks nothing: I8 and nibble bytes may hold codes >= 2^bits, which the caller rejects.
void pack_codes(Packing packing, int bits, std::span<const uint8_t> codes,
                std::span<std::byte> packed);
void unpack_codes(Packing packing, int bits, std::span<const std::byte> packed,
                  std::span<uint8_t> codes);

}  // namespace hlwq
