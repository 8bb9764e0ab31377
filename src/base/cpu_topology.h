#pragma once
// Which CPUs and memory nodes this process may use. `root` is where /proc and /sys are (tests).

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace hlwq {

// The CPUs of a kernel list such as "0-3,8". What is no list gives none.
[[nodiscard]] std::vector<int> parse_cpu_list(const std::string& text);

// The affinity mask of this thread, ascending; empty where the system does not say.
[[nodiscard]] std::vector<int> allowed_cpus();

// How many of `cpus` to use for work that memory limits: one a physical core, because the second
// hardware thread of a core waits for the same memory. A CPU whose siblings the system does not
// list is a core of its own.
[[nodiscard]] int count_cores(std::span<const int> cpus, const std::string& root = "");

// CPUs that the tightest quota among this process' control groups allows, rounded up; 0: no quota.
[[nodiscard]] int cgroup_cpus(const std::string& root = "");

// The memory nodes that have one of `cpus`, ascending; empty where the system does not say.
[[nodiscard]] std::vector<int> nodes_of(std::span<const int> cpus, const std::string& root = "");

// Asks for pages nobody touched yet to be spread over `nodes` in turn, so that the controllers of
// all of them serve a reader. `memory` starts a page. False if there is nothing to spread over, the
// user chose a policy (numactl) or the system refuses (containers often do): then a page comes from
// the node of the thread that touches it first.
bool interleave(void* memory, size_t bytes, std::span<const int> nodes);

}  // namespace hlwq
