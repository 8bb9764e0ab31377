#include "quant/layout.h"

#include <bit>
#include <cstring>

#include "base/check.h"

namespace hlwq {
namespace {

static_assert(std::endian::native == std::endian::little, "words are moved as little-endian bytes");

constexpr uint64_t kEveryByte = 0x0101010101010101ull;

uint64_t load_eight(const uint8_t* codes) {
  uint64_t x;
  std::memcpy(&x, codes, 8);
  return x;
}

// The low nibbles of 8 bytes, packed into 32 bits, byte 0 lowest.
uint32_t pack_nibbles(uint64_t x) {
  x = (x | x >> 4) & 0x00ff00ff00ff00ffull;
  x = (x | x >> 8) & 0x0000ffff0000ffffull;
  return static_cast<uint32_t>(x | x >> 16);
}

// One row's block of the tiled layout: 128 codes to 64 bytes of magnitudes and 16 of signs.
void pack_tiled_block(const uint8_t* codes, std::byte* magnitudes, std::byte* signs) {
  for (int quarter = 0; quarter < 4; ++quarter) {
    uint32_t sign_word = 0;
    for (int j = 0; j < 4; ++j) {
      const uint64_t eight = load_eight(codes + 32 * quarter + 8 * j);
      const uint64_t negative = ~(eight >> 4) & kEveryByte;  // code < 16
      // 15 - k is the complement of k in four bits.
      const uint32_t word = pack_nibbles((eight ^ negative * 15) & kEveryByte * 15);
      std::memcpy(magnitudes + 16 * quarter + 4 * j, &word, 4);
      const uint64_t at_top = negative << 7;  // bit 7 of byte n
      sign_word |= static_cast<uint32_t>(at_top) >> (2 * j);
      sign_word |= static_cast<uint32_t>(at_top >> 32) >> (2 * j + 1);
    }
    std::memcpy(signs + 4 * quarter, &sign_word, 4);
  }
}

void pack_tiled(const CodedShape& shape, int64_t first_row, int64_t count, const uint8_t* codes,
                const uint16_t* norms, std::byte* matrix) {
  const int64_t blocks = shape.blocks();
  const int64_t padded = (count + kTileRows - 1) / kTileRows * kTileRows;
  for (int64_t i = 0; i < padded; ++i) {
    const int64_t tile = (first_row + i) / kTileRows, r = (first_row + i) % kTileRows;
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t unit = (tile * blocks + b) * kTileRows + r;
      std::byte* const magnitudes = matrix + unit * 64;
      std::byte* const signs = matrix + shape.signs_offset() + unit * 16;
      std::byte* const norm = matrix + shape.norms_offset() + unit * 2;
      if (i < count) {
        pack_tiled_block(codes + (i * blocks + b) * kBlock, magnitudes, signs);
        std::memcpy(norm, &norms[i * blocks + b], 2);
      } else {  // code 16 is magnitude 0 and sign 0
        std::memset(magnitudes, 0, 64);
        std::memset(signs, 0, 16);
        std::memset(norm, 0, 2);
      }
    }
  }
}

void pack_planes(const CodedShape& shape, int64_t first_row, int64_t count, const uint8_t* codes,
                 const uint16_t* norms, std::byte* matrix) {
  const int64_t blocks = shape.blocks();
  for (int64_t unit = 0; unit < count * blocks; ++unit) {
    std::byte* const planes = matrix + (first_row * blocks + unit) * shape.bits * 16;
    for (int byte = 0; byte < kBlock / 8; ++byte) {
      const uint64_t eight = load_eight(codes + unit * kBlock + 8 * byte);
      for (int p = 0; p < shape.bits; ++p) {
        // The product moves the lowest bit of byte i to bit 56 + i.
        const uint64_t gathered = ((eight >> p & kEveryByte) * 0x0102040810204080ull) >> 56;
        planes[p * 16 + byte] = static_cast<std::byte>(gathered);
      }
    }
  }
  std::memcpy(matrix + shape.norms_offset() + first_row * blocks * 2, norms,
              static_cast<size_t>(count * blocks * 2));
  if (first_row + count == shape.rows) {
    const int64_t end = shape.rows * blocks * shape.bits * 16;
    std::memset(matrix + end, 0, static_cast<size_t>(shape.norms_offset() - end));
  }
}

uint32_t load_word(const std::byte* p) {
  uint32_t word;
  std::memcpy(&word, p, 4);
  return word;
}

int64_t tiled_unit(const CodedShape& shape, int64_t row, int64_t block) {
  return (row / kTileRows * shape.blocks() + block) * kTileRows + row % kTileRows;
}

}  // namespace

CodeLayout layout_for(const LevelGrid& grid) {
  return grid.bits == 5 && grid.symmetric && !grid.wide ? CodeLayout::kTiled5 : CodeLayout::kPlanes;
}

void pack_rows(const CodedShape& shape, int64_t first_row, std::span<const uint8_t> codes,
               std::span<const uint16_t> norms, std::span<std::byte> matrix) {
  const int64_t blocks = shape.blocks();
  HLWQ_CHECK(blocks > 0 && norms.size() % static_cast<size_t>(blocks) == 0);
  const int64_t count = static_cast<int64_t>(norms.size()) / blocks;
  HLWQ_CHECK(static_cast<int64_t>(codes.size()) == count * blocks * kBlock);
  HLWQ_CHECK(static_cast<int64_t>(matrix.size()) == shape.bytes());
  HLWQ_CHECK(first_row >= 0 && first_row + count <= shape.rows);
  if (count == 0) return;
  if (shape.layout == CodeLayout::kTiled5) {
    HLWQ_CHECK(shape.bits == 5 && first_row % kTileRows == 0);
    HLWQ_CHECK(count % kTileRows == 0 || first_row + count == shape.rows);
    pack_tiled(shape, first_row, count, codes.data(), norms.data(), matrix.data());
  } else {
    HLWQ_CHECK(shape.bits >= kMinBits && shape.bits <= kMaxBits);
    pack_planes(shape, first_row, count, codes.data(), norms.data(), matrix.data());
  }
}

uint8_t code_at(const CodedShape& shape, const std::byte* matrix, int64_t row, int64_t col) {
  const int64_t block = col / kBlock;
  const int i = static_cast<int>(col % kBlock);
  if (shape.layout == CodeLayout::kPlanes) {
    const std::byte* const planes = matrix + (row * shape.blocks() + block) * shape.bits * 16;
    unsigned code = 0;
    for (int p = 0; p < shape.bits; ++p)
      code |= (std::to_integer<unsigned>(planes[p * 16 + i / 8]) >> (i % 8) & 1u) << p;
    return static_cast<uint8_t>(code);
  }
  const int64_t unit = tiled_unit(shape, row, block);
  const int quarter = i / 32, j = i % 32 / 8, n = i % 8;
  const uint32_t magnitude = load_word(matrix + unit * 64 + 16 * quarter + 4 * j) >> (4 * n) & 15u;
  const uint32_t signs = load_word(matrix + shape.signs_offset() + unit * 16 + 4 * quarter);
  const bool negative = (signs >> (8 * (n % 4) + 7 - (2 * j + n / 4)) & 1u) != 0;
  return static_cast<uint8_t>(negative ? 15 - magnitude : 16 + magnitude);
}

uint16_t norm_at(const CodedShape& shape, const std::byte* matrix, int64_t row, int64_t block) {
  const int64_t unit = shape.layout == CodeLayout::kTiled5 ? tiled_unit(shape, row, block)
                                                           : row * shape.blocks() + block;
  uint16_t norm;
  std::memcpy(&norm, matrix + shape.norms_offset() + unit * 2, 2);
  return norm;
}

}  // namespace hlwq
