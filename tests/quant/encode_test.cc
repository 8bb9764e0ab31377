#include "quant/encode.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>

#include "base/check.h"
#include "base/float16.h"
#include "quant/block_dispatch.h"
#include "quant/hadamard.h"
#include "tests/quant/goldens.h"
#include "tests/quant/random_weights.h"

namespace hlwq {
namespace {

constexpr NormRule kRules[] = {NormRule::kPlain, NormRule::kLeastSquares, NormRule::kSearch};

struct Encoded {
  std::vector<uint8_t> codes;
  std::vector<uint16_t> norms;
  Distortion distortion;
};

Encoded encode_on(const BlockKernels& kernels, const std::vector<float>& weights, int64_t cols,
                  const Levels& levels, NormRule rule) {
  const size_t blocks =
      weights.size() / static_cast<size_t>(cols) * static_cast<size_t>(blocks_of(cols));
  Encoded e{std::vector<uint8_t>(blocks * kBlock, 0xcd), std::vector<uint16_t>(blocks, 0xcdcd), {}};
  const auto distortion = encode_rows_on(kernels, weights, cols, levels, rule, e.codes, e.norms);
  EXPECT_TRUE(distortion.has_value()) << distortion.error().message;
  if (distortion) e.distortion = *distortion;
  return e;
}

Encoded encode(const std::vector<float>& weights, int64_t cols, const Levels& levels,
               NormRule rule) {
  return encode_on(*usable_block_kernels().back(), weights, cols, levels, rule);
}

std::vector<float> decode(const Encoded& e, int64_t cols, const Levels& levels) {
  const size_t rows = e.norms.size() / static_cast<size_t>(blocks_of(cols));
  std::vector<float> out(rows * static_cast<size_t>(cols), std::numeric_limits<float>::quiet_NaN());
  decode_rows(e.codes, e.norms, cols, levels, out);
  return out;
}

std::vector<float> golden_weights(const std::string& name) {
  std::vector<float> weights;
  for (const uint16_t bits : Goldens::get().tensor<uint16_t>("case/" + name + "/weight"))
    weights.push_back(bf16_to_f32(bits));
  return weights;
}

std::set<size_t> golden_indices(const std::string& name) {
  if (!Goldens::get().has(name)) return {};
  const auto indices = Goldens::get().tensor<int32_t>(name);
  return {indices.begin(), indices.end()};
}

double squared_error(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i)
    sum += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
  return sum;
}

void expect_golden_codes(const std::vector<uint8_t>& codes, const std::string& prefix) {
  const auto golden = Goldens::get().tensor<uint8_t>(prefix + "/codes");
  const std::set<size_t> ambiguous = golden_indices(prefix + "/codes_ambiguous");
  ASSERT_EQ(codes.size(), golden.size());
  for (size_t i = 0; i < codes.size(); ++i) {
    const int most = ambiguous.contains(i) ? 1 : 0;
    EXPECT_LE(std::abs(int{codes[i]} - int{golden[i]}), most) << prefix << " code " << i;
  }
}

TEST(Encode, AgreesWithTheGoldens) {
  for (const auto& [name, info] : Goldens::get().manifest().at("cases").items()) {
    const int64_t cols = info.at("in_features");
    const std::vector<float> weights = golden_weights(name);
    const auto norms = Goldens::get().tensor<uint16_t>("case/" + name + "/norms");
    const std::set<size_t> ambiguous = golden_indices("case/" + name + "/norms_ambiguous");
    for (const int bits : info.at("bits").get<std::vector<int>>()) {
      const std::string prefix = "case/" + name + "/b" + std::to_string(bits);
      for (const BlockKernels* kernels : usable_block_kernels()) {
        SCOPED_TRACE(prefix + " " + kernels->name);
        const Encoded e = encode_on(*kernels, weights, cols, codebook(CodebookKind::kWire, bits),
                                    NormRule::kPlain);
        expect_golden_codes(e.codes, prefix);
        for (size_t i = 0; i < norms.size(); ++i)
          if (!ambiguous.contains(i)) {
            EXPECT_EQ(e.norms[i], norms[i]) << i;
          }
        // The same weights and nearly the same codes: the figure of the manifest.
        const auto& stats = info.at("stats").at("b" + std::to_string(bits));
        const Distortion& d = e.distortion;
        EXPECT_NEAR((d.ww - 2 * d.wd + d.dd) / d.ww, stats.at("rel_mse"),
                    1e-3 * stats.at("rel_mse").get<double>());
      }
    }
  }
}

TEST(Encode, AgreesWithTheGoldensOfTheOptimalTable) {
  const Encoded e =
      encode(golden_weights("gauss"), 512, codebook(CodebookKind::kOptimal, 5), NormRule::kPlain);
  expect_golden_codes(e.codes, "case/gauss/opt_b5");
}

TEST(Decode, AgreesWithTheGoldens) {
  int compared = 0;
  for (const auto& [name, info] : Goldens::get().manifest().at("cases").items()) {
    const int64_t cols = info.at("in_features"), blocks = blocks_of(cols);
    const auto norms = Goldens::get().tensor<uint16_t>("case/" + name + "/norms");
    for (const int bits : info.at("bits").get<std::vector<int>>()) {
      const std::string prefix = "case/" + name + "/b" + std::to_string(bits);
      const auto codes = Goldens::get().tensor<uint8_t>(prefix + "/codes");
      const auto golden = Goldens::get().tensor<float>(prefix + "/deq");
      for (const BlockKernels* kernels : usable_block_kernels()) {
        std::vector<float> out(golden.size(), std::numeric_limits<float>::quiet_NaN());
        decode_rows_on(*kernels, codes, norms, cols, codebook(CodebookKind::kWire, bits), out);
        for (size_t i = 0; i < out.size(); ++i) {
          const auto row = static_cast<int64_t>(i) / cols, col = static_cast<int64_t>(i) % cols;
          const float norm = f16_to_f32(norms[static_cast<size_t>(row * blocks + col / kBlock)]);
          // The manifest's tol_deq_times_norm: FP32 arithmetic in any order.
          ASSERT_LE(std::abs(out[i] - golden[i]), 4e-6f * norm) << prefix << " weight " << i;
        }
        ++compared;
      }
    }
  }
  EXPECT_GE(compared, 27);
}

// One block in the order that block_kernel-inl.h states, plainly.
struct PlainBlock {
  std::array<float, kBlock> z;
  float norm;
};

float lane_sum(const std::array<float, kBlock>& a, const std::array<float, kBlock>& b) {
  std::array<float, 16> lane{};
  for (size_t r = 0; r < 8; ++r)
    for (size_t l = 0; l < 16; ++l) lane[l] = std::fma(a[16 * r + l], b[16 * r + l], lane[l]);
  for (size_t half = 8; half > 0; half /= 2)
    for (size_t l = 0; l < half; ++l) lane[l] += lane[l + half];
  return lane[0];
}

PlainBlock plain_block(const float* weights) {
  PlainBlock block;
  std::copy_n(weights, kBlock, block.z.begin());
  block.norm = std::max(std::sqrt(lane_sum(block.z, block.z)), 1e-10f);
  butterfly128(block.z.data());
  const float inverse = 1.0f / block.norm;
  for (float& z : block.z) z *= inverse;
  return block;
}

// Nearest level in exact arithmetic, lowest index on a tie.
size_t nearest(float z, const Levels& levels) {
  size_t best = 0;
  for (size_t k = 1; k < levels.size(); ++k) {
    // |z - c[k]| < |z - c[best]| for ascending levels means z above their midpoint; twice the
    // midpoint is exact in long double.
    if (2 * static_cast<long double>(z) >
        static_cast<long double>(levels[best]) + static_cast<long double>(levels[k]))
      best = k;
  }
  return best;
}

TEST(Encode, CodesAndNormsFollowTheWrittenOrderInEveryBit) {
  const std::vector<float> weights = normal_values(kBlock * 40, 0.03, 17);
  const float factors[] = {1.2f, 0.9f};
  Levels uneven = codebook(CodebookKind::kWire, 4);
  for (float& c : uneven) c = c * 0.8f + 0.31f;  // no symmetry
  for (const Levels& levels : {codebook(CodebookKind::kGrid, 5), codebook(CodebookKind::kWire, 2),
                               codebook(CodebookKind::kOptimal, 8), uneven}) {
    for (const BlockKernels* kernels : usable_block_kernels()) {
      std::vector<uint8_t> codes(weights.size());
      std::vector<uint16_t> norms(weights.size() / kBlock);
      ASSERT_TRUE(encode_rows_trials(*kernels, weights, kBlock * 4, levels, {factors, 2, 1}, false,
                                     codes, norms));
      for (size_t b = 0; b < norms.size(); ++b) {
        const PlainBlock block = plain_block(weights.data() + b * kBlock);
        float most = 0, norm = 0;
        std::array<size_t, kBlock> best{};
        const auto consider = [&](float scale) {
          std::array<float, kBlock> c;
          std::array<size_t, kBlock> code;
          for (size_t i = 0; i < kBlock; ++i) {
            code[i] = nearest(block.z[i] * scale, levels);
            c[i] = levels[code[i]];
          }
          const float zc = lane_sum(block.z, c), cc = lane_sum(c, c);
          const float explained = zc * zc / cc;
          if (explained > most) {
            most = explained;
            best = code;
            norm = zc / cc;
          }
        };
        float peak = 0, top = 0;
        for (const float z : block.z) peak = std::max(peak, std::abs(z));
        for (const float level : levels) top = std::max(top, std::abs(level));
        consider(1.0f);
        for (const float factor : factors) consider(factor * (top / peak));
        // The refinement's scale is cc / zc rounded once, not the inverse of zc / cc.
        std::array<float, kBlock> c;
        for (size_t i = 0; i < kBlock; ++i) c[i] = levels[best[i]];
        consider(lane_sum(c, c) / lane_sum(block.z, c));
        ASSERT_EQ(norms[b], f32_to_f16(block.norm * norm)) << kernels->name << " block " << b;
        for (size_t i = 0; i < kBlock; ++i)
          ASSERT_EQ(codes[b * kBlock + i], best[i]) << kernels->name << " block " << b;
      }
    }
  }
}

TEST(Encode, InstructionSetsAgreeInEveryBit) {
  if (usable_block_kernels().size() < 2)
    GTEST_SKIP() << "this processor has only the scalar version";
  // Levels an ulp apart leave no room for cells: the search by halving.
  Levels close = codebook(CodebookKind::kWire, 5);
  for (size_t k = 0; k < 8; ++k) close[8 + k] = std::nextafter(k == 0 ? -1.0f : close[7 + k], 0.0f);
  for (size_t k = 0; k < 8; ++k) close[k] = -3.0f + 0.2f * static_cast<float>(k);
  std::vector<Levels> tables = {close};
  for (int bits = kMinBits; bits <= kMaxBits; ++bits) {
    tables.push_back(codebook(CodebookKind::kOptimal, bits));
    tables.push_back(codebook(CodebookKind::kWire, bits));
  }
  for (const int64_t cols : {1, 127, 128, 129, 200, 9000}) {
    std::vector<float> weights = normal_values(static_cast<size_t>(3 * cols), 0.02, 23);
    weights[weights.size() / 2] *= 300;
    for (const Levels& levels : tables) {
      for (const NormRule rule : kRules) {
        const Encoded scalar = encode_on(*scalar_block_kernels(), weights, cols, levels, rule);
        for (const BlockKernels* kernels : usable_block_kernels()) {
          const Encoded e = encode_on(*kernels, weights, cols, levels, rule);
          ASSERT_EQ(e.codes, scalar.codes) << kernels->name << " " << cols;
          ASSERT_EQ(e.norms, scalar.norms) << kernels->name << " " << cols;
          ASSERT_EQ(e.distortion.wd, scalar.distortion.wd);
          ASSERT_EQ(e.distortion.dd, scalar.distortion.dd);
          std::vector<float> a(weights.size()), b(weights.size());
          decode_rows_on(*kernels, e.codes, e.norms, cols, levels, a);
          decode_rows_on(*scalar_block_kernels(), e.codes, e.norms, cols, levels, b);
          ASSERT_EQ(a, b);
        }
      }
      if (cols > 1000) break;  // long rows cross a batch of blocks; one table is enough
    }
  }
}

TEST(Encode, ZeroBlocksHaveNormZeroAndTheLowerMiddleCode) {
  for (const float zero : {0.0f, -0.0f, 1e-13f, 1e-30f}) {
    const std::vector<float> weights(200, zero);
    for (const NormRule rule : kRules) {
      for (int bits = kMinBits; bits <= kMaxBits; ++bits) {
        const Levels& levels = codebook(CodebookKind::kGrid, bits);
        const Encoded e = encode(weights, 200, levels, rule);
        EXPECT_EQ(e.norms, std::vector<uint16_t>(2, 0));
        if (zero == 0) {
          EXPECT_EQ(e.codes,
                    std::vector<uint8_t>(256, static_cast<uint8_t>(levels.size() / 2 - 1)));
        }
        for (const float w : decode(e, 200, levels)) EXPECT_EQ(w, 0);
      }
    }
  }
}

TEST(Encode, ConstantBlockTiesGoDown) {
  // One coordinate is sqrt(128), the others exactly 0.
  const Encoded e = encode(std::vector<float>(128, 0.03125f), 128, codebook(CodebookKind::kWire, 5),
                           NormRule::kPlain);
  EXPECT_EQ(e.codes[0], 31);
  for (size_t i = 1; i < 128; ++i) EXPECT_EQ(e.codes[i], 15) << i;
  EXPECT_EQ(f16_to_f32(e.norms[0]), f16_to_f32(f32_to_f16(0.03125f * std::sqrt(128.0f))));
}

TEST(Encode, DecodedLevelsEncodeToThemselves) {
  const Levels& levels = codebook(CodebookKind::kGrid, 5);
  Encoded source{random_codes(kBlock * 6, 5, 31), std::vector<uint16_t>(6), {}};
  for (size_t b = 0; b < 6; ++b) source.norms[b] = f32_to_f16(0.25f + 0.5f * static_cast<float>(b));
  const std::vector<float> weights = decode(source, kBlock * 3, levels);
  // Each block holds an outermost level, so its codes come back where the peak is that level.
  const float peak_at_top[] = {1.0f};
  std::vector<uint8_t> codes(source.codes.size());
  std::vector<uint16_t> norms(source.norms.size());
  const auto distortion = encode_rows_trials(*usable_block_kernels().back(), weights, kBlock * 3,
                                             levels, {peak_at_top, 1, 0}, false, codes, norms);
  ASSERT_TRUE(distortion.has_value());
  EXPECT_EQ(codes, source.codes);
  EXPECT_EQ(norms, source.norms);
  EXPECT_GT(distortion->snr_db(), 60);  // FP32 rounding only
}

TEST(Encode, LeastSquaresNormIsTheBestForItsCodes) {
  const Levels& levels = codebook(CodebookKind::kGrid, 5);
  const std::vector<float> weights = normal_values(kBlock * 64, 0.02, 41);
  for (const NormRule rule : {NormRule::kLeastSquares, NormRule::kSearch}) {
    const Encoded e = encode(weights, kBlock, levels, rule);
    const std::vector<float> decoded = decode(e, kBlock, levels);
    for (size_t b = 0; b < e.norms.size(); ++b) {
      double wd = 0, dd = 0;
      for (size_t i = b * kBlock; i < (b + 1) * kBlock; ++i) {
        wd += static_cast<double>(weights[i]) * decoded[i];
        dd += static_cast<double>(decoded[i]) * decoded[i];
      }
      // FP16 rounds the optimum by at most 2^-11; FP32 sums add about 1e-6.
      EXPECT_NEAR(wd / dd, 1, 0x1p-11 + 2e-6) << b;
    }
  }
}

TEST(Encode, EachRuleImprovesOnTheLast) {
  const std::vector<float> normal = normal_values(kBlock * 2000, 0.02, 43);
  std::vector<float> heavy = normal;
  for (size_t i = 0; i < heavy.size(); ++i)  // a mixture of spreads
    heavy[i] *= random_bits(44, i) % 10 == 0 ? 5.0f : 1.0f;
  for (const auto& weights : {normal, heavy}) {
    for (const int bits : {3, 4, 5, 6}) {
      double last = 0;
      for (const NormRule rule : kRules) {
        const double snr = encode(weights, kBlock * 20, codebook(CodebookKind::kGrid, bits), rule)
                               .distortion.snr_db();
        if (rule == NormRule::kLeastSquares) {
          EXPECT_GT(snr, last + 0.01) << bits;
        }
        // Measured 0.9 to 1.4 dB at 5 bits; the worst width here gains 0.3.
        if (rule == NormRule::kSearch) {
          EXPECT_GT(snr, last + (bits == 5 ? 0.8 : 0.2)) << bits;
        }
        last = snr;
      }
    }
  }
}

TEST(Encode, DistortionIsThatOfTheDecodedWeights) {
  for (const int64_t cols : {72, 128, 200, 1856}) {
    const std::vector<float> weights = normal_values(static_cast<size_t>(11 * cols), 0.02, 47);
    for (const NormRule rule : kRules) {
      const Levels& levels = codebook(CodebookKind::kGrid, 5);
      const Encoded e = encode(weights, cols, levels, rule);
      const std::vector<float> decoded = decode(e, cols, levels);
      double ww = 0, wd = 0, dd = 0;
      for (size_t i = 0; i < weights.size(); ++i) {
        ww += static_cast<double>(weights[i]) * weights[i];
        wd += static_cast<double>(weights[i]) * decoded[i];
        dd += static_cast<double>(decoded[i]) * decoded[i];
      }
      EXPECT_EQ(e.distortion.count, static_cast<int64_t>(weights.size()));
      // FP32 sums of 128 products, then double: 1e-7 relative each.
      EXPECT_NEAR(e.distortion.ww / ww, 1, 1e-6);
      EXPECT_NEAR(e.distortion.wd / wd, 1, 1e-6);
      EXPECT_NEAR(e.distortion.dd / dd, 1, 1e-6);
      EXPECT_NEAR(e.distortion.snr_db(), 10 * std::log10(ww / squared_error(weights, decoded)),
                  0.01);
      EXPECT_NEAR(e.distortion.cosine(), wd / std::sqrt(ww * dd), 1e-6);
    }
  }
}

TEST(Distortion, EdgeFigures) {
  EXPECT_EQ(Distortion{}.cosine(), 1);
  EXPECT_EQ(Distortion{}.snr_db(), std::numeric_limits<double>::infinity());
  const Distortion lost{.ww = 4, .dd = 0, .wd = 0, .count = 1};
  EXPECT_EQ(lost.cosine(), 0);
  EXPECT_EQ(lost.snr_db(), 0);
  Distortion sum{.ww = 4, .dd = 4, .wd = 4, .count = 1};
  EXPECT_EQ(sum.cosine(), 1);
  EXPECT_EQ(sum.snr_db(), std::numeric_limits<double>::infinity());
  sum.add(lost);
  EXPECT_EQ(sum.ww, 8);
  EXPECT_EQ(sum.count, 2);
  EXPECT_NEAR(sum.snr_db(), 10 * std::log10(2), 1e-12);
}

TEST(Encode, RefusesWeightsThatAreNotNumbers) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float bad : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN()}) {
    for (const size_t at : {size_t{0}, size_t{130}, size_t{199}, size_t{473}}) {
      for (const NormRule rule : kRules) {
        for (const BlockKernels* kernels : usable_block_kernels()) {
          std::vector<float> weights = normal_values(3 * 200, 0.02, 53);
          weights[at] = bad;
          std::vector<uint8_t> codes(3 * 256);
          std::vector<uint16_t> norms(6);
          const auto result = encode_rows_on(*kernels, weights, 200,
                                             codebook(CodebookKind::kGrid, 5), rule, codes, norms);
          ASSERT_FALSE(result.has_value());
          EXPECT_EQ(result.error().code, ErrorCode::kBadValue);
          const std::string where =
              "row " + std::to_string(at / 200) + ", column " + std::to_string(at % 200) + ":";
          EXPECT_NE(result.error().message.find(where), std::string::npos)
              << result.error().message;
        }
      }
    }
  }
}

TEST(Encode, RefusesNormsThatFp16CannotHold) {
  for (const float large : {65520.0f, 1e6f, 1e30f, std::numeric_limits<float>::max()}) {
    std::vector<float> weights = normal_values(2 * 256, 0.02, 59);
    weights[256 + 200] = large;
    std::vector<uint8_t> codes(512);
    std::vector<uint16_t> norms(4);
    const auto result =
        encode_rows(weights, 256, codebook(CodebookKind::kGrid, 5), NormRule::kPlain, codes, norms);
    ASSERT_FALSE(result.has_value()) << large;
    EXPECT_EQ(result.error().code, ErrorCode::kBadValue);
    EXPECT_NE(result.error().message.find("row 1, column 128: the block's norm"), std::string::npos)
        << result.error().message;
  }
  std::vector<float> weights(128);
  weights[7] = 65504.0f;
  const Encoded e = encode(weights, 128, codebook(CodebookKind::kGrid, 5), NormRule::kPlain);
  EXPECT_EQ(f16_to_f32(e.norms[0]), 65504.0f);
}

TEST(Encode, BrokenPromisesThrow) {
  const std::vector<float> weights(256);
  std::vector<uint8_t> codes(256);
  std::vector<uint16_t> norms(2);
  const Levels& levels = codebook(CodebookKind::kGrid, 5);
  const auto call = [&](int64_t cols, const Levels& table, std::span<uint8_t> c) {
    (void)encode_rows(weights, cols, table, NormRule::kPlain, c, norms);
  };
  EXPECT_THROW(call(100, levels, codes), BrokenPromise);
  EXPECT_THROW(call(256, levels, std::span(codes).first(128)), BrokenPromise);
  EXPECT_THROW(call(256, Levels{1.0f, 0.0f}, codes), BrokenPromise);
  EXPECT_THROW(call(256, Levels(300, 0.0f), codes), BrokenPromise);
}

}  // namespace
}  // namespace hlwq
