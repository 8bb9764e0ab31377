// Every system call of a write or a read fails in turn: the caller gets an error, and the folder
// holds the old file or the whole new one, nothing else.

#include <gtest/gtest.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <functional>

#include "io/file.h"
#include "io/safetensors.h"
#include "tests/io/temp_folder.h"

namespace {

enum class Fault {
  kNone,
  kError,      // the call fails with `error`
  kInterrupt,  // the call fails with EINTR once
  kShort,      // every call moves one byte
  kNothing,    // a read or write moves no byte
};

struct Plan {
  Fault fault = Fault::kNone;
  int at = -1;  // which call, from 0; kShort takes all
  int error = EIO;
  int calls = 0;
};
Plan plan;

// Whether this call is the one that fails.
bool strikes() { return plan.fault != Fault::kNone && plan.calls++ == plan.at; }

}  // namespace

// The linker sends the calls of src/io here (--wrap, CMakeLists.txt).
extern "C" {
ssize_t __real_pread(int fd, void* out, size_t bytes, off_t offset);
ssize_t __real_pwrite(int fd, const void* in, size_t bytes, off_t offset);
int __real_fsync(int fd);
int __real_close(int fd);
int __real_rename(const char* from, const char* to);

ssize_t __wrap_pread(int fd, void* out, size_t bytes, off_t offset) {
  if (plan.fault == Fault::kShort) bytes = bytes > 0 ? 1 : 0;
  if (strikes()) {
    if (plan.fault == Fault::kNothing) return 0;
    errno = plan.fault == Fault::kInterrupt ? EINTR : plan.error;
    return -1;
  }
  return __real_pread(fd, out, bytes, offset);
}

ssize_t __wrap_pwrite(int fd, const void* in, size_t bytes, off_t offset) {
  if (plan.fault == Fault::kShort) bytes = bytes > 0 ? 1 : 0;
  if (strikes()) {
    if (plan.fault == Fault::kNothing) return 0;
    errno = plan.fault == Fault::kInterrupt ? EINTR : plan.error;
    return -1;
  }
  return __real_pwrite(fd, in, bytes, offset);
}

int __wrap_fsync(int fd) {
  if (plan.fault == Fault::kError && strikes()) {
    errno = plan.error;
    return -1;
  }
  return __real_fsync(fd);
}

int __wrap_close(int fd) {
  const int result = __real_close(fd);  // a failed close has closed all the same
  if (plan.fault == Fault::kError && strikes()) {
    errno = plan.error;
    return -1;
  }
  return result;
}

int __wrap_rename(const char* from, const char* to) {
  if (plan.fault == Fault::kError && strikes()) {
    errno = plan.error;
    return -1;
  }
  return __real_rename(from, to);
}
}

namespace hlwq {
namespace {

using testing_support::get;
using testing_support::put;
using testing_support::TempFolder;
using Names = std::vector<std::string>;

// Runs `work` under `faults`; the plan ends with it, so that the test's own calls are untouched.
Status with_faults(const Plan& faults, const std::function<Status()>& work) {
  plan = faults;
  const Status status = work();
  plan = {};
  return status;
}

Status write_checkpoint(const std::string& path) {
  HLWQ_TRY_ASSIGN(
      SafetensorsWriter writer,
      SafetensorsWriter::create(path, {{.name = "w", .dtype = DType::kU8, .shape = {100}}}, {}));
  const std::vector<std::byte> bytes(100, std::byte{7});
  HLWQ_TRY(writer.write(0, 50, std::span(bytes).subspan(50)));
  HLWQ_TRY(writer.write(0, 0, std::span(bytes).first(50)));
  return writer.commit();
}

class WriteFaults : public testing::TestWithParam<int> {};

TEST_P(WriteFaults, LeaveTheOldFileOrTheNewOne) {
  const TempFolder folder;
  const std::string path = folder.file("model.safetensors");
  ASSERT_TRUE(write_checkpoint(path).has_value());
  const std::string whole = get(path);

  int failures = 0;
  for (int at = 0;; ++at) {
    SCOPED_TRACE(at);
    put(path, "old");
    const Status status = with_faults({.fault = Fault::kError, .at = at, .error = GetParam()},
                                      [&] { return write_checkpoint(path); });
    EXPECT_EQ(folder.names(), Names{"model.safetensors"});
    const std::string left = get(path);
    if (status) {
      EXPECT_EQ(left, whole);
      // The folder's own close, the last call, has nothing to report: one fault without effect.
      if (at > failures) break;
      continue;
    }
    ++failures;
    EXPECT_TRUE(left == "old" || left == whole);
    EXPECT_EQ(status.error().code, ErrorCode::kIo);
    EXPECT_TRUE(status.error().message.starts_with(folder.path())) << status.error().message;
    ASSERT_LT(at, 100);
  }
  // Header, two parts, fsync, close, rename, fsync of the folder.
  EXPECT_EQ(failures, 7);
}

INSTANTIATE_TEST_SUITE_P(Errors, WriteFaults, testing::Values(ENOSPC, EIO, EDQUOT, ENOENT));

TEST(WriteFault, AFullDiskSaysSo) {
  const TempFolder folder;
  const std::string path = folder.file("a");
  const Status status = with_faults({.fault = Fault::kError, .at = 0, .error = ENOSPC},
                                    [&] { return write_file(path, "content"); });
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().message,
            path + ": cannot write 7 bytes at byte 0: No space left on device");
  EXPECT_EQ(folder.names(), Names{});
}

TEST(WriteFault, AWriteThatMovesNothingEnds) {
  const TempFolder folder;
  const Status status = with_faults({.fault = Fault::kNothing, .at = 0},
                                    [&] { return write_file(folder.file("a"), "content"); });
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code, ErrorCode::kIo);
  EXPECT_EQ(folder.names(), Names{});
}

TEST(WriteFault, ShortAndInterruptedCallsAreContinued) {
  const TempFolder folder;
  put(folder.file("from"), "0123456789");
  for (const Plan& faults :
       {Plan{.fault = Fault::kShort}, Plan{.fault = Fault::kInterrupt, .at = 0},
        Plan{.fault = Fault::kInterrupt, .at = 1}}) {
    const Status status =
        with_faults(faults, [&] { return copy_file(folder.file("from"), folder.file("to")); });
    ASSERT_TRUE(status.has_value()) << status.error().message;
    EXPECT_EQ(get(folder.file("to")), "0123456789");
    ASSERT_EQ(std::remove(folder.file("to").c_str()), 0);
  }
}

TEST(ReadFault, EveryFailedReadIsReported) {
  const TempFolder folder;
  const std::string path = folder.file("a.safetensors");
  ASSERT_TRUE(write_checkpoint(path).has_value());
  const auto work = [&]() -> Status {
    HLWQ_TRY_ASSIGN(const SafetensorsFile file, SafetensorsFile::open(path));
    std::byte bytes[100];
    return file.read(file.tensors()[0], 0, bytes);
  };
  for (const Fault fault : {Fault::kError, Fault::kNothing}) {
    for (int at = 0; at < 3; ++at) {  // length field, header, data
      const Status status = with_faults({.fault = fault, .at = at}, work);
      ASSERT_FALSE(status.has_value());
      EXPECT_EQ(status.error().code, ErrorCode::kIo);
      EXPECT_TRUE(status.error().message.starts_with(path)) << status.error().message;
    }
  }
  EXPECT_TRUE(with_faults({.fault = Fault::kShort}, work).has_value());
}

}  // namespace
}  // namespace hlwq
