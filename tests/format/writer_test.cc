#include "format/writer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "format/checkpoint.h"
#include "io/file.h"
#include "io/safetensors.h"
#include "quant/block.h"
#include "tests/format/fixture.h"

namespace hlwq {
namespace {

namespace fs = std::filesystem;

// A small model: matrices with and without a tail, plain tensors of several widths.
std::vector<OutputTensor> small_model(int bits) {
  return {{.name = "backbone.embeddings.weight", .shape = {9, 128}, .coded = true, .bits = bits},
          {.name = "backbone.layers.0.norm.weight", .shape = {129}},
          {.name = "backbone.layers.0.mixer.up_proj.weight",
           .shape = {5, 200},
           .coded = true,
           .bits = bits},
          {.name = "backbone.layers.0.mixer.gate.bias", .shape = {7}, .dtype = DType::kF32},
          {.name = "backbone.layers.0.flags", .shape = {3}, .dtype = DType::kU8},
          {.name = "lm_head.weight", .shape = {3, 384}, .coded = true, .bits = bits}};
}

WriterOptions options_for(Profile profile, int bits, CodebookKind kind) {
  WriterOptions options;
  options.profile = profile;
  options.base_model = "example/base";
  options.notes = {"seed 1"};
  options.levels_by_bits.resize(kMaxBits + 1);
  options.levels_by_bits[static_cast<size_t>(bits)] = codebook(kind, bits);
  return options;
}

struct Payload {
  std::vector<uint8_t> codes;
  std::vector<uint16_t> norms;
  std::vector<std::byte> plain;
};

Payload payload_of(const OutputTensor& tensor, const WriterOptions& options, uint64_t seed) {
  Payload payload;
  if (tensor.coded) {
    const auto blocks = static_cast<size_t>(tensor.shape[0] * blocks_of(tensor.shape[1]));
    payload.codes = test::random_codes(
        blocks * 128, options.levels_by_bits[static_cast<size_t>(tensor.bits)], seed);
    payload.norms = test::random_norms(blocks, seed);
    return payload;
  }
  const size_t bytes = static_cast<size_t>(tensor.shape[0] * bytes_of(tensor.dtype));
  for (size_t i = 0; i < bytes; ++i) payload.plain.push_back(static_cast<std::byte>(seed + 3 * i));
  return payload;
}

// Writes shards [0, stop_after) and, when that is all of them, the side files. Rows go in two
// parts, the later one first.
void write_model(const std::string& folder, const std::vector<OutputTensor>& tensors,
                 const WriterOptions& options, size_t stop_after = SIZE_MAX) {
  auto writer = HlwqWriter::create(folder, tensors, options);
  ASSERT_TRUE(writer.has_value()) << writer.error().message;
  for (size_t shard = 0; shard < writer->shard_count(); ++shard) {
    if (writer->shard_done(shard)) continue;
    if (shard >= stop_after) return;
    ASSERT_TRUE(writer->begin_shard(shard).has_value());
    const auto [first, last] = writer->shard_tensors(shard);
    for (size_t i = first; i < last; ++i) {
      const Payload payload = payload_of(tensors[i], options, i);
      if (!tensors[i].coded) {
        ASSERT_TRUE(writer->write_plain(i, 0, payload.plain).has_value());
        continue;
      }
      const auto blocks = static_cast<size_t>(blocks_of(tensors[i].shape[1]));
      const std::span codes(payload.codes);
      const std::span norms(payload.norms);
      ASSERT_TRUE(
          writer->write_rows(i, 1, codes.subspan(blocks * 128), norms.subspan(blocks)).has_value());
      ASSERT_TRUE(writer->write_rows(i, 0, codes.first(blocks * 128), norms.first(blocks)));
    }
    const Status status = writer->end_shard();
    ASSERT_TRUE(status.has_value()) << status.error().message;
  }
  const Status status = writer->finish();
  ASSERT_TRUE(status.has_value()) << status.error().message;
}

void expect_reads_back(const std::string& folder, const std::vector<OutputTensor>& tensors,
                       const WriterOptions& options) {
  const auto checkpoint = Checkpoint::open(folder);
  ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message;
  EXPECT_EQ(checkpoint->tensors().size(), tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    const CheckpointTensor* tensor = checkpoint->find(tensors[i].name);
    ASSERT_NE(tensor, nullptr) << tensors[i].name;
    EXPECT_EQ(tensor->shape, tensors[i].shape);
    ASSERT_EQ(tensor->coded.has_value(), tensors[i].coded);
    const Payload want = payload_of(tensors[i], options, i);
    if (!tensors[i].coded) {
      EXPECT_EQ(tensor->dtype, tensors[i].dtype);
      std::vector<std::byte> plain(want.plain.size());
      ASSERT_TRUE(checkpoint->read_plain(*tensor, 0, tensor->shape[0], plain).has_value());
      EXPECT_EQ(plain, want.plain);
      continue;
    }
    EXPECT_EQ(tensor->coded->bits, tensors[i].bits);
    EXPECT_EQ(checkpoint->levels(*tensor),
              options.levels_by_bits[static_cast<size_t>(tensors[i].bits)]);
    std::vector<uint8_t> codes(want.codes.size(), 0xEE);
    std::vector<uint16_t> norms(want.norms.size(), 0xFFFF);
    const Status status = checkpoint->read_codes(*tensor, 0, tensor->shape[0], codes, norms);
    ASSERT_TRUE(status.has_value()) << status.error().message;
    EXPECT_EQ(codes, want.codes) << tensors[i].name;
    EXPECT_EQ(norms, want.norms) << tensors[i].name;
  }
}

std::map<std::string, std::vector<std::byte>> files_in(const std::string& folder) {
  std::map<std::string, std::vector<std::byte>> files;
  for (const auto& entry : fs::directory_iterator(folder))
    files[entry.path().filename().string()] = test::read_bytes(entry.path().string());
  return files;
}

struct ProfileCase {
  Profile profile;
  int bits;
  CodebookKind kind;
  Variant variant;
};

class WriterProfiles : public testing::TestWithParam<ProfileCase> {};

TEST_P(WriterProfiles, ReadBackTheSame) {
  const auto [profile, bits, kind, variant] = GetParam();
  const test::TemporaryFolder folder;
  const auto tensors = small_model(bits);
  WriterOptions options = options_for(profile, bits, kind);
  for (const uint64_t shard_bytes : {5'000'000'000ull, 2'000ull}) {
    options.shard_bytes = shard_bytes;
    const std::string path = folder.file(std::to_string(shard_bytes));
    write_model(path, tensors, options);
    if (HasFatalFailure()) return;
    expect_reads_back(path, tensors, options);
    EXPECT_EQ(fs::exists(path + "/model.safetensors"), shard_bytes > 1'000'000);
    EXPECT_EQ(fs::exists(path + "/model.safetensors.index.json"), shard_bytes < 1'000'000);
    const auto checkpoint = Checkpoint::open(path);
    EXPECT_EQ(checkpoint->variant(), variant) << name_of(checkpoint->variant());
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, WriterProfiles,
    testing::Values(ProfileCase{Profile::kV5Int8, 5, CodebookKind::kWire, Variant::kF3},
                    ProfileCase{Profile::kV5Int8, 8, CodebookKind::kOptimal, Variant::kF3},
                    ProfileCase{Profile::kV5Packed, 5, CodebookKind::kGrid, Variant::kF4},
                    ProfileCase{Profile::kV5Packed, 5, CodebookKind::kOptimal, Variant::kF4},
                    ProfileCase{Profile::kV5Packed, 3, CodebookKind::kGrid, Variant::kF3},
                    ProfileCase{Profile::kPacked, 6, CodebookKind::kGrid, Variant::kF4},
                    ProfileCase{Profile::kPacked, 4, CodebookKind::kGrid, Variant::kF4},
                    ProfileCase{Profile::kPacked, 5, CodebookKind::kGrid, Variant::kF4},
                    ProfileCase{Profile::kPacked, 7, CodebookKind::kOptimal, Variant::kF4},
                    ProfileCase{Profile::kHlwqQ5, 5, CodebookKind::kWire, Variant::kF7}),
    [](const auto& test) {
      return std::to_string(static_cast<int>(test.param.profile)) + "_" +
             std::to_string(test.param.bits) + "_" +
             std::to_string(static_cast<int>(test.param.kind));
    });

TEST(Writer, StoresTheBytesOfTheFormat) {
  const std::vector<OutputTensor> tensors = small_model(5);
  for (const Profile profile : {Profile::kV5Int8, Profile::kV5Packed, Profile::kHlwqQ5}) {
    const test::TemporaryFolder folder;
    const WriterOptions options = options_for(profile, 5, CodebookKind::kWire);
    write_model(folder.path(), tensors, options);
    const auto file = SafetensorsFile::open(folder.path() + "/model.safetensors");
    ASSERT_TRUE(file.has_value());
    for (const TensorEntry& entry : file->tensors())
      EXPECT_EQ(entry.begin % static_cast<uint64_t>(bytes_of(entry.dtype)), 0u) << entry.name;

    const bool keeps_weight = profile == Profile::kHlwqQ5;
    const TensorEntry* codes =
        file->find(keeps_weight ? "backbone.layers.0.mixer.up_proj.weight__packed"
                                : "backbone.layers.0.mixer.up_proj.codes");
    ASSERT_NE(codes, nullptr);
    const Payload payload = payload_of(tensors[2], options, 2);
    std::vector<uint8_t> want = payload.codes;
    std::vector<int64_t> shape = {5, 256};
    if (profile == Profile::kV5Packed) {
      want = test::pack_bits(payload.codes, 5, false);
      shape = {5, 160};
    }
    if (profile == Profile::kHlwqQ5) {
      want = test::pack_bits(payload.codes, 5, true);
      shape = {800};
    }
    std::vector<uint8_t> got(codes->bytes());
    ASSERT_TRUE(file->read(*codes, 0, std::as_writable_bytes(std::span(got))).has_value());
    EXPECT_EQ(got, want);
    EXPECT_EQ(codes->shape, shape);
    EXPECT_EQ(codes->dtype, profile == Profile::kV5Int8 ? DType::kI8 : DType::kU8);
    // Codes and norms side by side.
    const TensorEntry* norms =
        file->find(keeps_weight ? "backbone.layers.0.mixer.up_proj.weight__norms"
                                : "backbone.layers.0.mixer.up_proj.norms");
    ASSERT_NE(norms, nullptr);
    EXPECT_EQ(norms->begin, codes->end);
    EXPECT_EQ(norms->shape, (std::vector<int64_t>{5, 2}));
    if (!keeps_weight) continue;
    const TensorEntry* meta = file->find("backbone.layers.0.mixer.up_proj.weight__meta");
    ASSERT_NE(meta, nullptr);
    std::vector<int64_t> values(5);
    ASSERT_TRUE(file->read(*meta, 0, std::as_writable_bytes(std::span(values))).has_value());
    EXPECT_EQ(values, (std::vector<int64_t>{5, 2, 128, 1280, 200}));
  }
}

TEST(Writer, DescribesLayersAndGridInPolarConfig) {
  const test::TemporaryFolder folder;
  const WriterOptions options = options_for(Profile::kV5Packed, 5, CodebookKind::kGrid);
  write_model(folder.path(), small_model(5), options);
  const auto text = read_text_file(folder.path() + "/polar_config.json", 1 << 20);
  ASSERT_TRUE(text.has_value());
  const auto json = nlohmann::json::parse(*text);
  EXPECT_EQ(json.at("format"), "polar_engine_v5");
  EXPECT_EQ(json.at("block_size"), 128);
  EXPECT_EQ(json.at("bits"), 5);
  EXPECT_EQ(json.at("base_model"), "example/base");
  EXPECT_EQ(json.at("quantization"), "seed 1");
  EXPECT_EQ(json.at("layers").size(), 3u);
  const nlohmann::json want = {
      {"in_features", 200},        {"out_features", 5},       {"bits", 5},     {"block_size", 128},
      {"in_features_padded", 256}, {"in_f_padded", 256},      {"n_blocks", 2}, {"packed", false},
      {"packed_q5", true},         {"scale_dtype", "float16"}};
  EXPECT_EQ(json.at("layers").at("backbone.layers.0.mixer.up_proj"), want);
  const auto& grid = json.at("grid").at("5");
  const auto step = grid.at("step").get<float>();
  const Levels& levels = codebook(CodebookKind::kGrid, 5);
  ASSERT_EQ(grid.at("v").size(), levels.size());
  for (size_t k = 0; k < levels.size(); ++k)
    EXPECT_EQ((grid.at("v")[k].get<float>() + 0.5f) * step, levels[k]);

  // The published table is on no grid, and rows of one code a byte carry no flag.
  const test::TemporaryFolder plain;
  write_model(plain.path(), small_model(5), options_for(Profile::kV5Int8, 5, CodebookKind::kWire));
  const auto other = read_text_file(plain.path() + "/polar_config.json", 1 << 20);
  const auto other_json = nlohmann::json::parse(*other);
  EXPECT_FALSE(other_json.contains("grid"));
  EXPECT_FALSE(other_json.at("layers").at("lm_head").contains("packed_q5"));
}

TEST(Writer, ResumesToTheSameBytes) {
  const auto tensors = small_model(5);
  WriterOptions options = options_for(Profile::kV5Packed, 5, CodebookKind::kGrid);
  options.shard_bytes = 1500;
  const test::TemporaryFolder whole, broken;
  write_model(whole.path(), tensors, options);
  const auto want = files_in(whole.path());
  ASSERT_GE(want.size(), 5u);

  write_model(broken.path(), tensors, options, 2);  // the process ends here
  test::write_text(broken.file(".model-00003-of-00004.safetensors.tmp-1-1"), "half");
  options.resume = true;
  // A shard cut short is written again, and so is one of other bytes in front.
  const std::string second = broken.path() + "/" + std::next(want.begin(), 1)->first;
  fs::resize_file(second, fs::file_size(second) - 1);
  auto writer = HlwqWriter::create(broken.path(), tensors, options);
  ASSERT_TRUE(writer.has_value());
  EXPECT_TRUE(writer->shard_done(0));
  EXPECT_FALSE(writer->shard_done(1));
  EXPECT_FALSE(writer->shard_done(2));
  write_model(broken.path(), tensors, options);
  fs::remove(broken.file(".model-00003-of-00004.safetensors.tmp-1-1"));
  EXPECT_EQ(files_in(broken.path()), want);

  // All shards there, the side files not.
  fs::remove(broken.path() + "/polar_config.json");
  write_model(broken.path(), tensors, options, 0);
  EXPECT_EQ(files_in(broken.path()), want);
}

TEST(Writer, DoesNotResumeShardsCodedOtherwise) {
  const auto tensors = small_model(5);
  const test::TemporaryFolder folder;
  write_model(folder.path(), tensors, options_for(Profile::kV5Packed, 5, CodebookKind::kGrid));
  for (const auto kind : {CodebookKind::kGrid, CodebookKind::kOptimal}) {
    WriterOptions options = options_for(Profile::kV5Packed, 5, kind);
    options.resume = true;
    auto writer = HlwqWriter::create(folder.path(), tensors, options);
    ASSERT_TRUE(writer.has_value());
    EXPECT_EQ(writer->shard_done(0), kind == CodebookKind::kGrid);
    options.notes = {"seed 2"};
    writer = HlwqWriter::create(folder.path(), tensors, options);
    EXPECT_FALSE(writer->shard_done(0));
    options.resume = false;
    writer = HlwqWriter::create(folder.path(), tensors, options);
    EXPECT_FALSE(writer->shard_done(0));
  }
}

TEST(Writer, LeavesNothingButWholeShards) {
  const auto tensors = small_model(5);
  const WriterOptions options = options_for(Profile::kV5Packed, 5, CodebookKind::kGrid);
  const test::TemporaryFolder folder;
  {
    auto writer = HlwqWriter::create(folder.path(), tensors, options);
    ASSERT_TRUE(writer->begin_shard(0).has_value());
    const Status status = writer->end_shard();  // nothing filled in
    ASSERT_FALSE(status.has_value());
    EXPECT_EQ(status.error().code, ErrorCode::kBadLayout);
  }
  EXPECT_TRUE(files_in(folder.path()).empty());
}

struct Refusal {
  const char* what;
  ErrorCode code;
  const char* message;  // part of it
  void (*spoil)(std::vector<OutputTensor>&, WriterOptions&);
};

TEST(Writer, RefusesWhatTheProfileCannotHold) {
  const Refusal refusals[] = {
      {"bits", ErrorCode::kUnsupported, "4 bits",
       [](auto& t, auto& o) {
         o.profile = Profile::kHlwqQ5;
         t[0].bits = 4;
       }},
      {"table", ErrorCode::kUnsupported, "embeddings.weight",
       [](auto&, auto& o) { o.profile = Profile::kHlwqQ5; }},
      {"no table", ErrorCode::kInvalidArgument, "no table of 64 levels",
       [](auto& t, auto&) { t[2].bits = 6; }},
      {"bits 9", ErrorCode::kInvalidArgument, "9 bits", [](auto& t, auto&) { t[2].bits = 9; }},
      {"rank", ErrorCode::kInvalidArgument, "up_proj", [](auto& t, auto&) { t[2].shape = {5}; }},
      {"name", ErrorCode::kInvalidArgument, "up_proj",
       [](auto& t, auto&) { t[2].name = "up_proj"; }},
      {"huge", ErrorCode::kInvalidArgument, "overflows",
       [](auto& t, auto&) {
         t[2].shape = {int64_t{1} << 40, int64_t{1} << 40};
       }},
      {"twice", ErrorCode::kInvalidArgument, "declared twice",
       [](auto& t, auto&) { t[2].name = t[0].name; }},
      {"disguise", ErrorCode::kInvalidArgument, "x.codes",
       [](auto& t, auto&) { t[1].name = "x.codes"; }},
      {"order", ErrorCode::kInvalidArgument, "ascending",
       [](auto&, auto& o) { std::swap(o.levels_by_bits[5][3], o.levels_by_bits[5][4]); }},
      {"empty", ErrorCode::kInvalidArgument, "no tensors", [](auto& t, auto&) { t.clear(); }},
  };
  const test::TemporaryFolder folder;
  for (const Refusal& refusal : refusals) {
    auto tensors = small_model(5);
    WriterOptions options = options_for(Profile::kV5Packed, 5, CodebookKind::kGrid);
    refusal.spoil(tensors, options);
    const auto writer = HlwqWriter::create(folder.path(), tensors, options);
    ASSERT_FALSE(writer.has_value()) << refusal.what;
    EXPECT_EQ(writer.error().code, refusal.code) << writer.error().message;
    EXPECT_NE(writer.error().message.find(refusal.message), std::string::npos)
        << writer.error().message;
  }
  EXPECT_FALSE(parse_profile("v6").has_value());
  EXPECT_EQ(parse_profile("v5-packed"), Profile::kV5Packed);
  EXPECT_EQ(name_of(Profile::kHlwqQ5), "hlwq-q5");
}

TEST(Writer, RefusesValuesThatCannotBe) {
  const auto tensors = small_model(5);
  const WriterOptions options = options_for(Profile::kV5Packed, 5, CodebookKind::kGrid);
  const test::TemporaryFolder folder;
  auto writer = HlwqWriter::create(folder.path(), tensors, options);
  ASSERT_TRUE(writer->begin_shard(0).has_value());
  std::vector<uint8_t> codes(128, 31);
  std::vector<uint16_t> norms(1, 0x3C00);
  ASSERT_TRUE(writer->write_rows(0, 0, codes, norms).has_value());
  codes[77] = 32;
  Status status = writer->write_rows(0, 1, codes, norms);
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code, ErrorCode::kBadValue);
  codes[77] = 0;
  for (const uint16_t bad : {0x7C00, 0x7E00, 0xBC00, 0xFC00}) {
    norms[0] = bad;
    status = writer->write_rows(0, 4, codes, norms);
    ASSERT_FALSE(status.has_value()) << bad;
    EXPECT_EQ(status.error().code, ErrorCode::kBadValue);
    EXPECT_NE(status.error().message.find("row 4"), std::string::npos) << status.error().message;
  }
}

TEST(Writer, RefusesAFolderWithShardsOfAnotherPlan) {
  const test::TemporaryFolder folder;
  test::write_text(folder.file("model-00001-of-00009.safetensors"), "");
  auto writer = HlwqWriter::create(folder.path(), small_model(5),
                                   options_for(Profile::kV5Packed, 5, CodebookKind::kGrid));
  ASSERT_TRUE(writer.has_value());
  const Status status = writer->begin_shard(0);
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(status.error().message.find("model-00001-of-00009"), std::string::npos);
}

}  // namespace
}  // namespace hlwq
