#include "io/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <limits>
#include <type_traits>
#include <utility>

#include "base/check.h"
#include "tests/io/temp_folder.h"

namespace hlwq {
namespace {

using testing_support::get;
using testing_support::put;
using testing_support::TempFolder;
using Names = std::vector<std::string>;

static_assert(!std::is_copy_constructible_v<InputFile> &&
              !std::is_copy_constructible_v<OutputFile>);

std::span<const std::byte> bytes_in(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

void expect_error(const Error& error, ErrorCode code, std::string_view part) {
  EXPECT_EQ(error.code, code) << error.message;
  EXPECT_NE(error.message.find(part), std::string::npos) << error.message;
}

std::string read_part(const InputFile& file, uint64_t offset, size_t bytes) {
  std::string out(bytes, '?');
  const Status status = file.read(offset, std::as_writable_bytes(std::span(out)));
  EXPECT_TRUE(status.has_value()) << status.error().message;
  return out;
}

TEST(InputFile, ReadsAnyPart) {
  const TempFolder folder;
  put(folder.file("a"), "0123456789");
  Result<InputFile> file = InputFile::open(folder.file("a"));
  ASSERT_TRUE(file.has_value());
  EXPECT_EQ(file->bytes(), 10u);
  EXPECT_EQ(file->path(), folder.file("a"));
  EXPECT_EQ(read_part(*file, 0, 10), "0123456789");
  EXPECT_EQ(read_part(*file, 9, 1), "9");
  EXPECT_EQ(read_part(*file, 10, 0), "");
  const InputFile moved = std::move(*file);
  EXPECT_EQ(read_part(moved, 3, 4), "3456");
}

TEST(InputFile, ReadingPastTheEndIsAnError) {
  const TempFolder folder;
  put(folder.file("a"), "0123456789");
  const Result<InputFile> file = InputFile::open(folder.file("a"));
  ASSERT_TRUE(file.has_value());
  std::byte out[4];
  for (const uint64_t offset :
       {uint64_t{7}, uint64_t{10}, uint64_t{1} << 40, uint64_t{1} << 63,
        std::numeric_limits<uint64_t>::max() - 3, std::numeric_limits<uint64_t>::max()}) {
    const Status status = file->read(offset, out);
    ASSERT_FALSE(status.has_value()) << offset;
    expect_error(status.error(), ErrorCode::kIo, file->path());
  }
}

TEST(InputFile, AFileCutWhileOpenIsAnError) {
  const TempFolder folder;
  put(folder.file("a"), "0123456789");
  const Result<InputFile> file = InputFile::open(folder.file("a"));
  ASSERT_TRUE(file.has_value());
  std::filesystem::resize_file(folder.file("a"), 5);
  std::byte out[10];
  const Status status = file->read(0, out);
  ASSERT_FALSE(status.has_value());
  expect_error(status.error(), ErrorCode::kIo, "ends before byte 5");
}

TEST(InputFile, OnlyRegularFiles) {
  const TempFolder folder;
  ASSERT_EQ(mkfifo(folder.file("fifo").c_str(), 0600), 0);
  for (const std::string& path : {folder.path(), folder.file("fifo"), std::string("/dev/null")}) {
    const Result<InputFile> file = InputFile::open(path);  // must not wait for the FIFO's writer
    ASSERT_FALSE(file.has_value()) << path;
    expect_error(file.error(), ErrorCode::kIo, path);
  }
}

TEST(InputFile, MissingAndBrokenNames) {
  const TempFolder folder;
  put(folder.file("plain"), "x");
  for (const std::string& path : {folder.file("none"), folder.file("plain/none"), std::string()}) {
    const Result<InputFile> file = InputFile::open(path);
    ASSERT_FALSE(file.has_value()) << path;
    expect_error(file.error(), ErrorCode::kMissing, path);
  }
  std::filesystem::create_symlink("loop", folder.file("loop"));
  const Result<InputFile> loop = InputFile::open(folder.file("loop"));
  ASSERT_FALSE(loop.has_value());
  expect_error(loop.error(), ErrorCode::kIo, "loop");
  // "plain\0x" must not open "plain".
  const Result<InputFile> cut = InputFile::open(folder.file(std::string_view("plain\0x", 7)));
  ASSERT_FALSE(cut.has_value());
  EXPECT_EQ(cut.error().code, ErrorCode::kIo);
}

TEST(OutputFile, NothingUnderTheNameBeforeCommit) {
  const TempFolder folder;
  const std::string path = folder.file("out.bin");
  {
    Result<OutputFile> file = OutputFile::create(path);
    ASSERT_TRUE(file.has_value());
    ASSERT_TRUE(file->append(bytes_in("abc")).has_value());
    ASSERT_TRUE(file->write_at(5, bytes_in("fg")).has_value());
    ASSERT_TRUE(file->write_at(3, bytes_in("de")).has_value());
    ASSERT_TRUE(file->append(bytes_in("DEFG")).has_value());  // after "abc", over the rest
    ASSERT_TRUE(file->append(bytes_in("hi")).has_value());
    EXPECT_FALSE(file_exists(path));
    ASSERT_EQ(folder.names().size(), 1u);
    EXPECT_TRUE(folder.names()[0].starts_with(".out.bin.tmp-")) << folder.names()[0];
    ASSERT_TRUE(file->commit().has_value());
    EXPECT_EQ(folder.names(), Names{"out.bin"});
    EXPECT_THROW((void)file->append(bytes_in("x")), BrokenPromise);
  }
  EXPECT_EQ(get(path), "abcDEFGhi");
}

TEST(OutputFile, WithoutCommitTheOldFileStays) {
  const TempFolder folder;
  const std::string path = folder.file("out");
  put(path, "old");
  {
    Result<OutputFile> file = OutputFile::create(path);
    ASSERT_TRUE(file.has_value());
    ASSERT_TRUE(file->append(bytes_in("new")).has_value());
    EXPECT_EQ(get(path), "old");
  }
  EXPECT_EQ(folder.names(), Names{"out"});
  EXPECT_EQ(get(path), "old");
  ASSERT_TRUE(write_file(path, "new").has_value());
  EXPECT_EQ(get(path), "new");
}

TEST(OutputFile, MovedFilesCleanUpOnce) {
  const TempFolder folder;
  {
    Result<OutputFile> a = OutputFile::create(folder.file("a"));
    Result<OutputFile> b = OutputFile::create(folder.file("b"));
    ASSERT_TRUE(a.has_value() && b.has_value());
    OutputFile kept = std::move(*a);
    kept = std::move(*b);  // a's temporary file goes now
    EXPECT_EQ(folder.names().size(), 1u);
    ASSERT_TRUE(kept.append(bytes_in("b")).has_value());
    ASSERT_TRUE(kept.commit().has_value());
  }
  EXPECT_EQ(folder.names(), Names{"b"});
}

TEST(OutputFile, TwoWritersOfOneNameDoNotMix) {
  const TempFolder folder;
  Result<OutputFile> first = OutputFile::create(folder.file("a"));
  Result<OutputFile> second = OutputFile::create(folder.file("a"));
  ASSERT_TRUE(first.has_value() && second.has_value());
  ASSERT_TRUE(first->append(bytes_in("first")).has_value());
  ASSERT_TRUE(second->append(bytes_in("second")).has_value());
  ASSERT_TRUE(second->commit().has_value());
  ASSERT_TRUE(first->commit().has_value());
  EXPECT_EQ(get(folder.file("a")), "first");
  EXPECT_EQ(folder.names(), Names{"a"});
}

TEST(OutputFile, RefusesNamesThatCannotBeFiles) {
  const TempFolder folder;
  std::filesystem::create_directory(folder.file("folder"));
  ASSERT_EQ(mkfifo(folder.file("fifo").c_str(), 0600), 0);
  const Names before = folder.names();
  for (const std::string& path :
       {folder.file("folder"), folder.file("fifo"), folder.file("none/out"), folder.path() + "/",
        folder.file("."), folder.file(".."), std::string(), folder.file(std::string(255, 'n')),
        folder.file(std::string_view("a\0b", 3))}) {
    const Result<OutputFile> file = OutputFile::create(path);
    ASSERT_FALSE(file.has_value()) << path;
    EXPECT_EQ(file.error().code, ErrorCode::kIo) << file.error().message;
  }
  EXPECT_EQ(folder.names(), before);
}

TEST(OutputFile, WritesInTheWorkingFolder) {
  const TempFolder folder;
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  const Status status = write_file("bare", "x");
  std::filesystem::current_path(before);
  EXPECT_TRUE(status.has_value());
  EXPECT_EQ(folder.names(), Names{"bare"});
}

TEST(OutputFile, OffsetsThatOverflowAreErrors) {
  const TempFolder folder;
  Result<OutputFile> file = OutputFile::create(folder.file("a"));
  ASSERT_TRUE(file.has_value());
  for (const uint64_t offset : {uint64_t{1} << 63, std::numeric_limits<uint64_t>::max()}) {
    const Status status = file->write_at(offset, bytes_in("x"));
    ASSERT_FALSE(status.has_value());
    expect_error(status.error(), ErrorCode::kIo, folder.file("a"));
  }
}

TEST(Files, CopyIsExactAndAtomic) {
  const TempFolder folder;
  std::string content((size_t{2} << 20) + 17, '\0');
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 131 >> 3);
  put(folder.file("from"), content);
  put(folder.file("empty"), "");
  ASSERT_TRUE(copy_file(folder.file("from"), folder.file("to")).has_value());
  EXPECT_EQ(get(folder.file("to")), content);
  ASSERT_TRUE(copy_file(folder.file("empty"), folder.file("to")).has_value());
  EXPECT_EQ(get(folder.file("to")), "");
  const Status missing = copy_file(folder.file("none"), folder.file("to2"));
  ASSERT_FALSE(missing.has_value());
  expect_error(missing.error(), ErrorCode::kMissing, folder.file("none"));
  EXPECT_EQ(folder.names(), (Names{"empty", "from", "to"}));
}

TEST(Files, TextUpToALimit) {
  const TempFolder folder;
  put(folder.file("t"), "12345");
  EXPECT_EQ(read_text_file(folder.file("t"), 5).value(), "12345");
  const Result<std::string> large = read_text_file(folder.file("t"), 4);
  ASSERT_FALSE(large.has_value());
  expect_error(large.error(), ErrorCode::kBadHeader, "5 bytes, more than the 4");
}

TEST(Files, ExistsMeansARegularFile) {
  const TempFolder folder;
  put(folder.file("a"), "");
  std::filesystem::create_symlink("a", folder.file("link"));
  std::filesystem::create_symlink("none", folder.file("dangling"));
  EXPECT_TRUE(file_exists(folder.file("a")));
  EXPECT_TRUE(file_exists(folder.file("link")));
  EXPECT_FALSE(file_exists(folder.file("dangling")));
  EXPECT_FALSE(file_exists(folder.path()));
  EXPECT_FALSE(file_exists(folder.file("none")));
}

}  // namespace
}  // namespace hlwq
