// Memory as the system and its control groups say it, from made-up files.

#include "base/available_memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace hlwq {
namespace {

class AvailableMemory : public testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::path(testing::TempDir()) / ("memory_" + std::to_string(::getpid()));
    write("proc/meminfo", "MemTotal: 2000 kB\nMemFree: 10 kB\nMemAvailable:    1000 kB\n");
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text;
  }
  [[nodiscard]] int64_t available() const { return available_memory_bytes(root_.string()); }
  std::filesystem::path root_;
};

TEST_F(AvailableMemory, IsWhatTheSystemSays) {
  EXPECT_EQ(available(), 1000 * 1024);
  write("proc/self/cgroup", "0::/\n");
  write("sys/fs/cgroup/memory.max", "max\n");
  write("sys/fs/cgroup/memory.current", "5\n");
  EXPECT_EQ(available(), 1000 * 1024);
  EXPECT_GT(available_memory_bytes(), 0);
  EXPECT_EQ(available_memory_bytes("/nowhere/at/all"), 0);
}

TEST_F(AvailableMemory, IsWhatTheTightestGroupLeaves) {
  write("proc/self/cgroup", "0::/user/scope\n");
  write("sys/fs/cgroup/user/memory.max", "400000\n");
  write("sys/fs/cgroup/user/memory.current", "300000\n");
  write("sys/fs/cgroup/user/memory.stat", "anon 7\ninactive_file 50000\nactive_file 3\n");
  write("sys/fs/cgroup/user/scope/memory.max", "max\n");
  write("sys/fs/cgroup/user/scope/memory.current", "10\n");
  EXPECT_EQ(available(), 150000);
  write("sys/fs/cgroup/user/scope/memory.max", "1000\n");
  EXPECT_EQ(available(), 990);
  write("sys/fs/cgroup/user/scope/memory.current", "2000\n");
  EXPECT_EQ(available(), 0);
}

TEST_F(AvailableMemory, KnowsVersionOne) {
  write("proc/self/cgroup", "12:cpu,cpuacct:/a\n5:memory:/a/b\n");
  write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "5000\n");
  write("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "1000\n");
  EXPECT_EQ(available(), 4000);
}

}  // namespace
}  // namespace hlwq
