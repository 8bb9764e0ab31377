// Variants the golden vectors lack (F8, F9), every width of the streams, spellings, shards, rows.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/float16.h"
#include "format/checkpoint.h"
#include "tests/format/fixture.h"

namespace hlwq {
namespace {

using test::stored;
using test::StoredTensor;

constexpr uint64_t kSeed = 20261122;

struct Matrix {
  int64_t rows, cols, blocks;
  int bits;
  Levels levels;
  std::vector<uint8_t> codes;
  std::vector<uint16_t> norms;
  [[nodiscard]] int64_t padded() const { return blocks * 128; }
};

Matrix random_matrix(int64_t rows, int64_t cols, int bits, const Levels& levels, uint64_t seed) {
  const int64_t blocks = (cols + 127) / 128;
  const auto count = static_cast<size_t>(rows * blocks);
  return {rows,
          cols,
          blocks,
          bits,
          levels,
          test::random_codes(count * 128, levels, seed),
          test::random_norms(count, seed)};
}

Matrix wire_matrix(int64_t rows, int64_t cols, int bits, uint64_t seed = kSeed) {
  return random_matrix(rows, cols, bits, codebook(CodebookKind::kWire, bits), seed);
}

// "<key>__packed", "__norms", "__meta" of 4 or 5 elements.
std::vector<StoredTensor> stream_tensors(const std::string& key, const Matrix& m, bool with_cols) {
  const auto packed = test::pack_bits(m.codes, m.bits, true);
  std::vector<int64_t> meta = {m.rows, m.blocks, 128, m.rows * m.padded()};
  if (with_cols) meta.push_back(m.cols);
  return {stored(key + "__packed", DType::kU8, {static_cast<int64_t>(packed.size())}, packed),
          stored(key + "__norms", DType::kF16, {m.rows, m.blocks}, m.norms),
          stored(key + "__meta", DType::kI64, {static_cast<int64_t>(meta.size())}, meta)};
}

std::vector<StoredTensor> byte_tensors(const std::string& key, const std::string& mark,
                                       const Matrix& m) {
  return {stored(key + mark + "codes", DType::kI8, {m.rows, m.padded()}, m.codes),
          stored(key + mark + "norms", DType::kF16, {m.rows, m.blocks}, m.norms)};
}

std::vector<StoredTensor> joined(std::vector<StoredTensor> a, const std::vector<StoredTensor>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

void expect_matrix(const Checkpoint& checkpoint, const std::string& name, const Matrix& want) {
  const CheckpointTensor* tensor = checkpoint.find(name);
  ASSERT_NE(tensor, nullptr) << name;
  ASSERT_TRUE(tensor->coded.has_value()) << name;
  EXPECT_EQ(tensor->shape, (std::vector<int64_t>{want.rows, want.cols})) << name;
  EXPECT_EQ(tensor->coded->bits, want.bits);
  EXPECT_EQ(checkpoint.levels(*tensor), want.levels);
  std::vector<uint8_t> codes(want.codes.size(), 0xEE);
  std::vector<uint16_t> norms(want.norms.size(), 0xFFFF);
  const Status status = checkpoint.read_codes(*tensor, 0, want.rows, codes, norms);
  ASSERT_TRUE(status.has_value()) << status.error().message;
  EXPECT_EQ(codes, want.codes) << name;
  EXPECT_EQ(norms, want.norms) << name;

  // Every row range on its own, decoded by the definition.
  const std::vector<double> values = test::decode_blocks(want.codes, want.norms, want.levels);
  for (int64_t first = 0; first < want.rows; ++first) {
    for (const int64_t rows : {int64_t{0}, int64_t{1}, want.rows - first}) {
      std::vector<float> got(static_cast<size_t>(rows * want.cols),
                             std::numeric_limits<float>::quiet_NaN());
      ASSERT_TRUE(checkpoint.read_f32(*tensor, first, rows, got).has_value());
      for (int64_t i = 0; i < rows * want.cols; ++i) {
        const int64_t at = (first + i / want.cols) * want.padded() + i % want.cols;
        const float norm = f16_to_f32(want.norms[static_cast<size_t>(at / 128)]);
        ASSERT_NEAR(got[static_cast<size_t>(i)], values[static_cast<size_t>(at)], 4e-6 * norm)
            << name << " row " << first << " + " << i / want.cols;
      }
    }
  }
}

Checkpoint open_or_fail(const std::string& path, const std::vector<ExpectedTensor>& expected = {}) {
  auto checkpoint = Checkpoint::open(path, expected);
  if (!checkpoint) throw std::runtime_error(checkpoint.error().message);
  return std::move(*checkpoint);
}

class StreamWidths : public testing::TestWithParam<int> {};

TEST_P(StreamWidths, DottedAndDunderNames) {
  const Matrix m = wire_matrix(3, 200, GetParam());
  const test::TemporaryFolder folder;
  test::write_tensors(folder.file("f7/model.safetensors"),
                      stream_tensors("model.layers.0.q_proj.weight", m, true));
  const Checkpoint f7 = open_or_fail(folder.path() + "/f7");
  EXPECT_EQ(f7.variant(), Variant::kF7);
  expect_matrix(f7, "model.layers.0.q_proj.weight", m);

  const std::string width = "PQ" + std::to_string(GetParam());
  test::write_tensors(folder.file(width + "/codes.safetensors"),
                      stream_tensors("model__layers__0__q_proj__weight", m, false));
  const std::vector<uint16_t> ones(4, 0x3F80);
  test::write_tensors(folder.file(width + "/bf16.safetensors"),
                      {stored("model.norm.weight", DType::kBF16, {4}, ones)});
  // The tail comes from the model; without one the row is taken whole.
  const Checkpoint f6 =
      open_or_fail(folder.path() + "/" + width, {{"model.layers.0.q_proj.weight", {3, 200}}});
  EXPECT_EQ(f6.variant(), Variant::kF6);
  expect_matrix(f6, "model.layers.0.q_proj.weight", m);
  EXPECT_NE(f6.find("model.norm.weight"), nullptr);
  const Checkpoint blind = open_or_fail(folder.path() + "/" + width + "/");
  EXPECT_EQ(blind.find("model.layers.0.q_proj.weight")->shape, (std::vector<int64_t>{3, 256}));
}

INSTANTIATE_TEST_SUITE_P(Bits, StreamWidths, testing::Values(2, 3, 4, 5, 6, 8));

TEST(Variants, BytesOfEveryWidthWithTheFilesOwnTable) {
  for (int bits = kMinBits; bits <= kMaxBits; ++bits) {
    const Matrix m = random_matrix(2, 130, bits, codebook(CodebookKind::kOptimal, bits), kSeed);
    const test::TemporaryFolder folder;
    test::write_tensors(
        folder.file("model.safetensors"),
        joined(byte_tensors("a.up_proj", ".", m),
               {stored("a.up_proj.ct", DType::kF32, {int64_t{1} << bits}, m.levels)}));
    test::write_text(folder.file("polar_config.json"),
                     R"({"format":"polarengine_v5","layers":{"a.up_proj":{"in_features":130}}})");
    const Checkpoint checkpoint = open_or_fail(folder.path());
    EXPECT_EQ(checkpoint.variant(), Variant::kF3);
    expect_matrix(checkpoint, "a.up_proj.weight", m);
  }
}

// F8 written from the format's description: slices of a fused tensor on the names of F5, F6, F7.
TEST(Variants, SlicedFusedExperts) {
  const std::string fused = "backbone.layers.1.mixer.experts.up_proj";
  const std::string dunder = "backbone__layers__1__mixer__experts__up_proj";
  const Matrix first = wire_matrix(3, 200, 5, 1), second = wire_matrix(3, 200, 5, 2);
  const std::vector<ExpectedTensor> expected = {
      {"backbone.layers.1.mixer.experts.0.up_proj.weight", {3, 200}},
      {"backbone.layers.1.mixer.experts.11.up_proj.weight", {3, 200}}};
  const auto both = [&](auto&& make, const std::string& key) {
    return joined(make(key + "_e0", first), make(key + "_e11", second));
  };
  const auto f5 = [](const std::string& key, const Matrix& m) {
    return byte_tensors(key, "__", m);
  };
  const auto f6 = [](const std::string& key, const Matrix& m) {
    return stream_tensors(key, m, false);
  };
  const auto f7 = [](const std::string& key, const Matrix& m) {
    return stream_tensors(key, m, true);
  };
  const std::vector<std::vector<StoredTensor>> files = {
      both(f5, dunder), both(f6, dunder), both(f7, fused), both(f7, fused + ".weight"),
      both(f6, dunder + "__weight")};
  for (size_t i = 0; i < files.size(); ++i) {
    const test::TemporaryFolder folder;
    test::write_tensors(folder.file("model.safetensors"), files[i]);
    const Checkpoint checkpoint = open_or_fail(folder.path(), expected);
    EXPECT_EQ(checkpoint.variant(), Variant::kF8) << i;
    expect_matrix(checkpoint, expected[0].name, first);
    expect_matrix(checkpoint, expected[1].name, second);
    // Names are found without a model too.
    const Checkpoint blind = open_or_fail(folder.path());
    EXPECT_NE(blind.find(expected[1].name), nullptr) << i;
  }
}

// F9 written from the format's description: blocks over the flattened tensor, codes cut at its end.
struct Flat {
  std::vector<uint8_t> codes;  // cut
  std::vector<uint16_t> norms;
  std::vector<double> values;
};

Flat random_flat(size_t count, std::span<const float> levels, uint64_t seed) {
  const size_t blocks = (count + 127) / 128;
  Flat flat;
  flat.codes = test::random_codes(blocks * 128, levels, seed);
  std::fill(flat.codes.begin() + static_cast<ptrdiff_t>(count), flat.codes.end(), uint8_t{0});
  flat.norms = test::random_norms(blocks, seed);
  flat.values = test::decode_blocks(flat.codes, flat.norms, levels);
  flat.codes.resize(count);
  return flat;
}

std::vector<StoredTensor> flat_tensors(const std::string& key, const Flat& flat) {
  return {
      stored(key + ".codes", DType::kI8, {static_cast<int64_t>(flat.codes.size())}, flat.codes),
      stored(key + ".norms", DType::kF16, {static_cast<int64_t>(flat.norms.size())}, flat.norms),
      stored(key + ".qjl_signs", DType::kU8, {static_cast<int64_t>(flat.norms.size())},
             std::vector<uint8_t>(flat.norms.size(), 1))};
}

TEST(Variants, FlatCodesThatCrossRows) {
  const std::vector<float> eoq3 = {-2.1520f, -1.3440f, -0.7560f, -0.2451f,
                                   0.2451f,  0.7560f,  1.3440f,  2.1520f};
  const Flat flat = random_flat(7 * 90, eoq3, kSeed);
  std::vector<uint16_t> scales;
  for (uint16_t i = 0; i < 90; ++i) scales.push_back(static_cast<uint16_t>(0x3C00 + 8 * i));
  const test::TemporaryFolder folder;
  test::write_tensors(folder.file("plain/model.safetensors"), flat_tensors("a.weight", flat));
  test::write_tensors(
      folder.file("awq/model.safetensors"),
      joined(flat_tensors("a", flat), {stored("a.awq_scales", DType::kF16, {90}, scales)}));
  for (const bool awq : {false, true}) {
    const std::string path = folder.path() + (awq ? "/awq" : "/plain");
    test::write_text(path + "/polar_config.json", R"({"bits": 3})");
    const Checkpoint checkpoint = open_or_fail(path, {{"a.weight", {7, 90}}});
    EXPECT_EQ(checkpoint.variant(), Variant::kF9);
    const CheckpointTensor* tensor = checkpoint.find("a.weight");
    ASSERT_NE(tensor, nullptr);
    EXPECT_EQ(tensor->shape, (std::vector<int64_t>{7, 90}));
    EXPECT_TRUE(tensor->coded->flat);
    EXPECT_EQ(checkpoint.levels(*tensor), eoq3);
    EXPECT_EQ(checkpoint.find("a.weight.qjl_signs"), nullptr);
    for (int64_t first = 0; first < 7; ++first) {
      for (int64_t rows = 0; rows <= 7 - first; ++rows) {
        std::vector<float> got(static_cast<size_t>(rows * 90),
                               std::numeric_limits<float>::quiet_NaN());
        ASSERT_TRUE(checkpoint.read_f32(*tensor, first, rows, got).has_value());
        for (size_t i = 0; i < got.size(); ++i) {
          const size_t at = static_cast<size_t>(first) * 90 + i;
          const double scale = awq ? static_cast<double>(f16_to_f32(scales[i % 90])) : 1.0;
          ASSERT_NEAR(got[i], flat.values[at] / scale, 4e-6 * f16_to_f32(flat.norms[at / 128]))
              << first << " " << i;
        }
      }
    }
    std::vector<uint8_t> codes(128);
    std::vector<uint16_t> norms(1);
    const Status status = checkpoint.read_codes(*tensor, 0, 1, codes, norms);
    ASSERT_FALSE(status.has_value());
    EXPECT_EQ(status.error().code, ErrorCode::kUnsupported);
  }
  // Without a model a vector of scales still tells the columns; else there is one long vector.
  EXPECT_EQ(open_or_fail(folder.path() + "/awq").find("a.weight")->shape,
            (std::vector<int64_t>{7, 90}));
  EXPECT_EQ(open_or_fail(folder.path() + "/plain").find("a.weight")->shape,
            (std::vector<int64_t>{630}));
}

TEST(Variants, FlatCodesOfWholeBlocksAreAnOrdinaryMatrix) {
  const Matrix m = wire_matrix(3, 256, 5);
  const Flat flat{m.codes, m.norms, {}};
  const test::TemporaryFolder folder;
  test::write_tensors(folder.file("model.safetensors"), flat_tensors("a", flat));
  const Checkpoint checkpoint = open_or_fail(folder.path(), {{"a.weight", {3, 256}}});
  EXPECT_EQ(checkpoint.variant(), Variant::kF9);
  EXPECT_FALSE(checkpoint.find("a.weight")->coded->flat);
  expect_matrix(checkpoint, "a.weight", m);
}

TEST(Variants, PartsOfALayerInDifferentShards) {
  const Matrix m = wire_matrix(4, 130, 5);
  const auto parts = stream_tensors("a.weight", m, true);
  const test::TemporaryFolder folder;
  for (size_t i = 0; i < parts.size(); ++i)
    test::write_tensors(folder.file("part" + std::to_string(2 - i) + ".safetensors"), {parts[i]});
  expect_matrix(open_or_fail(folder.path()), "a.weight", m);
}

TEST(Variants, NormsMayBeOneDimensional) {
  const Matrix m = wire_matrix(4, 130, 5);
  auto tensors = byte_tensors("a", ".", m);
  tensors[1].shape = {8};
  const test::TemporaryFolder folder;
  test::write_tensors(folder.file("model.safetensors"), tensors);
  expect_matrix(open_or_fail(folder.path(), {{"a.weight", {4, 130}}}), "a.weight", m);
}

TEST(Variants, DoubledWeightIsOne) {
  const Matrix m = wire_matrix(4, 256, 5);
  const test::TemporaryFolder folder;
  const std::vector<float> ones(3, 1.0f);
  test::write_tensors(folder.file("model.safetensors"),
                      joined(stream_tensors("a.weight.weight", m, true),
                             {stored("b.weight.weight", DType::kF32, {3}, ones)}));
  const Checkpoint checkpoint = open_or_fail(folder.path());
  expect_matrix(checkpoint, "a.weight", m);
  ASSERT_NE(checkpoint.find("b.weight"), nullptr);
}

TEST(Variants, ScaledTableIsUnscaled) {
  const Matrix m = wire_matrix(2, 128, 4);
  std::vector<float> scaled;
  for (const float level : m.levels) scaled.push_back(level / std::sqrt(128.0f));
  scaled[3] = std::nextafter(scaled[3], 0.0f);  // as another device divides
  const test::TemporaryFolder folder;
  test::write_tensors(
      folder.file("model.safetensors"),
      joined(byte_tensors("a", ".", m), {stored("a.ct_scaled", DType::kF32, {16}, scaled)}));
  const Checkpoint checkpoint = open_or_fail(folder.path());
  EXPECT_EQ(checkpoint.variant(), Variant::kF1);
  expect_matrix(checkpoint, "a.weight", m);
}

TEST(Variants, PlainTensorsOfEveryFloat) {
  const std::vector<float> want = {1.0f, -2.5f, 0.0f, 1024.0f, 0.125f, -3.0f};
  std::vector<uint16_t> bf16, f16;
  for (const float value : want) {
    bf16.push_back(f32_to_bf16(value));
    f16.push_back(f32_to_f16(value));
  }
  const test::TemporaryFolder folder;
  const std::string path = folder.file("some.safetensors");
  test::write_tensors(
      path, {stored("a", DType::kF32, {3, 2}, want), stored("b", DType::kBF16, {3, 1, 2}, bf16),
             stored("c", DType::kF16, {3, 2}, f16),
             stored("d", DType::kI64, {1}, std::vector<int64_t>{7}),
             stored("s", DType::kF32, {}, std::vector<float>{4.5f})});
  const Checkpoint checkpoint = open_or_fail(path);  // a file named directly
  EXPECT_EQ(checkpoint.variant(), Variant::kPlain);
  for (const char* name : {"a", "b", "c"}) {
    std::vector<float> got(4, std::numeric_limits<float>::quiet_NaN());
    ASSERT_TRUE(checkpoint.read_f32(*checkpoint.find(name), 1, 2, got).has_value());
    EXPECT_EQ(got, std::vector<float>(want.begin() + 2, want.end())) << name;
  }
  std::vector<float> one(1);
  ASSERT_TRUE(checkpoint.read_f32(*checkpoint.find("s"), 0, 1, one).has_value());
  EXPECT_EQ(one[0], 4.5f);
  const Status status = checkpoint.read_f32(*checkpoint.find("d"), 0, 1, one);
  EXPECT_EQ(status.error().code, ErrorCode::kUnsupported);
  std::vector<std::byte> raw(4);
  ASSERT_TRUE(checkpoint.read_plain(*checkpoint.find("b"), 2, 1, raw).has_value());
  EXPECT_EQ(std::to_integer<int>(raw[1]), bf16[4] >> 8);
  for (const auto& [first, rows] : {std::pair<int64_t, int64_t>{-1, 1}, {0, 4}, {3, 1}, {1, -1}}) {
    const Status range = checkpoint.read_plain(*checkpoint.find("b"), first, rows, raw);
    ASSERT_FALSE(range.has_value());
    EXPECT_EQ(range.error().code, ErrorCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace hlwq
