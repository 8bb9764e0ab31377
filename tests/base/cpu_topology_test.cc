// CPUs, cores, quotas and memory nodes from made-up files, and what this machine says.

#include "base/cpu_topology.h"

#include <gtest/gtest.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/cpu_features.h"

namespace hlwq {
namespace {

using Cpus = std::vector<int>;

class CpuTopology : public testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::path(testing::TempDir()) / ("topology_" + std::to_string(::getpid()));
    std::filesystem::create_directories(root_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text;
  }
  void siblings(const std::string& file, int cpu, const std::string& list) {
    write("sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/" + file, list + "\n");
  }
  void node(int number, const std::string& cpus) {
    write("sys/devices/system/node/node" + std::to_string(number) + "/cpulist", cpus + "\n");
  }
  [[nodiscard]] int cores(const Cpus& cpus) const { return count_cores(cpus, root_.string()); }
  [[nodiscard]] Cpus nodes(const Cpus& cpus) const { return nodes_of(cpus, root_.string()); }
  [[nodiscard]] int quota() const { return cgroup_cpus(root_.string()); }
  std::filesystem::path root_;
};

TEST_F(CpuTopology, ReadsLists) {
  EXPECT_EQ(parse_cpu_list("0"), Cpus({0}));
  EXPECT_EQ(parse_cpu_list("0-3,8,10-11"), Cpus({0, 1, 2, 3, 8, 10, 11}));
  EXPECT_EQ(parse_cpu_list(""), Cpus());
  for (const char* text : {"a", "1-", "-1", "3-1", "1 2", "1,,2", "0-99999999", "99999999999"})
    EXPECT_EQ(parse_cpu_list(text), Cpus()) << text;
}

TEST_F(CpuTopology, CountsACoreOnce) {
  // Two cores of two threads, numbered as most servers do: 0 and 2, 1 and 3.
  for (const int cpu : {0, 2}) siblings("core_cpus_list", cpu, "0,2");
  for (const int cpu : {1, 3}) siblings("core_cpus_list", cpu, "1,3");
  EXPECT_EQ(cores({0, 1, 2, 3}), 2);
  EXPECT_EQ(cores({0, 1}), 2);
  EXPECT_EQ(cores({0, 2}), 1);
  EXPECT_EQ(cores({2, 3}), 2) << "the core's first CPU is not allowed";
  EXPECT_EQ(cores({3}), 1);
}

TEST_F(CpuTopology, CountsCoresUnderTheOldName) {
  for (const int cpu : {0, 1}) siblings("thread_siblings_list", cpu, "0-1");
  for (const int cpu : {2, 3}) siblings("thread_siblings_list", cpu, "2-3");
  EXPECT_EQ(cores({0, 1, 2, 3}), 2);
  EXPECT_EQ(cores({1, 2, 3}), 2);
}

TEST_F(CpuTopology, CountsEveryCpuWhereNothingIsListed) {
  EXPECT_EQ(cores({0, 1, 2, 3}), 4);
  siblings("core_cpus_list", 0, "0-1");
  siblings("core_cpus_list", 1, "0-1");
  EXPECT_EQ(cores({0, 1, 2, 3}), 3);
}

TEST_F(CpuTopology, TakesTheTightestQuotaOfTheGroupsAbove) {
  EXPECT_EQ(quota(), 0);
  write("proc/self/cgroup", "0::/user/scope/run\n");
  EXPECT_EQ(quota(), 0) << "a path of the host that is not there";
  write("sys/fs/cgroup/user/scope/run/cpu.max", "max 100000\n");
  EXPECT_EQ(quota(), 0);
  write("sys/fs/cgroup/user/scope/cpu.max", "800000 100000\n");
  EXPECT_EQ(quota(), 8);
  write("sys/fs/cgroup/user/cpu.max", "250000 100000\n");
  EXPECT_EQ(quota(), 3) << "2.5 CPUs, rounded up";
  write("sys/fs/cgroup/user/scope/run/cpu.max", "100000 100000\n");
  EXPECT_EQ(quota(), 1);
}

TEST_F(CpuTopology, SeesTheQuotaAtTheMountOfAContainer) {
  write("proc/self/cgroup", "0::/docker/0123\n");
  write("sys/fs/cgroup/cpu.max", "400000 100000\n");
  EXPECT_EQ(quota(), 4);
  write("proc/self/cgroup", "0::/\n");
  EXPECT_EQ(quota(), 4);
}

TEST_F(CpuTopology, KnowsVersionOne) {
  write("proc/self/cgroup",
        "9:cpuset:/a\n7:memory:/a\n4:cpu,cpuacct:/a/b\n1:name=systemd:/\n0::/\n");
  write("sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), 0);
  write("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "150000\n");
  write("sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "50000\n");
  EXPECT_EQ(quota(), 3);
  write("proc/self/cgroup", "4:cpuacct:/a/b\n9:cpuset:/a/b\n");
  EXPECT_EQ(quota(), 0) << "another controller's path";
}

TEST_F(CpuTopology, FindsTheNodesOfTheCpus) {
  EXPECT_EQ(nodes({0, 1}), Cpus());
  write("sys/devices/system/node/online", "0-1,3\n");
  node(0, "0-3");
  node(1, "4-7");
  node(3, "");  // memory without CPUs
  EXPECT_EQ(nodes({0, 3}), Cpus({0}));
  EXPECT_EQ(nodes({5}), Cpus({1}));
  EXPECT_EQ(nodes({3, 4}), Cpus({0, 1}));
  EXPECT_EQ(nodes({9}), Cpus());
}

TEST_F(CpuTopology, FollowsTheAffinityMask) {
  const Cpus all = allowed_cpus();
  ASSERT_FALSE(all.empty());
  EXPECT_LE(usable_cpus(), static_cast<int>(all.size()));
  std::thread([&] {  // the mask is the thread's own
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<size_t>(all.back()), &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    EXPECT_EQ(allowed_cpus(), Cpus({all.back()}));
    EXPECT_EQ(usable_cpus(), 1);
  })
      .join();
}

// The policy the kernel notes for an address; -1 when it does not say.
int policy_at(void* address) {
  int policy = -1;
  return syscall(SYS_get_mempolicy, &policy, nullptr, 0UL, address,
                 static_cast<unsigned long>(MPOL_F_ADDR)) == 0
             ? policy
             : -1;
}

TEST(Interleave, SetsThePolicyOfTheMemoryAndOfNothingElse) {
  constexpr size_t kBytes = size_t{1} << 20;
  void* memory =
      mmap(nullptr, 2 * kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  void* const behind = static_cast<std::byte*>(memory) + kBytes;
  EXPECT_FALSE(interleave(memory, kBytes, Cpus()));
  EXPECT_FALSE(interleave(memory, kBytes, Cpus({0})));
  // The kernel leaves out nodes that are not there, so two can be asked for on every machine; a
  // node number without memory alone is refused.
  if (interleave(memory, kBytes, Cpus({0, 1}))) {
    EXPECT_EQ(policy_at(memory), MPOL_INTERLEAVE);
    EXPECT_EQ(policy_at(behind), MPOL_DEFAULT);
  } else {
    EXPECT_NE(policy_at(memory), MPOL_INTERLEAVE);
  }
  EXPECT_FALSE(interleave(behind, kBytes, Cpus({1000, 1001})));
  munmap(memory, 2 * kBytes);
}

}  // namespace
}  // namespace hlwq
