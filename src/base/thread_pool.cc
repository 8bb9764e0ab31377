#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "base/float_mode.h"
#include "base/pause.h"

namespace hlwq {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kCountMask = 0xffffffffu;
// A watcher looks at the clock every so many pauses (1 to 3 us).
constexpr int kPauses = 64;
// Watched without asking how many CPUs there are: the next loop of a step mostly starts within.
constexpr auto kSpin = std::chrono::microseconds(10);

// CPUs this thread may use now: the user may change that while we run. Many where nobody says.
int allowed_cpu_count() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return CPU_SETSIZE;
  return CPU_COUNT(&set);
}

uint64_t job_of(uint64_t word) { return word >> 32; }
int64_t count_of(uint64_t word) { return static_cast<int64_t>(word & kCountMask); }

}  // namespace

ThreadPool::Awake::Awake(ThreadPool& pool) : pool_(&pool) {
  pool.awake_.fetch_add(1);
  pool.wake_sleepers();
}

ThreadPool::Awake::~Awake() {
  if (pool_ != nullptr) pool_->awake_.fetch_sub(1);
}

ThreadPool::ThreadPool(int threads, Watch watch)
    : watch_(watch), shares_(static_cast<size_t>(std::max(threads, 1))) {
  HLWQ_CHECK(threads >= 1);
  try {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
  } catch (...) {  // the system gives no more threads
    stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  stop_.store(true);
  wake_sleepers();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::wake_sleepers() {
  if (sleepers_.load() == 0) return;
  wakes_.fetch_add(1);
  wakes_.notify_all();
}

// Watches until done() holds, the time is over or others need this CPU; says whether it holds.
template <typename Done>
bool ThreadPool::watch(Done&& done) const {
  const auto begin = Clock::now();
  bool asked = false, crowded = false;
  for (auto last = begin;;) {
    for (int i = 0; i < kPauses; ++i) {
      if (done()) return true;
      pause_cpu();
    }
    const auto now = Clock::now();
    const auto limit = awake_.load(std::memory_order_relaxed) > 0 ? watch_.awake : watch_.idle;
    if (now - begin >= limit || now - last >= watch_.lost) return done();
    last = now;
    if (now - begin < kSpin) continue;
    // Beside other programs a watcher must not yield: it would get its CPU back, and the next job,
    // milliseconds later. A thread of the pool that waits for this CPU goes first, though.
    if (!asked) crowded = allowed_cpu_count() < threads(), asked = true;
    if (crowded) std::this_thread::yield();
  }
}

// Runs tasks of a share until none is left; returns how many.
int32_t ThreadPool::run_share(uint64_t ticket, int64_t owner) {
  const int64_t tasks = count_of(ticket), threads = static_cast<int64_t>(shares_.size());
  const int64_t end = tasks * (owner + 1) / threads;
  const int64_t all = end - tasks * owner / threads;
  std::atomic<uint64_t>& share = shares_[static_cast<size_t>(owner)].left;
  uint64_t word = share.load(std::memory_order_acquire);
  for (int32_t ran = 0;;) {
    const bool touched = job_of(word) == job_of(ticket);
    const int64_t left = touched ? count_of(word) : all;
    if (left == 0) return ran;
    if (!touched && ticket_.load(std::memory_order_acquire) != ticket) return ran;  // a later job's
    void* const fn = fn_.load(std::memory_order_relaxed);
    const TaskFn call = call_.load(std::memory_order_relaxed);
    const uint64_t claimed = job_of(ticket) << 32 | static_cast<uint64_t>(left - 1);
    if (!share.compare_exchange_strong(word, claimed, std::memory_order_acq_rel,
                                       std::memory_order_acquire))
      continue;
    try {
      call(fn, end - left);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
    }
    ++ran;
    word = claimed;
  }
}

// Runs what is left of the ticket's job, the own share first.
void ThreadPool::work_on(uint64_t ticket, int64_t thread) {
  const auto threads = static_cast<int64_t>(shares_.size());
  for (int64_t i = 0; i < threads; ++i) {
    const int32_t ran = run_share(ticket, (thread + i) % threads);
    if (ran == 0) continue;
    if (pending_.fetch_sub(ran, std::memory_order_acq_rel) == ran) {
      pending_.notify_one();
      return;
    }
  }
}

void ThreadPool::work(int64_t thread) {
  const PinnedFloatMode pinned;
  for (uint64_t seen = 0; !stop_.load();) {
    const auto news = [&] {
      return ticket_.load(std::memory_order_relaxed) != seen ||
             stop_.load(std::memory_order_relaxed);
    };
    if (!watch(news)) {
      const uint32_t wakes = wakes_.load();
      sleepers_.fetch_add(1);
      if (ticket_.load() == seen && !stop_.load()) wakes_.wait(wakes);
      sleepers_.fetch_sub(1);
    }
    if (const uint64_t ticket = ticket_.load(std::memory_order_acquire); ticket != seen) {
      seen = ticket;
      work_on(ticket, thread);
    }
  }
}

void ThreadPool::run_erased(int64_t tasks, void* fn, TaskFn call) {
  HLWQ_CHECK(tasks >= 0 && tasks <= std::numeric_limits<int32_t>::max());
  if (tasks == 0) return;
  if (workers_.empty() || tasks == 1) {
    for (int64_t t = 0; t < tasks; ++t) call(fn, t);
    return;
  }
  const uint64_t job = job_of(ticket_.load(std::memory_order_relaxed)) + 1;
  pending_.store(static_cast<int32_t>(tasks), std::memory_order_relaxed);
  fn_.store(fn, std::memory_order_relaxed);
  call_.store(call, std::memory_order_relaxed);
  const uint64_t ticket = job << 32 | static_cast<uint64_t>(tasks);
  ticket_.store(ticket);
  wake_sleepers();
  work_on(ticket, 0);
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
