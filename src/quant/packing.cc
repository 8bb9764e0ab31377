#include "quant/packing.h"

#include <bit>
#include <cstring>
#include <type_traits>

#include "base/check.h"
#include "quant/block.h"

namespace hlwq {
namespace {

static_assert(std::endian::native == std::endian::little, "words are moved as little-endian bytes");

// Eight codes are one unit: b bytes packed, 8 bytes unpacked. In the little-endian stream the unit
// is an 8b-bit word with code i at bit b*i; in the big-endian stream, read as a big-endian word,
// code 7 is at bit 0. So one spread and one compress serve both, with the bytes swapped.

constexpr uint64_t low_bits(int count) {
  return count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
}

// `field` low bits set in every lane of `period` bits.
constexpr uint64_t every(int field, int period) {
  uint64_t mask = 0;
  for (int at = 0; at < 64; at += period) mask |= low_bits(field) << at;
  return mask;
}

// One step of spread: in each lane of kLane bits, the upper of two tight fields goes to mid-lane.
template <int kField, int kLane>
inline uint64_t part(uint64_t x) {
  constexpr uint64_t kLower = every(kField, kLane), kUpper = kLower << (kLane / 2);
  return (x & kLower) | (x << (kLane / 2 - kField) & kUpper);
}

// Its inverse; bits outside the fields are dropped.
template <int kField, int kLane>
inline uint64_t join(uint64_t x) {
  constexpr uint64_t kLower = every(kField, kLane), kUpper = kLower << (kLane / 2);
  return (x & kLower) | (x & kUpper) >> (kLane / 2 - kField);
}

// 8 fields of kBits, tight, to 8 bytes.
template <int kBits>
inline uint64_t spread(uint64_t x) {
  return part<kBits, 16>(part<2 * kBits, 32>(part<4 * kBits, 64>(x)));
}

// 8 bytes to 8 tight fields; bits of a byte above kBits are dropped.
template <int kBits>
inline uint64_t compress(uint64_t x) {
  return join<4 * kBits, 64>(join<2 * kBits, 32>(join<kBits, 16>(x)));
}

template <int kBits, bool kBigEndian>
void pack_stream(const uint8_t* codes, size_t count, std::byte* packed) {
  for (size_t unit = 0; unit < count / 8; ++unit) {
    uint64_t x;
    std::memcpy(&x, codes + unit * 8, 8);
    if constexpr (kBigEndian) x = __builtin_bswap64(x);
    x = compress<kBits>(x);
    if constexpr (kBigEndian) x = __builtin_bswap64(x << (64 - 8 * kBits));
    std::memcpy(packed + unit * kBits, &x, kBits);
  }
}

// The 8 codes whose packed bytes start the word; the bytes after them do not matter.
template <int kBits, bool kBigEndian>
inline void unpack_unit(uint64_t word, uint8_t* codes) {
  if constexpr (kBigEndian) word = __builtin_bswap64(word) >> (64 - 8 * kBits);
  uint64_t x = spread<kBits>(word);
  if constexpr (kBigEndian) x = __builtin_bswap64(x);
  std::memcpy(codes, &x, 8);
}

template <int kBits, bool kBigEndian>
void unpack_stream(const std::byte* packed, size_t count, uint8_t* codes) {
  // Whole words are read while they stay inside: gathering 5 bytes into a word costs six times as
  // much.
  const size_t units = count / 8, bytes = units * kBits;
  size_t unit = 0;
  for (; unit * kBits + 8 <= bytes; ++unit) {
    uint64_t word;
    std::memcpy(&word, packed + unit * kBits, 8);
    unpack_unit<kBits, kBigEndian>(word, codes + unit * 8);
  }
  for (; unit < units; ++unit) {
    uint64_t word = 0;
    std::memcpy(&word, packed + unit * kBits, kBits);
    unpack_unit<kBits, kBigEndian>(word, codes + unit * 8);
  }
}

template <typename Function>
void with_bits(int bits, Function&& function) {
  switch (bits) {
    case 2:
      return function(std::integral_constant<int, 2>{});
    case 3:
      return function(std::integral_constant<int, 3>{});
    case 4:
      return function(std::integral_constant<int, 4>{});
    case 5:
      return function(std::integral_constant<int, 5>{});
    case 6:
      return function(std::integral_constant<int, 6>{});
    case 7:
      return function(std::integral_constant<int, 7>{});
    case 8:
      return function(std::integral_constant<int, 8>{});
    default:
      HLWQ_CHECK(bits >= 2 && bits <= 8);
  }
}

void pack_nibbles(const uint8_t* codes, size_t count, std::byte* packed) {
  constexpr size_t kHalf = kBlock / 2;
  for (size_t b = 0; b < count / kBlock; ++b) {
    const uint8_t* const low = codes + b * kBlock;
    for (size_t m = 0; m < kHalf; ++m)
      packed[b * kHalf + m] = static_cast<std::byte>((low[m] & 15u) | (low[m + kHalf] & 15u) << 4);
  }
}

void unpack_nibbles(const std::byte* packed, size_t count, uint8_t* codes) {
  constexpr size_t kHalf = kBlock / 2;
  for (size_t b = 0; b < count / kBlock; ++b) {
    uint8_t* const low = codes + b * kBlock;
    for (size_t m = 0; m < kHalf; ++m) {
      const auto byte = std::to_integer<unsigned>(packed[b * kHalf + m]);
      low[m] = static_cast<uint8_t>(byte & 15u);
      low[m + kHalf] = static_cast<uint8_t>(byte >> 4);
    }
  }
}

}  // namespace

int64_t packed_bytes(Packing packing, int bits, int64_t count) {
  HLWQ_CHECK(count >= 0 && count % kBlock == 0);
  HLWQ_CHECK(bits >= 2 && bits <= 8);
  switch (packing) {
    case Packing::kI8:
      return count;
    case Packing::kNibble:
      HLWQ_CHECK(bits <= 4);
      return count / 2;
    case Packing::kLsb:
    case Packing::kMsb:
      break;
  }
  return count / 8 * bits;
}

void pack_codes(Packing packing, int bits, std::span<const uint8_t> codes,
                std::span<std::byte> packed) {
  HLWQ_CHECK(static_cast<int64_t>(packed.size()) ==
             packed_bytes(packing, bits, static_cast<int64_t>(codes.size())));
  if (codes.empty()) return;
  switch (packing) {
    case Packing::kI8:
      std::memcpy(packed.data(), codes.data(), codes.size());
      return;
    case Packing::kNibble:
      return pack_nibbles(codes.data(), codes.size(), packed.data());
    case Packing::kLsb:
      return with_bits(bits, [&](auto b) {
        pack_stream<decltype(b)::value, false>(codes.data(), codes.size(), packed.data());
      });
    case Packing::kMsb:
      return with_bits(bits, [&](auto b) {
        pack_stream<decltype(b)::value, true>(codes.data(), codes.size(), packed.data());
      });
  }
}

void unpack_codes(Packing packing, int bits, std::span<const std::byte> packed,
                  std::span<uint8_t> codes) {
  HLWQ_CHECK(static_cast<int64_t>(packed.size()) ==
             packed_bytes(packing, bits, static_cast<int64_t>(codes.size())));
  if (codes.empty()) return;
  switch (packing) {
    case Packing::kI8:
      std::memcpy(codes.data(), packed.data(), codes.size());
      return;
    case Packing::kNibble:
      return unpack_nibbles(packed.data(), codes.size(), codes.data());
    case Packing::kLsb:
      return with_bits(bits, [&](auto b) {
        unpack_stream<decltype(b)::value, false>(packed.data(), codes.size(), codes.data());
      });
    case Packing::kMsb:
      return with_bits(bits, [&](auto b) {
        unpack_stream<decltype(b)::value, true>(packed.data(), codes.size(), codes.data());
      });
  }
}

}  // namespace hlwq
