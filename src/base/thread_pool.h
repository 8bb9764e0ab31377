#pragma once
// A fixed pool for the parallel loops of kernels and converters.
//
// Protocol. `ticket_` holds (job number << 32 | tasks not yet claimed). `run` closes the old ticket
// (none left), writes the job's fields, then publishes a new ticket; a worker that sees tasks left
// reads the fields and claims one by compare-and-swap, which fails if the ticket changed since, so
// nobody runs a task with another job's fields. `pending_` counts tasks not yet finished; `run`
// returns when it is 0, so everything the tasks wrote is visible to the caller.
// An idle worker watches the ticket for some microseconds (a decode step starts its next loop
// within that time) and then sleeps, so that an idle engine uses no core.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace hlwq {

class ThreadPool {
 public:
  // `threads` counts the calling thread too: 1 starts no worker.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  [[nodiscard]] int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls fn(task) for every task in [0, tasks) on the pool and the calling thread, in any order,
  // and waits. The first exception a task threw is thrown here after all tasks ended. One caller at
  // a time; not from inside a task.
  template <typename Fn>
  void run(int64_t tasks, Fn&& fn) {
    run_erased(tasks, const_cast<void*>(static_cast<const void*>(&fn)), [](void* f, int64_t task) {
      (*static_cast<std::remove_reference_t<Fn>*>(f))(task);
    });
  }

  // Calls fn(begin, end) on consecutive ranges of at least `grain` items that cover [0, items).
  template <typename Fn>
  void run_ranges(int64_t items, int64_t grain, Fn&& fn) {
    if (items <= 0) return;
    const int64_t most = (items + grain - 1) / grain;
    const int64_t tasks = most < 4 * threads() ? most : 4 * threads();
    run(tasks, [&](int64_t t) { fn(items * t / tasks, items * (t + 1) / tasks); });
  }

 private:
  using TaskFn = void (*)(void* fn, int64_t task);
  void run_erased(int64_t tasks, void* fn, TaskFn call);
  void work();
  bool claim_and_run();  // false when no task was left

  std::atomic<uint64_t> ticket_{0};
  std::atomic<void*> fn_{nullptr};
  std::atomic<TaskFn> call_{nullptr};
  std::atomic<int64_t> tasks_{0};
  std::atomic<int32_t> pending_{0};
  std::atomic<int> sleepers_{0};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;  // guards error_ and the sleep of workers
  std::condition_variable wake_;
  std::exception_ptr error_;
  std::vector<std::thread> workers_;
};

}  // namespace hlwq
