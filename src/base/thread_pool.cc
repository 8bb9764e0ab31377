#include "base/thread_pool.h"

#include <chrono>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/float_mode.h"

namespace hlwq {
namespace {

constexpr uint64_t kTasksMask = 0xffffffffu;
constexpr auto kWatch = std::chrono::microseconds(50);

inline void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Watches until done() holds or the time is over; says which.
template <typename Done>
bool watch(Done&& done) {
  const auto until = std::chrono::steady_clock::now() + kWatch;
  do {
    for (int i = 0; i < 64; ++i) {
      if (done()) return true;
      pause_cpu();
    }
  } while (std::chrono::steady_clock::now() < until);
  return false;
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  HLWQ_CHECK(threads >= 1);
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stop_.store(true);
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

bool ThreadPool::claim_and_run() {
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  while ((ticket & kTasksMask) != 0) {
    void* const fn = fn_.load(std::memory_order_relaxed);
    const TaskFn call = call_.load(std::memory_order_relaxed);
    const int64_t tasks = tasks_.load(std::memory_order_relaxed);
    if (!ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel,
                                       std::memory_order_acquire))
      continue;
    try {
      call(fn, tasks - static_cast<int64_t>(ticket & kTasksMask));
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
    }
    if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) pending_.notify_one();
    return true;
  }
  return false;
}

void ThreadPool::work() {
  const PinnedFloatMode pinned;
  const auto has_work = [this] {
    return (ticket_.load(std::memory_order_relaxed) & kTasksMask) != 0 ||
           stop_.load(std::memory_order_relaxed);
  };
  while (!stop_.load()) {
    while (claim_and_run()) {
    }
    if (watch(has_work)) continue;
    std::unique_lock lock(mutex_);
    sleepers_.fetch_add(
        1);  // before the test below: `run` publishes first, then looks for sleepers
    wake_.wait(lock, [this] { return (ticket_.load() & kTasksMask) != 0 || stop_.load(); });
    sleepers_.fetch_sub(1);
  }
}

void ThreadPool::run_erased(int64_t tasks, void* fn, TaskFn call) {
  HLWQ_CHECK(tasks >= 0 && tasks <= std::numeric_limits<int32_t>::max());
  if (tasks == 0) return;
  if (workers_.empty() || tasks == 1) {
    for (int64_t t = 0; t < tasks; ++t) call(fn, t);
    return;
  }
  const uint64_t job = (ticket_.load(std::memory_order_relaxed) >> 32) + 1;
  // The old ticket has no task left, so no worker reads the fields for a claim that can succeed.
  fn_.store(fn, std::memory_order_relaxed);
  call_.store(call, std::memory_order_relaxed);
  tasks_.store(tasks, std::memory_order_relaxed);
  pending_.store(static_cast<int32_t>(tasks), std::memory_order_relaxed);
  ticket_.store(job << 32 | static_cast<uint64_t>(tasks));
  if (sleepers_.load() > 0) {
    const std::lock_guard lock(mutex_);
    wake_.notify_all();
  }
  while (claim_and_run()) {
  }
  watch([this] { return pending_.load(std::memory_order_acquire) == 0; });
  for (int32_t left = pending_.load(std::memory_order_acquire); left != 0;
       left = pending_.load(std::memory_order_acquire))
    pending_.wait(left, std::memory_order_acquire);
  if (error_) {
    std::exception_ptr error = std::exchange(error_, nullptr);
    std::rethrow_exception(error);
  }
}

}  // namespace hlwq
