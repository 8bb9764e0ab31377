#include "quant/codebook.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "quant/codebook_build.h"
#include "tests/quant/goldens.h"

namespace hlwq {
namespace {

double db(double ratio) { return 10 * std::log10(ratio); }

TEST(Codebook, WireAgreesInEveryBit) {
  for (int bits = kMinBits; bits <= kMaxBits; ++bits) {
    EXPECT_EQ(codebook(CodebookKind::kWire, bits),
              Goldens::get().tensor<float>("tables/wire_b" + std::to_string(bits)))
        << bits << " bits";
  }
}

TEST(Codebook, KvAgreesInEveryBit) {
  for (int bits = 2; bits <= 4; ++bits) {
    EXPECT_EQ(codebook(CodebookKind::kKv, bits),
              Goldens::get().tensor<float>("tables/kv_b" + std::to_string(bits)))
        << bits << " bits";
  }
  // The 5-bit table is in docs/format.md only, positive half, 9 digits.
  const float kPositive[] = {0.087777555f, 0.263401449f, 0.439243257f, 0.615488827f,
                             0.792391658f, 0.970315456f, 1.14979517f,  1.33162844f,
                             1.51701701f,  1.70779514f,  1.90681326f,  2.11863494f,
                             2.35092759f,  2.61765623f,  2.94809175f,  3.42314434f};
  for (size_t k = 0; k < 16; ++k) {
    EXPECT_EQ(codebook(CodebookKind::kKv, 5)[16 + k], kPositive[k]);
    EXPECT_EQ(codebook(CodebookKind::kKv, 5)[15 - k], -kPositive[k]);
  }
}

TEST(Codebook, OptimalIsTheFixedPoint) {
  for (int bits = kMinBits; bits <= kMaxBits; ++bits) {
    const auto golden = Goldens::get().tensor<double>("tables/opt_b" + std::to_string(bits));
    const std::vector<double> levels = optimal_levels(bits);
    ASSERT_EQ(levels.size(), golden.size());
    for (size_t k = 0; k < levels.size(); ++k) {
      EXPECT_NEAR(levels[k], golden[k], 1e-9) << bits << " bits, level " << k;
      EXPECT_EQ(codebook(CodebookKind::kOptimal, bits)[k], static_cast<float>(levels[k]));
    }
  }
}

TEST(Codebook, MeanSquaredErrorAgrees) {
  for (int bits = kMinBits; bits <= kMaxBits; ++bits) {
    const auto& row = Goldens::get().manifest().at("tables").at("b" + std::to_string(bits));
    // Cancellation leaves 1e-16 * 2^bits or so; the optimum's levels are rounded to FP32 here.
    EXPECT_NEAR(gaussian_mse(codebook(CodebookKind::kWire, bits)), row.at("mse_wire"), 1e-13);
    EXPECT_NEAR(gaussian_mse(codebook(CodebookKind::kOptimal, bits)), row.at("mse_optimal"), 1e-13);
  }
}

TEST(Codebook, CellMassesSumToOne) {
  for (const CodebookKind kind : {CodebookKind::kWire, CodebookKind::kGrid}) {
    const std::vector<double> logs = log_cell_mass(codebook(kind, 5));
    double sum = 0;
    for (const double log_mass : logs) sum += std::exp(log_mass);
    EXPECT_NEAR(sum, 1, 1e-14);
    EXPECT_NEAR(logs.front(), logs.back(), 1e-12);
  }
  const std::vector<float> far = {-1.0f, 1.0f, 90.0f, 100.0f};
  EXPECT_EQ(log_cell_mass(far)[3], std::log(1e-30));
}

TEST(Codebook, GridIsOnTheGridAndNearTheOptimum) {
  // Measured losses with room for another processor's exp and erfc; 5 bits is what models use.
  const double kMostLossDb[] = {0.001, 0.001, 0.005, 0.02, 0.13, 0.26, 3.3};
  for (int bits = kMinBits; bits <= kMaxBits; ++bits) {
    const Levels& levels = codebook(CodebookKind::kGrid, bits);
    const auto grid = snap_to_grid(levels);
    ASSERT_TRUE(grid.has_value()) << grid.error().message;
    EXPECT_EQ(grid->snap_db, 0) << bits;
    EXPECT_FALSE(grid->wide);
    EXPECT_TRUE(grid->symmetric);
    EXPECT_EQ(grid->bits, bits);
    for (size_t k = 0; k < levels.size(); ++k) {
      EXPECT_EQ(grid->level(static_cast<int>(k)), levels[k]) << bits << " bits, level " << k;
      EXPECT_EQ(grid->v[k], -grid->v[levels.size() - 1 - k] - 1);
    }
    const float step = grid->step;
    EXPECT_EQ(round_to_16_bits(step), step);
    EXPECT_LT(db(gaussian_mse(levels) / gaussian_mse(codebook(CodebookKind::kOptimal, bits))),
              kMostLossDb[bits - kMinBits])
        << bits;
  }
}

TEST(Codebook, GridBeatsEveryOneStepChange) {
  const Levels levels = codebook(CodebookKind::kGrid, 5);
  const LevelGrid grid = snap_to_grid(levels).value();
  const double mse = gaussian_mse(levels);
  for (size_t k = 16; k < 32; ++k) {
    for (const float change : {-grid.step, grid.step}) {
      Levels other = levels;
      other[k] += change;
      other[31 - k] -= change;
      if (other[k] <= other[k - 1] || (k < 31 && other[k] >= other[k + 1])) continue;
      EXPECT_GE(gaussian_mse(other), mse) << k;
    }
  }
  for (const float factor : {0.999f, 1.001f}) {
    Levels other = levels;
    for (float& c : other) c *= factor;
    EXPECT_GT(gaussian_mse(other), mse);
  }
}

TEST(Snap, PublishedTablesLoseLittle) {
  struct Case {
    CodebookKind kind;
    int bits;
    bool wide;
  };
  const Case kCases[] = {
      {CodebookKind::kWire, 2, false},    {CodebookKind::kWire, 3, false},
      {CodebookKind::kWire, 4, false},    {CodebookKind::kWire, 5, false},
      {CodebookKind::kWire, 6, false},    {CodebookKind::kWire, 7, false},
      {CodebookKind::kKv, 2, false},      {CodebookKind::kKv, 3, false},
      {CodebookKind::kKv, 4, false},      {CodebookKind::kKv, 5, false},
      {CodebookKind::kOptimal, 4, false}, {CodebookKind::kOptimal, 5, false},
      {CodebookKind::kOptimal, 6, true},  {CodebookKind::kOptimal, 7, true},
      {CodebookKind::kOptimal, 8, true},  {CodebookKind::kWire, 8, true},
  };
  for (const Case& c : kCases) {
    const Levels& levels = codebook(c.kind, c.bits);
    const LevelGrid grid = snap_to_grid(levels).value();
    SCOPED_TRACE(std::to_string(static_cast<int>(c.kind)) + " " + std::to_string(c.bits));
    EXPECT_EQ(grid.wide, c.wide);
    EXPECT_EQ(grid.symmetric, !c.wide);
    EXPECT_EQ(round_to_16_bits(grid.step), grid.step);
    EXPECT_LT(grid.snap_db, c.wide ? 0.001 : 0.045);
    EXPECT_GE(grid.snap_db, 0);
    const int bound = c.wide ? 32767 : 127;
    for (size_t k = 0; k < levels.size(); ++k) {
      EXPECT_LE(grid.v[k], bound);
      EXPECT_GE(grid.v[k], -bound - 1);
      EXPECT_EQ(grid.v[k], -grid.v[levels.size() - 1 - k] - 1);
      if (k > 0) {
        EXPECT_LT(grid.v[k - 1], grid.v[k]);
      }
    }
  }
}

TEST(Snap, LevelsDividedBySqrt128ComeBack) {
  // Files may hold level / sqrt(128) in FP32.
  const Levels& levels = codebook(CodebookKind::kGrid, 5);
  Levels scaled = levels;
  const float root = std::sqrt(128.0f);
  for (float& c : scaled) c = c / root * root;
  const LevelGrid exact = snap_to_grid(levels).value(), snapped = snap_to_grid(scaled).value();
  EXPECT_EQ(snapped.step, exact.step);
  EXPECT_EQ(snapped.v, exact.v);
  EXPECT_EQ(snapped.snap_db, 0);
}

TEST(Snap, AsymmetricTablesAreExactToo) {
  // (v + 1/2) * 3/64 with v = -128, -3, 0, 127: on the grid, not symmetric.
  const Levels levels = {-127.5f * 0.046875f, -2.5f * 0.046875f, 0.5f * 0.046875f,
                         127.5f * 0.046875f};
  const LevelGrid grid = snap_to_grid(levels).value();
  EXPECT_EQ(grid.step, 0.046875f);
  EXPECT_EQ(grid.v[0], -128);
  EXPECT_EQ(grid.v[1], -3);
  EXPECT_EQ(grid.v[2], 0);
  EXPECT_EQ(grid.v[3], 127);
  EXPECT_FALSE(grid.symmetric);
  EXPECT_FALSE(grid.wide);
}

TEST(Snap, ZeroLevelIsSnappedNotRefused) {
  const Levels levels = {-1.5f, -0.5f, 0.0f, 1.0f};
  const LevelGrid grid = snap_to_grid(levels).value();
  for (int k = 0; k < 4; ++k) EXPECT_NEAR(grid.level(k), levels[static_cast<size_t>(k)], 0.01);
  EXPECT_GT(grid.snap_db, 0);
}

TEST(Snap, RefusesWhatIsNoCodebook) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<Levels> bad = {
      {},
      {-1, 1},
      {-1, 0, 1},
      Levels(512, 0.0f),
      {-1, 0, 0, 1},
      {-1, 1, 0, 2},
      {-1, nan, 0, 2},
      {-1, 0, 1, infinity},
      {-1e-9f, -1e-10f, 1e-10f, 1e-9f},
      {-1e9f, -1, 1, 1e9f},
  };
  for (const Levels& levels : bad) {
    const auto grid = snap_to_grid(levels);
    ASSERT_FALSE(grid.has_value());
    EXPECT_EQ(grid.error().code, ErrorCode::kBadValue);
    EXPECT_NE(grid.error().message.find("codebook"), std::string::npos) << grid.error().message;
  }
}

}  // namespace
}  // namespace hlwq
