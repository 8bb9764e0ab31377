// Files that contradict themselves: each is refused with the right kind of error, naming the layer.

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <limits>
#include <stdexcept>

#include "format/checkpoint.h"
#include "tests/format/fixture.h"

namespace hlwq {
namespace {

using test::stored;
using test::StoredTensor;

// A layer "a" of 3 rows and 200 columns at 5 bits that reads well until it is spoiled.
struct Files {
  std::vector<StoredTensor> tensors;
  std::string config;
  std::vector<ExpectedTensor> expected;

  StoredTensor& tensor(const std::string& name) {
    for (StoredTensor& t : tensors) {
      if (t.name == name) return t;
    }
    throw std::runtime_error("no tensor " + name);
  }
  void drop(const std::string& name) {
    std::erase_if(tensors, [&](const StoredTensor& t) { return t.name == name; });
  }
};

const Levels& wire5() { return codebook(CodebookKind::kWire, 5); }

// F3: codes one a byte, norms, the table, a config row.
Files dotted() {
  return {{stored("a.codes", DType::kI8, {3, 256}, test::random_codes(768, wire5(), 1)),
           stored("a.norms", DType::kF16, {3, 2}, test::random_norms(6, 1)),
           stored("a.ct", DType::kF32, {32}, wire5())},
          R"({"format":"polar_engine_v5","bits":5,"layers":{"a":{"in_features":200,)"
          R"("out_features":3,"bits":5,"in_f_padded":256,"n_blocks":2}}})",
          {}};
}

// F7: an M5 stream with meta.
Files stream() {
  const auto packed = test::pack_bits(test::random_codes(768, wire5(), 2), 5, true);
  return {{stored("a.weight__packed", DType::kU8, {480}, packed),
           stored("a.weight__norms", DType::kF16, {3, 2}, test::random_norms(6, 2)),
           stored("a.weight__meta", DType::kI64, {5}, std::vector<int64_t>{3, 2, 128, 768, 200})},
          R"({"format":"hlwq-q5","bits":5})",
          {}};
}

Result<Checkpoint> open_files(const Files& files, const test::TemporaryFolder& folder) {
  test::write_tensors(folder.file("model.safetensors"), files.tensors);
  if (!files.config.empty()) test::write_text(folder.file("polar_config.json"), files.config);
  return Checkpoint::open(folder.path(), files.expected);
}

template <typename T>
void set(StoredTensor& tensor, std::vector<T> values, std::vector<int64_t> shape) {
  tensor = stored(tensor.name, tensor.dtype, std::move(shape), values);
}

Files with_config(Files files, std::string config) {
  files.config = std::move(config);
  return files;
}

Files with_meta(std::vector<int64_t> meta) {
  Files files = stream();
  const auto count = static_cast<int64_t>(meta.size());
  set(files.tensor("a.weight__meta"), std::move(meta), {count});
  return files;
}

Files spoiled(Files files, const std::function<void(Files&)>& spoil) {
  spoil(files);
  return files;
}

TEST(CheckpointErrors, TheUnspoiledFilesOpen) {
  for (const Files& files : {dotted(), stream()}) {
    const test::TemporaryFolder folder;
    const auto checkpoint = open_files(files, folder);
    ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message;
    EXPECT_EQ(checkpoint->find("a.weight")->shape, (std::vector<int64_t>{3, 200}));
  }
}

TEST(CheckpointErrors, Contradictions) {
  struct Case {
    Files files;
    ErrorCode code;
    const char* message;
  };
  const int64_t huge = int64_t{1} << 62;
  std::vector<Case> cases;
  const auto add = [&](Files files, ErrorCode code, const char* message) {
    cases.push_back({std::move(files), code, message});
  };
  const auto row = [](const char* keys) {
    return std::string(R"({"layers":{"a":{)") + keys + "}}}";
  };

  // Width.
  add(with_config(dotted(), row(R"("bits":4)")), ErrorCode::kBadLayout, "bits is 5");
  add(with_config(dotted(), R"({"bits":6})"), ErrorCode::kBadLayout, "bits is 5");
  add(with_config(stream(), R"({"bits":4})"), ErrorCode::kBadLayout, "bits is 5");
  add(with_config(stream(), R"({"format":"hlwq-q3"})"), ErrorCode::kBadLayout, "and 3 by");
  add(spoiled(with_config(dotted(), row(R"("bits":9)")), [](Files& f) { f.drop("a.ct"); }),
      ErrorCode::kUnsupported, "9 bits");
  add(spoiled(with_config(dotted(), "{}"),
              [&](Files& f) {
                f.drop("a.ct");
                f.tensor("a.codes").shape = {3, 128};
                f.tensor("a.codes").bytes.resize(384);
              }),
      ErrorCode::kBadLayout, "nibbles");
  add(spoiled(with_config(dotted(), "{}"),
              [&](Files& f) {
                f.tensor("a.codes").shape = {3, 128};
                f.tensor("a.codes").bytes.resize(384);
              }),
      ErrorCode::kBadLayout, "but the codes are nibbles");

  // Shape.
  add(with_config(dotted(), row(R"("out_features":4)")), ErrorCode::kBadLayout, "rows is 3");
  add(with_config(dotted(), row(R"("n_blocks":3)")), ErrorCode::kBadLayout, "blocks a row is 2");
  add(with_config(dotted(), row(R"("in_f_padded":384)")), ErrorCode::kBadLayout, "blocks a row");
  add(with_config(dotted(), row(R"("in_f_padded":250)")), ErrorCode::kBadLayout, "250");
  add(with_config(dotted(), row(R"("in_features":128)")), ErrorCode::kBadLayout, "128 columns");
  add(with_config(dotted(), row(R"("in_features":257)")), ErrorCode::kBadLayout, "257 columns");
  add(spoiled(dotted(),
              [](Files& f) {
                set(f.tensor("a.norms"), test::random_norms(8, 1), {4, 2});
              }),
      ErrorCode::kBadLayout, "rows is 3");
  add(spoiled(with_config(dotted(), "{}"),
              [](Files& f) { set(f.tensor("a.norms"), test::random_norms(7, 1), {7}); }),
      ErrorCode::kBadLayout, "7 norms");
  add(spoiled(with_config(dotted(), "{}"),
              [](Files& f) {
                set(f.tensor("a.norms"), test::random_norms(3, 1), {3, 1});
              }),
      ErrorCode::kBadLayout, "256 bytes of codes a row");
  add(spoiled(dotted(),
              [](Files& f) {
                set(f.tensor("a.norms"), std::vector<uint16_t>(), {0, 2});
              }),
      ErrorCode::kBadLayout, "rows is");
  add(spoiled(dotted(),
              [](Files& f) {
                f.tensor("a.codes").shape = {3, 2, 128};
              }),
      ErrorCode::kBadLayout, "dimensions");
  add(spoiled(stream(),
              [](Files& f) {
                f.drop("a.weight__meta");
                f.tensor("a.weight__norms").shape = {6};
              }),
      ErrorCode::kBadLayout, "config.json is needed");
  add(spoiled(stream(),
              [](Files& f) {
                f.tensor("a.weight__packed").shape = {479};
                f.tensor("a.weight__packed").bytes.resize(479);
              }),
      ErrorCode::kBadLayout, "479 bytes");
  add(spoiled(stream(),
              [](Files& f) {
                f.tensor("a.weight__packed").shape = {672};  // 7 bits: no such stream
                f.tensor("a.weight__packed").bytes.resize(672);
              }),
      ErrorCode::kBadLayout, "fit no packing");

  // Flags.
  add(with_config(dotted(), row(R"("packed":true)")), ErrorCode::kBadLayout, "packed: true");
  add(with_config(dotted(), row(R"("packed_q5":true)")), ErrorCode::kBadLayout, "packed_q5: true");

  // Meta.
  add(with_meta({4, 2, 128, 768, 200}), ErrorCode::kBadLayout, "rows is 3");
  add(with_meta({3, 3, 128, 768, 200}), ErrorCode::kBadLayout, "blocks a row");
  add(with_meta({3, 2, 64, 768, 200}), ErrorCode::kUnsupported, "block size is 64");
  add(with_meta({3, 2, 128, 767, 200}), ErrorCode::kBadLayout, "767");
  add(with_meta({3, 2, 128, 768, 128}), ErrorCode::kBadLayout, "128 columns");
  add(with_meta({3, 2, 128, 768, -5}), ErrorCode::kBadLayout, "columns is -5");
  add(with_meta({-3, 2, 128, 768, 200}), ErrorCode::kBadLayout, "rows is");
  add(with_meta({3, 2, 128, huge, 200}), ErrorCode::kBadLayout, "meta counts");
  add(with_meta({3, 2, 128}), ErrorCode::kBadLayout, "a.weight__meta");
  // Only the meta says how many rows: more than there is anything of.
  for (const int64_t rows : {huge, INT64_MAX, int64_t{0}, INT64_MIN}) {
    add(spoiled(with_meta({rows, 2, 128, 768, 200}),
                [](Files& f) { f.tensor("a.weight__norms").shape = {6}; }),
        ErrorCode::kBadLayout, "a.weight");
  }
  add(spoiled(with_meta({6, huge, 128, 768, 200}),
              [](Files& f) { f.tensor("a.weight__norms").shape = {6}; }),
      ErrorCode::kBadLayout, "blocks a row");

  // Dtypes.
  add(spoiled(dotted(),
              [](Files& f) {
                f.tensor("a.norms") = stored("a.norms", DType::kF32, {3, 2}, std::vector<float>(6));
              }),
      ErrorCode::kBadLayout, "norms are F32");
  add(spoiled(dotted(),
              [](Files& f) {
                f.tensor("a.codes") =
                    stored("a.codes", DType::kI16, {3, 256}, std::vector<int16_t>(768));
              }),
      ErrorCode::kBadLayout, "codes are I16");

  // Tables.
  add(spoiled(dotted(), [](Files& f) { set(f.tensor("a.ct"), std::vector<float>(24, 1), {24}); }),
      ErrorCode::kBadLayout, "24 levels");
  add(spoiled(dotted(), [](Files& f) { set(f.tensor("a.ct"), std::vector<float>(32, 1), {32}); }),
      ErrorCode::kBadValue, "level 1");
  add(spoiled(dotted(),
              [](Files& f) {
                Levels levels = wire5();
                levels[31] = std::numeric_limits<float>::infinity();
                set(f.tensor("a.ct"), levels, {32});
              }),
      ErrorCode::kBadValue, "level 31 is inf");
  add(spoiled(dotted(),
              [](Files& f) {
                f.tensors.push_back(
                    stored("a.ct_scaled", DType::kF32, {16}, codebook(CodebookKind::kWire, 4)));
              }),
      ErrorCode::kBadLayout, "a.ct_scaled");

  // Parts that are missing or too many.
  add(spoiled(dotted(), [](Files& f) { f.drop("a.norms"); }), ErrorCode::kMissing, "a.norms");
  add(spoiled(
          dotted(),
          [](Files& f) {
            f.tensors.push_back(stored("b.norms", DType::kF16, {1, 1}, test::random_norms(1, 1)));
          }),
      ErrorCode::kMissing, "b.norms");
  add(spoiled(dotted(),
              [](Files& f) {
                f.tensors.push_back(stored("a.weight", DType::kF32, {1}, std::vector<float>(1)));
              }),
      ErrorCode::kBadLayout, "stored twice");

  // A 5-bit stream of no known order, and one that reads as well either way.
  add(spoiled(with_config(dotted(), "{}"),
              [&](Files& f) {
                f.tensor("a.codes") =
                    stored("a.codes", DType::kU8, {3, 160}, std::vector<uint8_t>(480, 0xFF));
              }),
      ErrorCode::kBadLayout, "read equally well");

  for (const Case& c : cases) {
    const test::TemporaryFolder folder;
    const auto checkpoint = open_files(c.files, folder);
    ASSERT_FALSE(checkpoint.has_value()) << "wanted: " << c.message;
    EXPECT_EQ(checkpoint.error().code, c.code) << checkpoint.error().message;
    EXPECT_NE(checkpoint.error().message.find(c.message), std::string::npos)
        << "wanted: " << c.message << "; got: " << checkpoint.error().message;
  }
}

Status read_all(const Files& files) {
  const test::TemporaryFolder folder;
  const auto checkpoint = open_files(files, folder);
  if (!checkpoint) return tl::unexpected<Error>(checkpoint.error());
  const CheckpointTensor& tensor = *checkpoint->find("a.weight");
  std::vector<uint8_t> codes(768);
  std::vector<uint16_t> norms(6);
  std::vector<float> values(600);
  const Status decoded = checkpoint->read_f32(tensor, 0, 3, values);
  const Status status = checkpoint->read_codes(tensor, 0, 3, codes, norms);
  EXPECT_EQ(decoded.has_value(), status.has_value());
  return status;
}

TEST(CheckpointErrors, PayloadThatCannotBe) {
  EXPECT_TRUE(read_all(dotted()).has_value());
  Files files = dotted();
  files.tensor("a.codes").bytes[2 * 256 + 7] = std::byte{32};
  Status status = read_all(files);
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code, ErrorCode::kBadValue);
  EXPECT_EQ(status.error().message,
            "a.codes: row 2, column 7: code 32 is outside the table of 32 "
            "levels");
  for (const uint16_t bad : {0x7C00, 0xFC00, 0x7E01, 0xBC00, 0x8001}) {
    for (Files spoiled_files : {dotted(), stream()}) {
      StoredTensor& norms = spoiled_files.tensors[1];
      norms.bytes[6] = static_cast<std::byte>(bad & 0xFF);  // row 1, block 1
      norms.bytes[7] = static_cast<std::byte>(bad >> 8);
      status = read_all(spoiled_files);
      ASSERT_FALSE(status.has_value()) << bad;
      EXPECT_EQ(status.error().code, ErrorCode::kBadValue);
      EXPECT_NE(status.error().message.find("row 1, block 1"), std::string::npos)
          << status.error().message;
    }
  }
  files = dotted();
  files.tensors[1].bytes[6] = std::byte{0};
  files.tensors[1].bytes[7] = std::byte{0x80};  // -0 is 0
  EXPECT_TRUE(read_all(files).has_value());
}

TEST(CheckpointErrors, FileCutShort) {
  const test::TemporaryFolder folder;
  test::write_tensors(folder.file("model.safetensors"), stream().tensors);
  const std::string path = folder.file("model.safetensors");
  const auto bytes = std::filesystem::file_size(path);
  for (const uintmax_t keep : {bytes - 1, bytes / 2, uintmax_t{9}, uintmax_t{0}}) {
    std::filesystem::resize_file(path, keep);
    EXPECT_FALSE(Checkpoint::open(folder.path()).has_value()) << keep;
  }
}

TEST(CheckpointErrors, OtherFormatsAreNamed) {
  const std::vector<float> one(1);
  const auto f32 = [&](const char* name) { return stored(name, DType::kF32, {1}, one); };
  struct Case {
    std::vector<StoredTensor> tensors;
    const char* message;
  };
  for (const Case& c : {
           Case{{f32("a.weight_packed"), f32("a.weight_scale"), f32("a.weight_shape")},
                "CompressedTensors"},
           Case{{f32("a.weight"), f32("a.weight_scale_2"), f32("a.weight_scale")}, "FP4"},
           Case{{f32("a.weight"), f32("a.weight_scale")}, "FP8"},
           Case{{f32("a.weight"), f32("a.input_scale")}, "FP8"},
           Case{{f32("a.qweight"), f32("a.scales"), f32("a.qzeros")}, "GPTQ"},
           Case{{f32("a.codes"), f32("a.scales")}, "EOQ"},
           Case{{stored("a.weight", DType::kF8E4M3, {1}, std::vector<uint8_t>(1))}, "FP8"},
       }) {
    const test::TemporaryFolder folder;
    const auto checkpoint = open_files({c.tensors, "", {}}, folder);
    ASSERT_FALSE(checkpoint.has_value()) << c.message;
    EXPECT_EQ(checkpoint.error().code, ErrorCode::kUnsupported);
    EXPECT_NE(checkpoint.error().message.find(c.message), std::string::npos)
        << checkpoint.error().message;
  }
  const test::TemporaryFolder pickles;
  test::write_text(pickles.file("pytorch_model.bin"), "x");
  test::write_text(pickles.file("config.json"), "{}");
  auto checkpoint = Checkpoint::open(pickles.path());
  ASSERT_FALSE(checkpoint.has_value());
  EXPECT_EQ(checkpoint.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(checkpoint.error().message.find("pickles"), std::string::npos);

  const test::TemporaryFolder widths;
  test::write_text(widths.file("PQ5/codes.safetensors"), "x");
  checkpoint = Checkpoint::open(widths.path());
  ASSERT_FALSE(checkpoint.has_value());
  EXPECT_NE(checkpoint.error().message.find("/PQ5"), std::string::npos);

  const test::TemporaryFolder empty;
  checkpoint = Checkpoint::open(empty.path());
  ASSERT_FALSE(checkpoint.has_value());
  EXPECT_EQ(checkpoint.error().code, ErrorCode::kMissing);
}

}  // namespace
}  // namespace hlwq
