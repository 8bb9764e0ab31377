#pragma once
// A fixed pool for the parallel loops of kernels and converters.
//
// Protocol. Thread i of n (the caller of `run` is thread 0) has a share of each job: the tasks
// [tasks*i/n, tasks*(i+1)/n), so that it reads one stretch of a matrix and claims without touching
// another core's cache line; out of work, it takes over tasks of the other shares.
//   ticket_          job number << 32 | tasks of the job
//   share.left       job number << 32 | tasks of the share nobody claimed
//   pending_         tasks of the job that have not ended
// - `run` writes the job's fields, then publishes the ticket: one store, and the shares keep what
//   the last job left there. A share with another number than the ticket's is full if the ticket
//   is still published after the share was read, as no share can then be of a later job.
// - A claim replaces share.left by {the ticket's number, one less}. It fails if the share changed,
//   and a share never shows an old value again (numbers grow; they wrap after 2^32 jobs). So a
//   thread that read the ticket and lost its CPU finds tasks of its own job or none.
// - A claim that succeeds proves that its job has not ended, so the fields, read before it, are
//   that job's: `run` writes new ones only after pending_ reached 0.
// - A thread counts its finished tasks down once a share, not once a task. `run` returns when
//   pending_ is 0, so everything the tasks wrote is visible to the caller.
// - Sleep: a worker adds itself to sleepers_, looks at the ticket once more and waits for wakes_ to
//   change; whoever publishes a ticket looks at sleepers_ after that and then changes wakes_. Both
//   in sequential consistency, so that one of them sees the other.
//
// Idle workers watch the ticket for some microseconds (a decode step starts its next loop within
// that time) and then sleep, so that an idle engine uses no core. keep_awake() makes them watch
// longer. A watcher gives way to other threads, and sleeps at once when it lost its CPU meanwhile.
// Threads are not pinned to CPUs: beside another load a pinned thread waits for its CPU while a
// free one stands idle, and two engines would pin to the same.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace hlwq {

class ThreadPool {
 public:
  // How long a thread without work watches for some before it sleeps.
  struct Watch {
    std::chrono::microseconds idle{50};
    std::chrono::microseconds awake{100'000};  // while an Awake lives
    std::chrono::microseconds lost{500};       // without a CPU: others wait for it, so sleep now
  };
  // Keeps the workers watching while it lives; they sleep nevertheless after Watch::awake without
  // a job, and the next job wakes them.
  class Awake {
   public:
    Awake(Awake&& other) noexcept : pool_(std::exchange(other.pool_, nullptr)) {}
    Awake& operator=(Awake&&) = delete;
    ~Awake();

   private:
    friend class ThreadPool;
    explicit Awake(ThreadPool& pool);
    ThreadPool* pool_;
  };

  // `threads` counts the calling thread too: 1 starts no worker.
  explicit ThreadPool(int threads, Watch watch);
  explicit ThreadPool(int threads) : ThreadPool(threads, Watch{}) {}
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  [[nodiscard]] int threads() const { return static_cast<int>(shares_.size()); }

  // Wakes the workers and keeps them awake: for a step whose jobs come some hundred microseconds
  // apart, less than waking all workers for each would take. From any thread; several may live.
  [[nodiscard]] Awake keep_awake() { return Awake(*this); }
  // Workers that sleep right now.
  [[nodiscard]] int sleeping() const { return sleepers_.load(); }

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
  // Two cache lines: the processor fetches them in pairs.
  struct alignas(128) Share {
    std::atomic<uint64_t> left{0};
  };

  void run_erased(int64_t tasks, void* fn, TaskFn call);
  void work(int64_t thread);
  void work_on(uint64_t ticket, int64_t thread);
  int32_t run_share(uint64_t ticket, int64_t owner);
  void wake_sleepers();
  void stop();
  template <typename Done>
  bool watch(Done&& done) const;

  // Written by `run`, read by everybody.
  alignas(128) std::atomic<uint64_t> ticket_{0};
  std::atomic<void*> fn_{nullptr};
  std::atomic<TaskFn> call_{nullptr};
  // Written by everybody, once a job or less.
  alignas(128) std::atomic<int32_t> pending_{0};
  alignas(128) std::atomic<uint32_t> wakes_{0};
  std::atomic<int> sleepers_{0};
  std::atomic<int> awake_{0};  // living guards
  std::atomic<bool> stop_{false};
  std::mutex mutex_;  // guards error_
  std::exception_ptr error_;
  const Watch watch_;
  std::vector<Share> shares_;
  std::vector<std::thread> workers_;
};

}  // namespace hlwq
