#include "convert/dequantize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "convert/compare.h"
#include "io/shards.h"
#include "tests/convert/fixtures.h"

namespace hlwq {
namespace {

struct NameShape {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;
  bool operator==(const NameShape&) const = default;
};

std::vector<NameShape> layout_of(const std::string& folder) {
  std::vector<NameShape> out;
  const auto shards = ShardSet::open(folder);
  EXPECT_TRUE(shards) << shards.error().message;
  if (!shards) return out;
  for (const ShardTensor& t : shards->tensors())
    out.push_back({t.entry->name, t.entry->dtype, t.entry->shape});
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return out;
}

// Names, shapes, dtypes and config are those of the model's own checkpoint, so that transformers
// loads it with no missing and no unexpected key.
TEST(Dequantize, HasTheOriginalsNamesShapesDtypesAndConfig) {
  const ScratchFolder scratch;
  ASSERT_TRUE(quantize_checkpoint(tiny_model(), scratch / "codes", quick_options()));
  for (const Profile profile : {Profile::kV5Packed, Profile::kHlwqQ5}) {
    QuantizeOptions quantize = quick_options();
    quantize.profile = profile;
    quantize.force = true;
    if (profile == Profile::kHlwqQ5) quantize.codebook = CodebookKind::kWire;
    ASSERT_TRUE(quantize_checkpoint(tiny_model(), scratch / "codes", quantize));
    DequantizeOptions options;
    options.force = true;
    options.shard_bytes = 9'000'000;
    const auto report = dequantize_checkpoint(scratch / "codes", scratch / "plain", options);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_TRUE(report->from_base.empty());
    EXPECT_EQ(layout_of(scratch / "plain"), layout_of(tiny_model()));
    const auto ours = folder_content(scratch / "plain"), theirs = folder_content(tiny_model());
    EXPECT_EQ(ours.at("config.json"), theirs.at("config.json"));
    EXPECT_EQ(ours.at("generation_config.json"), theirs.at("generation_config.json"));
    EXPECT_EQ(ours.at("tokenizer.json"), theirs.at("tokenizer.json"));
    // Only the rounding to BF16 stands between the codes and the plain copy: 2^-9 relative.
    const auto compared = compare_checkpoints(scratch / "codes", scratch / "plain", 2, {});
    ASSERT_TRUE(compared) << compared.error().message;
    EXPECT_GT(compared->cosine_min, 1.0 - 4e-6);
    EXPECT_GT(compared->snr_db, 50.0);
  }
}

TEST(Dequantize, Float32IsTheDecodedValue) {
  const ScratchFolder scratch;
  ASSERT_TRUE(quantize_checkpoint(tiny_model(), scratch / "codes", quick_options()));
  DequantizeOptions options;
  options.dtype = DType::kF32;
  ASSERT_TRUE(dequantize_checkpoint(scratch / "codes", scratch / "plain", options));
  const auto compared = compare_checkpoints(scratch / "codes", scratch / "plain", 2, {});
  ASSERT_TRUE(compared) << compared.error().message;
  EXPECT_TRUE(std::isinf(compared->snr_db)) << compared->snr_db;
}

TEST(Dequantize, NamesWhatIsMissingAndTakesItFromTheBase) {
  const ScratchFolder scratch;
  ASSERT_TRUE(quantize_checkpoint(tiny_model(), scratch / "codes", quick_options()));
  copy_checkpoint_without(scratch / "codes", scratch / "published", "e_score_correction_bias");
  const auto refused = dequantize_checkpoint(scratch / "published", scratch / "plain", {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kMissing);
  EXPECT_NE(refused.error().message.find("backbone.layers.1.mixer.gate.e_score_correction_bias"),
            std::string::npos)
      << refused.error().message;
  EXPECT_NE(refused.error().message.find("--base"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(scratch / "plain"));

  DequantizeOptions options;
  options.base = tiny_model();
  const auto report = dequantize_checkpoint(scratch / "published", scratch / "plain", options);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->from_base.size(), 4u);
  EXPECT_EQ(layout_of(scratch / "plain"), layout_of(tiny_model()));
}

}  // namespace
}  // namespace hlwq
