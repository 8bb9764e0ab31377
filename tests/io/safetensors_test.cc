#include "io/safetensors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/random.h"
#include "io/json.h"
#include "tests/io/temp_folder.h"

namespace hlwq {
namespace {

using testing_support::get;
using testing_support::put;
using testing_support::TempFolder;

// The bytes of a file with this header text and so many bytes of data.
std::string file_of(std::string_view header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  file += header;
  for (size_t i = 0; i < data_bytes; ++i) file += static_cast<char>('a' + i % 26);
  return file;
}

Result<SafetensorsHeader> parse(std::string_view file) {
  return parse_safetensors_header(std::as_bytes(std::span(file.data(), file.size())), file.size(),
                                  "x.safetensors");
}

void expect_refusal(std::string_view header, size_t data_bytes, ErrorCode code,
                    std::string_view part) {
  const Result<SafetensorsHeader> parsed = parse(file_of(header, data_bytes));
  ASSERT_FALSE(parsed.has_value()) << header;
  EXPECT_EQ(parsed.error().code, code) << parsed.error().message;
  EXPECT_TRUE(parsed.error().message.starts_with("x.safetensors: ")) << parsed.error().message;
  EXPECT_NE(parsed.error().message.find(part), std::string::npos) << parsed.error().message;
}

// What must hold of any header that is taken.
void expect_sound(const SafetensorsHeader& header, uint64_t file_bytes) {
  uint64_t at = 0;
  for (const TensorEntry& tensor : header.tensors) {
    EXPECT_EQ(tensor.begin, at);
    EXPECT_EQ(tensor.bytes(), checked_bytes(tensor.name, tensor.dtype, tensor.shape).value());
    at = tensor.end;
  }
  EXPECT_EQ(header.data_offset + at, file_bytes);
}

TEST(SafetensorsCorpus, EveryFileGetsItsVerdict) {
  const std::string folder = std::string(HLWQ_TEST_DATA) + "/safetensors_fuzz/";
  const Result<Json> manifest = read_json_file(folder + "manifest.json");
  ASSERT_TRUE(manifest.has_value()) << manifest.error().message;
  ASSERT_EQ(manifest->size(), 66u);
  int valid = 0;
  for (const Json& row : *manifest) {
    const std::string path = folder + row.at("file").get<std::string>();
    SCOPED_TRACE(path + ": " + row.at("why").get<std::string>());
    const Result<SafetensorsFile> file = SafetensorsFile::open(path);
    EXPECT_EQ(file.has_value(), row.at("valid").get<bool>());
    if (file) {
      ++valid;
      for (const TensorEntry& tensor : file->tensors()) {
        std::vector<std::byte> bytes(tensor.bytes());
        EXPECT_TRUE(file->read(tensor, 0, bytes).has_value());
        EXPECT_EQ(file->find(tensor.name), &tensor);
      }
    } else {
      const ErrorCode code = file.error().code;
      EXPECT_TRUE(code == ErrorCode::kBadHeader || code == ErrorCode::kBadLayout ||
                  code == ErrorCode::kUnsupported);
      EXPECT_TRUE(file.error().message.starts_with(path)) << file.error().message;
      EXPECT_LT(file.error().message.size(), path.size() + 400);
    }
  }
  EXPECT_EQ(valid, 11);
}

constexpr std::string_view kTwo =
    R"({"__metadata__":{"format":"pt","k":""},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},)"
    R"("a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}   )";

TEST(SafetensorsHeader, IsSortedByPlace) {
  const std::string file = file_of(kTwo, 16);
  const Result<SafetensorsHeader> header = parse(file);
  ASSERT_TRUE(header.has_value()) << header.error().message;
  expect_sound(*header, file.size());
  ASSERT_EQ(header->tensors.size(), 2u);
  EXPECT_EQ(header->tensors[0].name, "a");
  EXPECT_EQ(header->tensors[0].dtype, DType::kF32);
  EXPECT_TRUE(header->tensors[0].shape.empty());
  EXPECT_EQ(header->tensors[1].name, "b");
  EXPECT_EQ(header->tensors[1].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(header->metadata, (std::map<std::string, std::string>{{"format", "pt"}, {"k", ""}}));
  EXPECT_EQ(header->data_offset, 8 + kTwo.size());
}

TEST(SafetensorsHeader, EmptyTensorsLieAnywhereBetweenOthers) {
  const std::string file = file_of(
      R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"e0":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]},)"
      R"("e1":{"dtype":"F32","shape":[3,0],"data_offsets":[2,2]},"e2":{"dtype":"F64","shape":[0],"data_offsets":[3,3]},)"
      R"("b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
      3);
  const Result<SafetensorsHeader> header = parse(file);
  ASSERT_TRUE(header.has_value()) << header.error().message;
  expect_sound(*header, file.size());
  EXPECT_EQ(header->tensors.size(), 5u);
  // Inside another tensor is not between.
  expect_refusal(
      R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"e":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}})",
      2, ErrorCode::kBadLayout, "tensor \"e\": begins at byte 1, inside tensor \"a\"");
}

TEST(SafetensorsHeader, RefusalsNameTheTensorAndTheFault) {
  const auto one = [](std::string_view dtype, std::string_view shape, std::string_view offsets) {
    return R"({"w.0":{"dtype":)" + std::string(dtype) + R"(,"shape":)" + std::string(shape) +
           R"(,"data_offsets":)" + std::string(offsets) + "}}";
  };
  using enum ErrorCode;
  expect_refusal(one(R"("F4")", "[2]", "[0,1]"), 1, kUnsupported,
                 "tensor \"w.0\": unknown dtype \"F4\"");
  expect_refusal(one(R"("f32")", "[1]", "[0,4]"), 4, kUnsupported, "unknown dtype \"f32\"");
  expect_refusal(one("3", "[1]", "[0,4]"), 4, kBadHeader, "dtype is number");
  expect_refusal(one(R"("F32")", "[1.0]", "[0,4]"), 4, kBadHeader, "dimension 0 is 1.0");
  expect_refusal(one(R"("F32")", "[1,-1]", "[0,4]"), 4, kBadHeader, "dimension 1 is -1");
  expect_refusal(one(R"("F32")", "[NaN]", "[0,4]"), 4, kBadHeader, "dimension 0");
  expect_refusal(one(R"("F32")", "[9223372036854775808]", "[0,4]"), 4, kBadHeader, "dimension 0");
  expect_refusal(one(R"("F32")", "4", "[0,4]"), 4, kBadHeader, "shape is number");
  expect_refusal(one(R"("F32")", "[2]", "[0,4]"), 4, kBadLayout,
                 "data_offsets span 4 bytes, F32 [2] takes 8");
  expect_refusal(one(R"("F32")", "[1]", "[4,0]"), 4, kBadLayout, "before it begins");
  expect_refusal(one(R"("F32")", "[1]", "[0,4,8]"), 4, kBadHeader, "not [begin, end]");
  expect_refusal(one(R"("F32")", "[1]", "[0,4.0]"), 4, kBadHeader, "not [begin, end]");
  expect_refusal(one(R"("F32")", "[1]", "[0,4]"), 3, kBadLayout, "the file has 3 (cut short?)");
  expect_refusal(one(R"("F32")", "[1]", "[0,4]"), 5, kBadLayout, "take 4 bytes of data");
  expect_refusal(one(R"("F32")", "[1]", "[1,5]"), 5, kBadLayout, "belong to no tensor");
  expect_refusal(one(R"("F32")", "[4294967296,2147483648]", "[0,0]"), 0, kBadLayout, "overflows");
  // A 0 hides nothing: the others must fit too, in any order.
  expect_refusal(one(R"("F32")", "[0,4294967296,2147483648]", "[0,0]"), 0, kBadLayout, "overflows");
  expect_refusal(one(R"("U8")", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,1]"), 1, kUnsupported,
                 "17 dimensions");
  expect_refusal(R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"strides":[1]}})", 1,
                 kBadHeader, "tensor \"w\": unknown field \"strides\"");
  expect_refusal(R"({"w":{"dtype":"U8","shape":[1]}})", 1, kBadHeader,
                 "tensor \"w\": no data_offsets");
  expect_refusal(R"({"w\n":7})", 0, kBadHeader, "tensor \"w\\x0a\": number, not an object");
  expect_refusal(R"({"__metadata__":{"a":1}})", 0, kBadHeader,
                 "__metadata__, key \"a\": number, not a string");
  expect_refusal(R"({"__metadata__":null})", 0, kBadHeader, "__metadata__ is null");
  // The one object that JSON reading turns into something else.
  expect_refusal(R"({"__float__":"NaN"})", 0, kBadHeader, "not an object");
  expect_refusal(R"({"w":{"__float__":"NaN"}})", 0, kBadHeader, "tensor \"w\"");
}

TEST(SafetensorsHeader, SixteenDimensionsAreTaken) {
  const Result<SafetensorsHeader> header = parse(file_of(
      R"({"w":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}})", 1));
  EXPECT_TRUE(header.has_value()) << header.error().message;
}

TEST(SafetensorsHeader, LengthIsCheckedBeforeAnythingIsRead) {
  const uint64_t above_cap = kMostSafetensorsHeaderBytes + 1;
  std::byte prefix[8];
  std::memcpy(prefix, &above_cap, 8);
  const Result<SafetensorsHeader> parsed =
      parse_safetensors_header(prefix, uint64_t{1} << 40, "x.safetensors");
  ASSERT_FALSE(parsed.has_value());
  EXPECT_EQ(parsed.error().code, ErrorCode::kBadHeader);
  EXPECT_NE(parsed.error().message.find("100000001"), std::string::npos);
}

// A sparse file above the cap: the reader must refuse it without reading or allocating 100 MB.
TEST(SafetensorsFile, HeaderAboveTheCapIsRefusedUnread) {
  const TempFolder folder;
  const uint64_t above_cap = kMostSafetensorsHeaderBytes + 1;
  put(folder.file("a.safetensors"),
      std::string_view(reinterpret_cast<const char*>(&above_cap), sizeof above_cap));
  std::filesystem::resize_file(folder.file("a.safetensors"), 2 * above_cap);
  const Result<SafetensorsFile> file = SafetensorsFile::open(folder.file("a.safetensors"));
  ASSERT_FALSE(file.has_value());
  EXPECT_NE(file.error().message.find("more than the 100000000"), std::string::npos);
}

TEST(SafetensorsFile, EveryCutIsRefused) {
  const TempFolder folder;
  const std::string whole = file_of(kTwo, 16);
  for (size_t length = 0; length < whole.size(); ++length) {
    put(folder.file("a.safetensors"), std::string_view(whole).substr(0, length));
    const Result<SafetensorsFile> file = SafetensorsFile::open(folder.file("a.safetensors"));
    ASSERT_FALSE(file.has_value()) << length;
    EXPECT_NE(file.error().code, ErrorCode::kIo) << file.error().message;
  }
}

TEST(SafetensorsFile, EveryFlippedBitIsRefusedOrSound) {
  const std::string whole = file_of(kTwo, 16);
  int taken = 0;
  for (size_t bit = 0; bit < 8 * (8 + kTwo.size()); ++bit) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    // The caller's promise: the prefix is as long as the length field says.
    uint64_t length = 0;
    std::memcpy(&length, flipped.data(), 8);
    if (const Result<SafetensorsHeader> header = parse(flipped)) {
      ++taken;
      expect_sound(*header, flipped.size());
    }
  }
  // A flip inside a name, a metadata string or the like changes nothing that can be checked.
  EXPECT_GT(taken, 0);
  EXPECT_LT(taken, 300);
}

TEST(SafetensorsFile, RandomDamageIsRefusedOrSound) {
  constexpr uint64_t kSeed = 20260301;
  const std::string whole = file_of(kTwo, 16);
  uint64_t counter = 0;
  const auto next = [&](uint64_t below) { return random_bits(kSeed, counter++) % below; };
  constexpr std::string_view kPieces = "{}[],:\"\\0123456789-.eE \n\xC3\xFFnulltrueNaN";
  for (int round = 0; round < 20'000; ++round) {
    std::string damaged = whole;
    for (uint64_t edits = 1 + next(3); edits > 0; --edits)
      damaged[8 + next(kTwo.size())] = kPieces[next(kPieces.size())];
    if (const Result<SafetensorsHeader> header = parse(damaged))
      expect_sound(*header, damaged.size());
  }
}

TEST(SafetensorsFile, ReadsPartsAndStaysInsideTheTensor) {
  const TempFolder folder;
  put(folder.file("a.safetensors"), file_of(kTwo, 16));
  const Result<SafetensorsFile> file = SafetensorsFile::open(folder.file("a.safetensors"));
  ASSERT_TRUE(file.has_value()) << file.error().message;
  const TensorEntry* b = file->find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(file->find("c"), nullptr);
  char out[12];
  ASSERT_TRUE(file->read(*b, 0, std::as_writable_bytes(std::span(out))).has_value());
  EXPECT_EQ(std::string_view(out, 12), "efghijklmnop");
  ASSERT_TRUE(file->read(*b, 10, std::as_writable_bytes(std::span(out, 2))).has_value());
  EXPECT_EQ(std::string_view(out, 2), "op");
  ASSERT_TRUE(file->read(*b, 12, {}).has_value());
  for (const uint64_t offset : {uint64_t{11}, uint64_t{13}, ~uint64_t{0}}) {
    const Status status = file->read(*b, offset, std::as_writable_bytes(std::span(out, 2)));
    ASSERT_FALSE(status.has_value());
    EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(status.error().message.find("tensor \"b\""), std::string::npos);
  }
}

TEST(SafetensorsFile, CutAfterOpeningIsAnErrorOfTheRead) {
  const TempFolder folder;
  put(folder.file("a.safetensors"), file_of(kTwo, 16));
  const Result<SafetensorsFile> file = SafetensorsFile::open(folder.file("a.safetensors"));
  ASSERT_TRUE(file.has_value());
  std::filesystem::resize_file(folder.file("a.safetensors"), 8 + kTwo.size() + 15);
  std::byte out[12];
  const Status status = file->read(*file->find("b"), 0, out);
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code, ErrorCode::kIo);
}

}  // namespace
}  // namespace hlwq
