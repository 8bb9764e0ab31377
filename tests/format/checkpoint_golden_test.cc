// The ten miniature checkpoints of the golden vectors, one of each published layout.

#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/float16.h"
#include "format/checkpoint.h"
#include "tests/format/fixture.h"

namespace hlwq {
namespace {

using test::golden_values;

struct GoldenCase {
  const char* name;
  Variant variant;
  Packing packing;  // of the first coded tensor
};

class GoldenCheckpoint : public testing::TestWithParam<GoldenCase> {};

const nlohmann::json& manifest() {
  static const nlohmann::json json =
      nlohmann::json::parse(std::ifstream(HLWQ_TEST_DATA "/hlwq_goldens/manifest.json"));
  return json;
}

TEST_P(GoldenCheckpoint, ReadsCodesNormsAndValues) {
  const nlohmann::json& entry = manifest().at("checkpoints").at(GetParam().name);
  const test::TemporaryFolder folder;
  const std::string file = folder.file(entry.at("file").get<std::string>());
  test::write_tensors(file, test::golden_group("ckpt/" + std::string(GetParam().name) + "/"));
  const std::string path = file.substr(0, file.rfind('/'));
  if (entry.contains("polar_config") && !entry.at("polar_config").is_null())
    test::write_text(path + "/polar_config.json", entry.at("polar_config").dump());

  std::vector<ExpectedTensor> expected;
  for (const auto& [name, info] : entry.at("expect").items()) {
    const auto& shape = manifest().at("cases").at(info.at("case").get<std::string>());
    expected.push_back({name, {shape.at("out_features"), shape.at("in_features")}});
  }
  const auto checkpoint = Checkpoint::open(path, expected);
  ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message;
  EXPECT_EQ(checkpoint->variant(), GetParam().variant) << name_of(checkpoint->variant());

  size_t coded = 0;
  for (const CheckpointTensor& tensor : checkpoint->tensors()) coded += tensor.coded.has_value();
  EXPECT_EQ(coded, expected.size());

  for (const ExpectedTensor& wanted : expected) {
    const CheckpointTensor* tensor = checkpoint->find(wanted.name);
    ASSERT_NE(tensor, nullptr) << wanted.name;
    ASSERT_TRUE(tensor->coded.has_value());
    EXPECT_EQ(tensor->shape, wanted.shape);
    const auto& info = entry.at("expect").at(wanted.name);
    EXPECT_EQ(tensor->coded->bits, info.at("bits").get<int>());
    const std::string name = "case/" + info.at("case").get<std::string>();
    const std::string coding = name + "/b" + std::to_string(tensor->coded->bits);
    const auto want_codes = golden_values<uint8_t>(coding + "/codes");
    const auto want_norms = golden_values<uint16_t>(name + "/norms");
    const auto want_values = golden_values<float>(coding + "/deq");

    std::vector<uint8_t> codes(want_codes.size(), 0xEE);
    std::vector<uint16_t> norms(want_norms.size(), 0xFFFF);
    const int64_t rows = tensor->coded->rows, blocks = tensor->coded->blocks;
    const Status status = checkpoint->read_codes(*tensor, 0, rows, codes, norms);
    ASSERT_TRUE(status.has_value()) << status.error().message;
    EXPECT_EQ(codes, want_codes) << wanted.name;
    EXPECT_EQ(norms, want_norms) << wanted.name;

    std::vector<float> values(want_values.size(), std::numeric_limits<float>::quiet_NaN());
    ASSERT_TRUE(checkpoint->read_f32(*tensor, 0, rows, values).has_value());
    for (size_t i = 0; i < values.size(); ++i) {
      const auto row = static_cast<int64_t>(i) / tensor->coded->cols;
      const auto block = static_cast<int64_t>(i) % tensor->coded->cols / 128;
      const float norm = f16_to_f32(want_norms[static_cast<size_t>(row * blocks + block)]);
      // FP32 rounding of the table, the butterfly and the norm, docs/format.md#encoding.
      ASSERT_NEAR(values[i], want_values[i], 4e-6f * norm) << wanted.name << " element " << i;
    }
  }
  const CheckpointTensor* first = checkpoint->find(expected.back().name);
  EXPECT_EQ(first->coded->packing, GetParam().packing);
}

INSTANTIATE_TEST_SUITE_P(
    Goldens, GoldenCheckpoint,
    testing::Values(GoldenCase{"v4_package", Variant::kF2, Packing::kNibble},
                    GoldenCase{"v5_package", Variant::kF2, Packing::kLsb},
                    GoldenCase{"v4_live_dump", Variant::kF1, Packing::kNibble},
                    GoldenCase{"v5_notebook", Variant::kF3, Packing::kI8},
                    GoldenCase{"v5_ct_packed_lsb_unflagged", Variant::kF4, Packing::kLsb},
                    GoldenCase{"v5_ct_packed_msb_unflagged", Variant::kF4, Packing::kMsb},
                    GoldenCase{"dunder", Variant::kF5, Packing::kI8},
                    GoldenCase{"pq_multi_PQ3", Variant::kF6, Packing::kMsb},
                    GoldenCase{"pq_multi_PQ5", Variant::kF6, Packing::kMsb},
                    GoldenCase{"hlwq_q5", Variant::kF7, Packing::kMsb}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(GoldenManifest, HasNoCheckpointThatIsNotTested) {
  EXPECT_EQ(manifest().at("checkpoints").size(), 10u);
}

}  // namespace
}  // namespace hlwq
