#pragma once
// Coded matrices in memory: what GPU slots, pinned host records and CPU kernels read (design D2).
//
// Tiled5 (5 bits, symmetric table). Tiles of 8 rows; for tile t, block b, row r of the tile:
//   magnitudes  64 bytes at ((t*blocks + b)*8 + r)*64: quarter s (32 weights) is four little-endian
//               32-bit words; weight 8j+n of the quarter is nibble n of word j
//   signs       16 bytes at ((t*blocks + b)*8 + r)*16: word s is the quarter's; weight 8j+n at bit
//               8*(n mod 4) + 7 - (2j + n/4); set = negative
//   norms       FP16 at ((t*blocks + b)*8 + r)*2
// Code k >= 16 has magnitude k-16 and sign 0; k < 16 has magnitude 15-k and sign 1, so that
// v[k] = vmag[magnitude] ^ (sign ? ~0 : 0). Rows are padded to whole tiles with norm 0, code 16.
// A matrix is [magnitudes of all tiles | signs of all tiles | norms of all tiles], no gaps.
//
// Planes (any 2..8 bits, any table). Row-major; for row o, block b:
//   planes      bits*16 bytes at (o*blocks + b)*bits*16: plane p (16 bytes) holds bit p of each
//   code,
//               code i at bit i%8 of byte i/8
//   norms       FP16 at (o*blocks + b)*2
// A matrix is [planes of all rows | norms of all rows], the planes padded to 256 bytes.
//
// An expert record is up, then down, each matrix starting at a multiple of 256 bytes.

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/host_device.h"
#include "quant/block.h"
#include "quant/codebook.h"

namespace hlwq {

enum class CodeLayout : uint8_t { kTiled5, kPlanes };

inline constexpr int kTileRows = 8;
inline constexpr int64_t kRecordAlign = 256;

// Where the parts of one coded matrix lie, in bytes from its start (a multiple of 256).
struct CodedShape {
  CodeLayout layout = CodeLayout::kTiled5;
  int bits = 5;
  int64_t rows = 0, cols = 0;  // out_features, in_features

  [[nodiscard]] constexpr int64_t blocks() const { return blocks_of(cols); }
  [[nodiscard]] constexpr int64_t tiles() const { return (rows + kTileRows - 1) / kTileRows; }
  // Tiled5
  [[nodiscard]] constexpr int64_t signs_offset() const {
    return tiles() * blocks() * kTileRows * 64;
  }
  // either layout
  [[nodiscard]] constexpr int64_t norms_offset() const {
    if (layout == CodeLayout::kTiled5) return tiles() * blocks() * kTileRows * 80;
    return (rows * blocks() * bits * 16 + kRecordAlign - 1) / kRecordAlign * kRecordAlign;
  }
  [[nodiscard]] constexpr int64_t bytes() const {
    if (layout == CodeLayout::kTiled5) return tiles() * blocks() * kTileRows * 82;
    return norms_offset() + rows * blocks() * 2;
  }
  [[nodiscard]] constexpr int64_t aligned_bytes() const {
    return (bytes() + kRecordAlign - 1) / kRecordAlign * kRecordAlign;
  }
};

// The layout a matrix with this table gets: kTiled5 for 5 bits symmetric narrow, else kPlanes.
[[nodiscard]] CodeLayout layout_for(const LevelGrid& grid);

// Packs rows [first_row, first_row + n) of a matrix into its memory. codes: [n, blocks*128] one a
// byte; norms: FP16 bits [n, blocks]; `matrix` is the whole matrix's bytes(). kTiled5: first_row is
// a multiple of 8, and so is n unless these are the last rows (the tile is then padded).
void pack_rows(const CodedShape& shape, int64_t first_row, std::span<const uint8_t> codes,
               std::span<const uint16_t> norms, std::span<std::byte> matrix);

// One code / norm back out: the definition of the layouts, for reference code and tests.
[[nodiscard]] uint8_t code_at(const CodedShape& shape, const std::byte* matrix, int64_t row,
                              int64_t col);
[[nodiscard]] uint16_t norm_at(const CodedShape& shape, const std::byte* matrix, int64_t row,
                               int64_t block);

}  // namespace hlwq
