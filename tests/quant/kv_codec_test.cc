// Codes of keys and values, and the published codec of the goldens.

#include "quant/kv_codec.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <set>

#include "base/float16.h"
#include "quant/hadamard.h"
#include "quant/packing.h"
#include "tests/quant/goldens.h"

namespace hlwq {
namespace {

constexpr int kWidths[] = {2, 3, 4, 8};

std::vector<float> normals(size_t n, uint64_t seed, float spread = 1.0f) {
  std::mt19937_64 bits(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> values(n);
  for (float& v : values) v = normal(bits);
  return values;
}

// v as codes give it back.
std::vector<float> decoded(int bits, const std::vector<uint8_t>& codes, uint16_t scale) {
  std::vector<float> v;
  for (const uint8_t code : codes) v.push_back(f16_to_f32(scale) * kv_level_of(bits, code));
  butterfly(v.data(), static_cast<int>(v.size()));
  for (float& x : v) x /= std::sqrt(static_cast<float>(v.size()));
  return v;
}

double relative_error(const std::vector<float>& v, const std::vector<float>& d) {
  double error = 0, signal = 0;
  for (size_t i = 0; i < v.size(); ++i) {
    error += (double{v[i]} - d[i]) * (double{v[i]} - d[i]);
    signal += double{v[i]} * v[i];
  }
  return error / signal;
}

TEST(KvCodec, LevelsAreThoseOfTheGridCodebooks) {
  for (const int bits : kWidths) {
    const Levels& table = codebook(CodebookKind::kGrid, bits);
    const auto grid = snap_to_grid(table);
    ASSERT_TRUE(grid);
    for (int code = 0; code < 1 << bits; ++code)
      EXPECT_EQ(kv_level_of(bits, code),
                (static_cast<float>(grid->v[static_cast<size_t>(code)]) + 0.5f) / 64)
          << bits << " bits, code " << code;
    with_kv_bits(
        bits, [&](auto width) { EXPECT_NEAR(kv_normal_scale<width>() * grid->step, 1.0f, 1e-6f); });
  }
}

TEST(KvCodec, CodesAreNearest) {
  for (const int bits : kWidths) {
    with_kv_bits(bits, [&](auto width) {
      for (float x = -140.0f; x <= 140.0f; x += 0.37f) {
        int nearest = 0;
        const auto distance = [&](int code) { return std::fabs(kv_half_level<width>(code) - x); };
        for (int code = 1; code < 1 << bits; ++code)
          if (distance(code) < distance(nearest)) nearest = code;
        EXPECT_EQ(distance(kv_code<width>(x)), distance(nearest)) << bits << " bits, " << x;
      }
      // Every level is its own code.
      for (int code = 0; code < 1 << bits; ++code)
        EXPECT_EQ(kv_code<width>(kv_half_level<width>(code)), code);
    });
  }
}

// 2, 3, 4 and 8 bits: the errors that kv_codes.h states, for 200 vectors to within 5 %.
TEST(KvCodec, ErrorOfNormalVectors) {
  const std::array<double, 4> stated = {0.1146, 0.0318, 0.0078, 4.3e-5};
  for (size_t w = 0; w < stated.size(); ++w) {
    for (const size_t n : {64, 128, 256}) {
      double error = 0;
      for (uint64_t i = 0; i < 200; ++i) {
        const std::vector<float> v = normals(n, 7 * i + n, 3.0f);
        std::vector<uint8_t> codes(n);
        const uint16_t scale = encode_kv(kWidths[w], v, codes);
        error += relative_error(v, decoded(kWidths[w], codes, scale)) / 200;
      }
      // Shorter vectors have lower peaks for their length, longer ones higher.
      EXPECT_LT(error, stated[w] * (n == 256 ? 1.2 : 1.05)) << kWidths[w] << " bits of " << n;
      EXPECT_GT(error, stated[w] * 0.75) << kWidths[w] << " bits of " << n;
    }
  }
}

TEST(KvCodec, ScalesFollowTheVector) {
  for (const int bits : kWidths) {
    const std::vector<float> v = normals(128, 3);
    std::vector<uint8_t> codes(128), other(128);
    const float scale = f16_to_f32(encode_kv(bits, v, codes));
    for (const float factor : {0x1p-10f, 0x1p10f}) {
      std::vector<float> scaled = v;
      for (float& x : scaled) x *= factor;
      EXPECT_EQ(f16_to_f32(encode_kv(bits, scaled, other)), scale * factor) << bits;
      EXPECT_EQ(other, codes) << bits;
    }
  }
}

TEST(KvCodec, SpecialVectors) {
  for (const int bits : kWidths) {
    std::vector<uint8_t> codes(64, 0xff);
    EXPECT_EQ(encode_kv(bits, std::vector<float>(64, 0.0f), codes), 0) << "zero";
    for (const uint8_t code : codes) EXPECT_LT(code, 1 << bits);
    EXPECT_EQ(encode_kv(bits, std::vector<float>(64, 1e-30f), codes), 0) << "tiny";

    std::vector<float> v = normals(64, 4);
    v[17] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_TRUE(std::isnan(f16_to_f32(encode_kv(bits, v, codes))));
    // Infinity counts as what FP16 holds.
    v[17] = std::numeric_limits<float>::infinity();
    const uint16_t scale = encode_kv(bits, v, codes);
    EXPECT_NEAR(decoded(bits, codes, scale)[17], 65504.0f, 65504.0f * 0.4f) << bits;
    // FP16 holds a scale's product with every level.
    EXPECT_LE(f16_to_f32(encode_kv(bits, std::vector<float>(64, 1e30f), codes)), 32752.0f);
    // A flat vector is one hot element once rotated, a hot one flat: both are levels, but for the
    // other elements of the flat one, which have the smallest level.
    std::vector<float> hot(64, 0.0f);
    hot[5] = 8.0f;
    EXPECT_LT(relative_error(hot, decoded(bits, codes, encode_kv(bits, hot, codes))), 1e-6);
  }
}

template <int kBits>
void expect_round_trip() {
  std::mt19937 random(11);
  std::array<int, kKvUnit> codes;
  for (int& code : codes) code = static_cast<int>(random() % (1u << kBits));
  uint32_t words[kBits] = {};
  for (int i = 0; i < kKvUnit; ++i) kv_place<kBits>(words, i, codes[static_cast<size_t>(i)]);
  for (int i = 0; i < kKvUnit; ++i)
    EXPECT_EQ(kv_code_at<kBits>(i, [&](int word) { return words[word]; }),
              codes[static_cast<size_t>(i)])
        << kBits << " bits, element " << i;
}
TEST(KvCodec, WordsGiveCodesBack) {
  expect_round_trip<2>();
  expect_round_trip<3>();
  expect_round_trip<4>();
  expect_round_trip<8>();
}

// The bits that the kernels rely on: element 12 is place 4 of group 1.
TEST(KvCodec, WordsAreAsDrawn) {
  uint32_t two[2] = {}, three[3] = {}, four[4] = {}, eight[8] = {};
  kv_place<2>(two, 12, 3);
  EXPECT_EQ(two[0], 3u << 18);
  kv_place<3>(three, 12, 6);
  EXPECT_EQ(three[0], 2u << 18);
  EXPECT_EQ(three[2], 1u << 17);
  kv_place<4>(four, 12, 2);  // magnitude 5, below zero
  EXPECT_EQ(four[1], (5u << 16) | (1u << 3));
  kv_place<4>(four, 1, 0);  // magnitude 7, below zero
  EXPECT_EQ(four[0], (7u << 4) | (1u << 15));
  kv_place<8>(eight, 12, 200);
  EXPECT_EQ(eight[3], 200u);
}

// The published codec: its table, the plain length in BF16, its packings.
TEST(KvCodec, AgreesWithThePublishedCodec) {
  const Goldens& goldens = Goldens::get();
  for (const int64_t dim : {64, 128, 256}) {
    const std::string of_dim = "kv/d" + std::to_string(dim);
    const auto in = goldens.tensor<uint16_t>(of_dim + "/in");
    const size_t n = static_cast<size_t>(dim), rows = in.size() / n;
    for (const int bits : {2, 3, 4}) {
      const std::string of_bits = of_dim + "/q" + std::to_string(bits);
      const auto levels = goldens.tensor<float>("tables/kv_b" + std::to_string(bits));
      const auto norms = goldens.tensor<uint16_t>(of_bits + "/norms");
      const auto packed = goldens.tensor<uint8_t>(of_bits + "/packed");
      const auto want = goldens.tensor<float>(of_bits + "/deq");
      const auto ambiguous = goldens.tensor<int32_t>(of_bits + "/codes_ambiguous");
      const std::set<int32_t> may_differ(ambiguous.begin(), ambiguous.end());
      std::vector<uint8_t> golden_codes(in.size());
      unpack_codes(Packing::kMsb, bits, std::as_bytes(std::span(packed)), golden_codes);
      for (size_t r = 0; r < rows; ++r) {
        std::vector<float> v(n), back(n);
        for (size_t i = 0; i < n; ++i) v[i] = bf16_to_f32(in[r * n + i]);
        std::vector<uint8_t> codes(n);
        const uint16_t norm = f32_to_bf16(encode_kv_with(levels, NormRule::kPlain, v, codes));
        EXPECT_EQ(norm, norms[r]) << of_bits << " row " << r;
        for (size_t i = 0; i < n; ++i) {
          if (may_differ.contains(static_cast<int32_t>(r * n + i))) continue;
          EXPECT_EQ(codes[i], golden_codes[r * n + i]) << of_bits << " row " << r << ", " << i;
        }
        decode_kv_with(levels, bf16_to_f32(norm), std::span(golden_codes).subspan(r * n, n), back);
        const double tolerance =
            goldens.manifest().at("tol_deq_times_norm").get<double>() * bf16_to_f32(norm);
        for (size_t i = 0; i < n; ++i) {
          // The golden is rounded to BF16 once more.
          EXPECT_NEAR(back[i], want[r * n + i], tolerance + std::fabs(want[r * n + i]) / 256)
              << of_bits << " row " << r << " element " << i;
        }
      }
    }
  }
}

// A cache of several heads, appended to in many steps: what left the window is decoded, in the
// order of tokens within each head, and the newest tokens are exact.
TEST(KvCodec, AgreesWithThePublishedAppends) {
  const Goldens& goldens = Goldens::get();
  const auto& info = goldens.manifest().at("kv").at("append");
  const auto levels = goldens.tensor<float>("tables/kv_b" + info.at("nbits").dump());
  const auto keys = goldens.tensor<uint16_t>("kv/append/keys");
  const auto view = goldens.tensor<float>("kv/append/view");
  const size_t heads = info.at("heads"), dim = info.at("head_dim");
  const size_t tokens = keys.size() / heads / dim, exact = info.at("residual_length");
  const double tolerance = goldens.manifest().at("tol_deq_times_norm").get<double>();
  for (size_t row = 0; row < heads * tokens; ++row) {
    std::vector<float> v(dim), got(dim);
    for (size_t i = 0; i < dim; ++i) got[i] = v[i] = bf16_to_f32(keys[row * dim + i]);
    float norm = 0;
    if (row % tokens < tokens - exact) {
      std::vector<uint8_t> codes(dim);
      norm = bf16_to_f32(f32_to_bf16(encode_kv_with(levels, NormRule::kPlain, v, codes)));
      decode_kv_with(levels, norm, codes, got);
    }
    for (size_t i = 0; i < dim; ++i)
      EXPECT_NEAR(got[i], view[row * dim + i],
                  norm == 0 ? 0 : tolerance * norm + std::fabs(got[i]) / 256)
          << "head " << row / tokens << ", token " << row % tokens << ", " << i;
  }
}

}  // namespace
}  // namespace hlwq
