// What a parallel region costs beyond its work: one right after the other, and in steps whose
// regions come 250 us apart, as when the CPU computes experts for a GPU.
//   base_thread_pool_bench [--benchmark_...]    back_to_back/..., gaps/.../awake:0|1

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/cpu_features.h"
#include "base/thread_pool.h"

namespace hlwq {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::microseconds kGap{250};
constexpr int64_t kRegions = 4000;  // of a measurement; the gaps would count for none by themselves

void spin(std::chrono::nanoseconds time) {
  if (time.count() == 0) return;  // reading the clock takes longer than claiming a task
  const auto until = Clock::now() + time;
  while (Clock::now() < until) benchmark::ClobberMemory();
}

// Regions of `tasks` tasks of `task_time`; the time of a region alone counts.
void regions(benchmark::State& state, int threads, int64_t tasks,
             std::chrono::nanoseconds task_time, std::chrono::nanoseconds gap, bool awake) {
  ThreadPool pool(threads);
  std::optional<ThreadPool::Awake> guard;
  if (awake) guard.emplace(pool.keep_awake());
  for (auto _ : state) {
    spin(gap);
    const auto begin = Clock::now();
    pool.run(tasks, [&](int64_t) { spin(task_time); });
    state.SetIterationTime(std::chrono::duration<double>(Clock::now() - begin).count());
  }
}

void register_all() {
  std::vector<int> thread_counts{1, 2, 4, 8, 16, 32, 64};
  std::erase_if(thread_counts, [](int threads) { return threads > 2 * usable_cpus(); });
  for (const int threads : thread_counts) {
    for (const int task_ns : {0, 2000}) {
      const auto task_time = std::chrono::nanoseconds(task_ns);
      const auto add = [&](std::string_view kind, std::chrono::nanoseconds gap, bool awake) {
        const int64_t tasks = 64;
        benchmark::RegisterBenchmark(
            fmt::format("{}/threads:{}/tasks:{}/task_ns:{}/awake:{}", kind, threads, tasks, task_ns,
                        awake ? 1 : 0)
                .c_str(),
            [=](benchmark::State& state) { regions(state, threads, tasks, task_time, gap, awake); })
            ->UseManualTime()
            ->Iterations(kRegions)
            ->Unit(benchmark::kMicrosecond);
      };
      add("back_to_back", std::chrono::nanoseconds(0), false);
      add("gaps", kGap, false);
      add("gaps", kGap, true);
    }
  }
}

}  // namespace
}  // namespace hlwq

int main(int argc, char** argv) {
  hlwq::register_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
