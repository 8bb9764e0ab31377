#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <csignal>
#include <cstring>

#include "base/check.h"
#include "base/random.h"
#include "base/thread_pool.h"
#include "io/safetensors.h"
#include "tests/io/temp_folder.h"

namespace hlwq {
namespace {

using testing_support::get;
using testing_support::put;
using testing_support::TempFolder;
using Names = std::vector<std::string>;

TensorEntry entry(std::string name, DType dtype, std::vector<int64_t> shape) {
  return {.name = std::move(name), .dtype = dtype, .shape = std::move(shape)};
}

std::vector<std::byte> random_bytes(uint64_t seed, size_t count) {
  std::vector<std::byte> bytes(count);
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(random_bits(seed, i));
  return bytes;
}

std::vector<TensorEntry> some_tensors() {
  return {entry("model.b", DType::kBF16, {3, 5}), entry("model.a", DType::kF32, {}),
          entry("empty", DType::kI64, {4, 0}), entry("\u00e9\"\\\n", DType::kU8, {7}),
          entry("codes", DType::kI8, {128, 40})};
}

Result<SafetensorsWriter> filled_writer(const std::string& path) {
  HLWQ_TRY_ASSIGN(SafetensorsWriter writer,
                  SafetensorsWriter::create(path, some_tensors(), {{"format", "pt"}, {"q", "\""}}));
  // In two parts, last tensor first.
  for (size_t i = writer.header().tensors.size(); i-- > 0;) {
    const std::vector<std::byte> bytes = random_bytes(i, writer.header().tensors[i].bytes());
    const size_t half = bytes.size() / 2;
    HLWQ_TRY(writer.write(i, half, std::span(bytes).subspan(half)));
    HLWQ_TRY(writer.write(i, 0, std::span(bytes).first(half)));
  }
  return writer;
}

TEST(SafetensorsWriter, RoundTrip) {
  const TempFolder folder;
  const std::string path = folder.file("model.safetensors");
  Result<SafetensorsWriter> writer = filled_writer(path);
  ASSERT_TRUE(writer.has_value()) << writer.error().message;
  EXPECT_NE(folder.names(), Names{"model.safetensors"});
  ASSERT_TRUE(writer->commit().has_value());
  EXPECT_EQ(folder.names(), Names{"model.safetensors"});

  const Result<SafetensorsFile> file = SafetensorsFile::open(path);
  ASSERT_TRUE(file.has_value()) << file.error().message;
  EXPECT_EQ(file->metadata(), (std::map<std::string, std::string>{{"format", "pt"}, {"q", "\""}}));
  const std::vector<TensorEntry> wanted = some_tensors();
  ASSERT_EQ(file->tensors().size(), wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) {
    const TensorEntry* found = file->find(wanted[i].name);
    ASSERT_NE(found, nullptr) << wanted[i].name;
    EXPECT_EQ(found->dtype, wanted[i].dtype);
    EXPECT_EQ(found->shape, wanted[i].shape);
    std::vector<std::byte> bytes(found->bytes());
    ASSERT_TRUE(file->read(*found, 0, bytes).has_value());
    EXPECT_EQ(bytes, random_bytes(i, bytes.size())) << wanted[i].name;
  }
}

TEST(SafetensorsWriter, SeveralThreadsFillOneTensor) {
  const TempFolder folder;
  constexpr size_t kParts = 64, kPartBytes = 3001;
  Result<SafetensorsWriter> writer = SafetensorsWriter::create(
      folder.file("a"), {entry("x", DType::kU8, {kParts * kPartBytes})}, {});
  ASSERT_TRUE(writer.has_value());
  const std::vector<std::byte> bytes = random_bytes(1, kParts * kPartBytes);
  ThreadPool pool(4);
  std::atomic<int> failures{0};
  pool.run(kParts, [&](int64_t part) {
    const size_t at = static_cast<size_t>(part) * kPartBytes;
    if (!writer->write(0, at, std::span(bytes).subspan(at, kPartBytes))) ++failures;
  });
  EXPECT_EQ(failures, 0);
  ASSERT_TRUE(writer->commit().has_value());
  const Result<SafetensorsFile> file = SafetensorsFile::open(folder.file("a"));
  ASSERT_TRUE(file.has_value());
  std::vector<std::byte> back(bytes.size());
  ASSERT_TRUE(file->read(*file->find("x"), 0, back).has_value());
  EXPECT_EQ(back, bytes);
}

TEST(SafetensorsWriter, SameInputSameBytes) {
  const TempFolder folder;
  for (const char* name : {"a", "b"}) {
    Result<SafetensorsWriter> writer = filled_writer(folder.file(name));
    ASSERT_TRUE(writer.has_value() && writer->commit().has_value());
  }
  EXPECT_EQ(get(folder.file("a")), get(folder.file("b")));
}

TEST(SafetensorsWriter, HeaderIsThePlannedOneAndAligned) {
  const TempFolder folder;
  Result<SafetensorsWriter> writer = filled_writer(folder.file("a"));
  ASSERT_TRUE(writer.has_value() && writer->commit().has_value());
  std::vector<TensorEntry> tensors = some_tensors();
  const Result<std::string> header =
      make_safetensors_header(tensors, {{"format", "pt"}, {"q", "\""}});
  ASSERT_TRUE(header.has_value());
  EXPECT_TRUE(get(folder.file("a")).starts_with(*header));
  EXPECT_EQ(writer->header().data_offset, header->size());
  EXPECT_EQ(tensors[1].begin, 30u);
  EXPECT_EQ(tensors[4].end, 30u + 4 + 0 + 7 + 5120);
}

TEST(SafetensorsHeaderText, IsExactlyThis) {
  std::vector<TensorEntry> tensors = {entry("wx", DType::kF16, {2, 3}),
                                      entry("s", DType::kF32, {})};
  const Result<std::string> header = make_safetensors_header(tensors, {{"k", "v"}});
  ASSERT_TRUE(header.has_value());
  EXPECT_EQ(header->substr(8),
            R"({"__metadata__":{"k":"v"},"wx":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]},)"
            R"("s":{"dtype":"F32","shape":[],"data_offsets":[12,16]}}       )");
  EXPECT_EQ(static_cast<uint8_t>((*header)[0]), header->size() - 8);
  std::vector<TensorEntry> none;
  EXPECT_EQ(make_safetensors_header(none, {}).value().substr(8), "{}      ");
}

TEST(SafetensorsHeaderText, StartsTheDataAtAMultipleOf8ForAnyNameLength) {
  for (size_t length = 1; length <= 16; ++length) {
    std::vector<TensorEntry> tensors = {entry(std::string(length, 'n'), DType::kU8, {1})};
    const Result<std::string> header = make_safetensors_header(tensors, {});
    ASSERT_TRUE(header.has_value());
    EXPECT_EQ(header->size() % 8, 0u);
    const std::string file = *header + "x";
    EXPECT_TRUE(parse_safetensors_header(std::as_bytes(std::span(file)), file.size(), "x"));
  }
}

TEST(SafetensorsHeaderText, RefusesWhatNoReaderTakes) {
  const auto refused = [](std::vector<TensorEntry> tensors, ErrorCode code,
                          const std::map<std::string, std::string>& metadata = {}) {
    const Result<std::string> header = make_safetensors_header(tensors, metadata);
    ASSERT_FALSE(header.has_value());
    EXPECT_EQ(header.error().code, code) << header.error().message;
  };
  using enum ErrorCode;
  constexpr int64_t kBig = int64_t{1} << 40;
  refused({entry("a", DType::kU8, {1}), entry("a", DType::kU8, {1})}, kInvalidArgument);
  refused({entry("__metadata__", DType::kU8, {1})}, kInvalidArgument);
  refused({entry("\xFF", DType::kU8, {1})}, kInvalidArgument);
  refused({}, kInvalidArgument, {{"\xFF", ""}});
  refused({}, kInvalidArgument, {{"", "\xED\xA0\x80"}});
  refused({entry("a", DType::kU8, std::vector<int64_t>(17, 1))}, kInvalidArgument);
  refused({entry("a", DType::kU8, {-1})}, kBadLayout);
  refused({entry("a", DType::kU8, {kBig, kBig})}, kBadLayout);
  refused({entry("a", DType::kU8, {kBig, kBig >> 18}), entry("b", DType::kU8, {kBig, kBig >> 18})},
          kBadLayout);
}

TEST(SafetensorsWriter, MissingBytesCannotBeCommitted) {
  const TempFolder folder;
  {
    Result<SafetensorsWriter> writer = SafetensorsWriter::create(
        folder.file("a"), {entry("x", DType::kU8, {4}), entry("y", DType::kU8, {4})}, {});
    ASSERT_TRUE(writer.has_value());
    const std::vector<std::byte> bytes = random_bytes(1, 4);
    ASSERT_TRUE(writer->write(0, 0, bytes).has_value());
    ASSERT_TRUE(writer->write(1, 0, std::span(bytes).first(3)).has_value());
    const Status status = writer->commit();
    ASSERT_FALSE(status.has_value());
    EXPECT_EQ(status.error().code, ErrorCode::kBadLayout);
    EXPECT_NE(status.error().message.find("tensor \"y\": 3 bytes written, it has 4"),
              std::string::npos)
        << status.error().message;
    EXPECT_FALSE(file_exists(folder.file("a")));
  }
  EXPECT_EQ(folder.names(), Names{});
}

TEST(SafetensorsWriter, WritesOutsideATensorAreRefused) {
  const TempFolder folder;
  Result<SafetensorsWriter> writer =
      SafetensorsWriter::create(folder.file("a"), {entry("x", DType::kU8, {4})}, {});
  ASSERT_TRUE(writer.has_value());
  const std::vector<std::byte> bytes = random_bytes(1, 4);
  for (const uint64_t offset : {uint64_t{1}, uint64_t{5}, ~uint64_t{0}}) {
    const Status status = writer->write(0, offset, bytes);
    ASSERT_FALSE(status.has_value());
    EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
  }
  EXPECT_THROW((void)writer->write(1, 0, bytes), BrokenPromise);
}

// Writes of this process beyond `bytes` of a file fail, as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    getrlimit(RLIMIT_FSIZE, &before_);
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {bytes, before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_ = {};
  void (*handler_)(int) = SIG_DFL;
};

TEST(SafetensorsWriter, AFullDiskLeavesNothingBehind) {
  const TempFolder folder;
  const std::string path = folder.file("model.safetensors");
  // Full inside the header, and inside the data (where a write is cut short first).
  for (const rlim_t limit : {rlim_t{20}, rlim_t{3000}}) {
    const FileSizeLimit full(limit);
    const Result<SafetensorsWriter> writer = filled_writer(path);
    ASSERT_FALSE(writer.has_value());
    EXPECT_EQ(writer.error().code, ErrorCode::kIo);
    EXPECT_TRUE(writer.error().message.starts_with(path + ": cannot write"))
        << writer.error().message;
    EXPECT_EQ(folder.names(), Names{});
  }
}

}  // namespace
}  // namespace hlwq
