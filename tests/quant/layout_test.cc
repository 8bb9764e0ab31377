#include "quant/layout.h"

#include <gtest/gtest.h>

#include "base/check.h"
#include "tests/quant/random_weights.h"

namespace hlwq {
namespace {

unsigned byte_at(const std::vector<std::byte>& m, int64_t at) {
  return std::to_integer<unsigned>(m.at(static_cast<size_t>(at)));
}

unsigned half_at(const std::vector<std::byte>& m, int64_t at) {
  return byte_at(m, at) | byte_at(m, at + 1) << 8;
}

struct Coded {
  CodedShape shape;
  std::vector<uint8_t> codes;
  std::vector<uint16_t> norms;
  std::vector<std::byte> matrix;
};

// Random codes packed in parts of `part` rows.
Coded random_coded(CodeLayout layout, int bits, int64_t rows, int64_t cols, int64_t part) {
  Coded c;
  c.shape = {.layout = layout, .bits = bits, .rows = rows, .cols = cols};
  const int64_t blocks = c.shape.blocks();
  c.codes = random_codes(static_cast<size_t>(rows * blocks * kBlock), bits, 3);
  for (const uint8_t byte : random_codes(static_cast<size_t>(rows * blocks), 8, 4))
    c.norms.push_back(static_cast<uint16_t>(0x2c00 + 7 * byte));
  c.matrix.assign(static_cast<size_t>(c.shape.bytes()), std::byte{0xcd});
  for (int64_t r = 0; r < rows; r += part) {
    const int64_t n = std::min(part, rows - r);
    pack_rows(c.shape, r,
              std::span(c.codes).subspan(static_cast<size_t>(r * blocks * kBlock),
                                         static_cast<size_t>(n * blocks * kBlock)),
              std::span(c.norms).subspan(static_cast<size_t>(r * blocks),
                                         static_cast<size_t>(n * blocks)),
              c.matrix);
  }
  return c;
}

// The documented layout of kTiled5, byte by byte.
TEST(Layout, TilesFollowTheDocumentedFormula) {
  for (const auto& [rows, cols] :
       {std::pair<int64_t, int64_t>{1, 128}, {8, 256}, {19, 200}, {24, 384}}) {
    const Coded c = random_coded(CodeLayout::kTiled5, 5, rows, cols, 8);
    const int64_t blocks = (cols + 127) / 128, tiles = (rows + 7) / 8;
    ASSERT_EQ(c.shape.bytes(), tiles * blocks * 8 * (64 + 16 + 2));
    const int64_t signs_at = tiles * blocks * 8 * 64, norms_at = signs_at + tiles * blocks * 8 * 16;
    for (int64_t row = 0; row < tiles * 8; ++row) {
      for (int64_t b = 0; b < blocks; ++b) {
        const int64_t unit = ((row / 8) * blocks + b) * 8 + row % 8;
        for (int i = 0; i < 128; ++i) {
          const int s = i / 32, j = i % 32 / 8, n = i % 8;
          // Nibble n of a little-endian word lies in byte n/2.
          const unsigned nibble =
              byte_at(c.matrix, unit * 64 + 16 * s + 4 * j + n / 2) >> (n % 2 * 4) & 15u;
          const int bit = 8 * (n % 4) + 7 - (2 * j + n / 4);
          const unsigned sign =
              byte_at(c.matrix, signs_at + unit * 16 + 4 * s + bit / 8) >> (bit % 8) & 1u;
          if (row >= rows) {
            ASSERT_EQ(nibble, 0u);
            ASSERT_EQ(sign, 0u);
            continue;
          }
          const int64_t col = b * 128 + i;
          const unsigned code = c.codes[static_cast<size_t>((row * blocks) * 128 + col)];
          ASSERT_EQ(sign, code < 16 ? 1u : 0u) << row << " " << col;
          ASSERT_EQ(nibble, code < 16 ? 15 - code : code - 16) << row << " " << col;
          ASSERT_EQ(code_at(c.shape, c.matrix.data(), row, col), code);
        }
        const unsigned norm = half_at(c.matrix, norms_at + unit * 2);
        if (row >= rows) {
          ASSERT_EQ(norm, 0u);
        } else {
          ASSERT_EQ(norm, c.norms[static_cast<size_t>(row * blocks + b)]);
          ASSERT_EQ(norm_at(c.shape, c.matrix.data(), row, b), norm);
        }
      }
    }
  }
}

TEST(Layout, PlanesFollowTheDocumentedFormula) {
  for (int bits = 2; bits <= 8; ++bits) {
    const int64_t rows = 5, cols = 300, blocks = 3;
    const Coded c = random_coded(CodeLayout::kPlanes, bits, rows, cols, 2);
    const int64_t planes = rows * blocks * bits * 16, norms_at = (planes + 255) / 256 * 256;
    ASSERT_EQ(c.shape.bytes(), norms_at + rows * blocks * 2);
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t b = 0; b < blocks; ++b) {
        for (int i = 0; i < 128; ++i) {
          unsigned code = 0;
          for (int p = 0; p < bits; ++p)
            code |=
                (byte_at(c.matrix, (row * blocks + b) * bits * 16 + p * 16 + i / 8) >> (i % 8) & 1u)
                << p;
          ASSERT_EQ(code, c.codes[static_cast<size_t>((row * blocks + b) * 128 + i)]);
          ASSERT_EQ(code_at(c.shape, c.matrix.data(), row, b * 128 + i), code);
        }
        ASSERT_EQ(half_at(c.matrix, norms_at + (row * blocks + b) * 2),
                  c.norms[static_cast<size_t>(row * blocks + b)]);
        ASSERT_EQ(norm_at(c.shape, c.matrix.data(), row, b),
                  c.norms[static_cast<size_t>(row * blocks + b)]);
      }
    }
    for (int64_t at = planes; at < norms_at; ++at) ASSERT_EQ(byte_at(c.matrix, at), 0u);
  }
}

// The identity the kernels rely on: the sign turns a value into its one's complement.
TEST(Layout, SignAndMagnitudeGiveTheLevel) {
  const LevelGrid grid = snap_to_grid(codebook(CodebookKind::kGrid, 5)).value();
  ASSERT_EQ(layout_for(grid), CodeLayout::kTiled5);
  for (int code = 0; code < 32; ++code) {
    const int magnitude = code < 16 ? 15 - code : code - 16;
    const int positive = grid.v[static_cast<size_t>(16 + magnitude)];
    EXPECT_EQ(grid.v[static_cast<size_t>(code)], positive ^ (code < 16 ? ~0 : 0));
  }
}

TEST(Layout, OnlySymmetricNarrowFiveBitTablesAreTiled) {
  LevelGrid grid = snap_to_grid(codebook(CodebookKind::kWire, 5)).value();
  EXPECT_EQ(layout_for(grid), CodeLayout::kTiled5);
  grid.symmetric = false;
  EXPECT_EQ(layout_for(grid), CodeLayout::kPlanes);
  EXPECT_EQ(layout_for(snap_to_grid(codebook(CodebookKind::kWire, 4)).value()),
            CodeLayout::kPlanes);
  EXPECT_EQ(layout_for(snap_to_grid(codebook(CodebookKind::kOptimal, 8)).value()),
            CodeLayout::kPlanes);
}

TEST(Layout, BrokenPromisesThrow) {
  const CodedShape shape{.layout = CodeLayout::kTiled5, .bits = 5, .rows = 16, .cols = 128};
  std::vector<std::byte> matrix(static_cast<size_t>(shape.bytes()));
  const std::vector<uint8_t> codes(4 * 128);
  const std::vector<uint16_t> norms(4);
  EXPECT_THROW(pack_rows(shape, 0, codes, norms, matrix), BrokenPromise);   // part of a tile
  EXPECT_THROW(pack_rows(shape, 4, codes, norms, matrix), BrokenPromise);   // not at a tile
  EXPECT_THROW(pack_rows(shape, 16, codes, norms, matrix), BrokenPromise);  // past the end
  matrix.pop_back();
  EXPECT_THROW(pack_rows(shape, 8, codes, norms, matrix), BrokenPromise);
}

}  // namespace
}  // namespace hlwq
