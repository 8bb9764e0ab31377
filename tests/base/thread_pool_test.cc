#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

namespace hlwq {
namespace {

TEST(ThreadPool, RunsEveryTaskOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 2000; ++round) {
      const int64_t tasks = round % 37;
      std::vector<std::atomic<int>> hits(37);
      pool.run(tasks, [&](int64_t t) { hits[static_cast<size_t>(t)].fetch_add(1); });
      for (int64_t t = 0; t < 37; ++t)
        ASSERT_EQ(hits[static_cast<size_t>(t)].load(), t < tasks ? 1 : 0) << threads << " threads";
    }
  }
}

TEST(ThreadPool, RangesCoverTheItemsInOrder) {
  ThreadPool pool(3);
  for (const int64_t items : {0, 1, 7, 100, 1001}) {
    std::vector<std::atomic<int>> hits(static_cast<size_t>(items));
    pool.run_ranges(items, 8, [&](int64_t begin, int64_t end) {
      ASSERT_LE(begin, end);
      for (int64_t i = begin; i < end; ++i) hits[static_cast<size_t>(i)].fetch_add(1);
    });
    for (const auto& h : hits) ASSERT_EQ(h.load(), 1);
  }
}

TEST(ThreadPool, ThrowsWhatATaskThrewAndGoesOn) {
  ThreadPool pool(4);
  EXPECT_THROW(pool.run(16,
                        [](int64_t t) {
                          if (t == 5) throw std::runtime_error("five");
                        }),
               std::runtime_error);
  std::atomic<int> ran{0};
  pool.run(16, [&](int64_t) { ran.fetch_add(1); });
  EXPECT_EQ(ran.load(), 16);
}

// Waits for what must happen; a pool that never does it fails after a time no machine needs.
template <typename Done>
[[nodiscard]] bool happens(Done&& done) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!done()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::yield();
  }
  return true;
}

void run_something(ThreadPool& pool) {
  std::atomic<int> ran{0};
  pool.run(16, [&](int64_t) { ran.fetch_add(1); });
  ASSERT_EQ(ran.load(), 16);
}

// Workers sleep for want of work and for nothing else, under a guard never.
constexpr ThreadPool::Watch kLongAwake{.idle = std::chrono::microseconds(50),
                                       .awake = std::chrono::hours(1),
                                       .lost = std::chrono::hours(1)};

TEST(ThreadPool, JobsOfChangingWidthFollowEachOther) {
  // Most leave shares of some threads untouched, so that these are several jobs behind, and are so
  // short that threads still look for the tasks of one when the next ones run.
  for (const int threads : {2, 3, 5}) {
    ThreadPool pool(threads);
    std::vector<std::atomic<int>> hits(400);
    int64_t round = 0;
    for (; round < 100000; ++round) {
      const int64_t tasks = round % 500 == 0 ? 400 : 2 + round % 4;
      pool.run(tasks, [&](int64_t t) { hits[static_cast<size_t>(t)].fetch_add(1); });
    }
    EXPECT_EQ(hits[0].load(), round) << threads << " threads";
    EXPECT_EQ(hits[399].load(), round / 500) << threads << " threads";
  }
}

TEST(ThreadPool, AJobWakesAWorkerAndALongTaskItsCaller) {
  ThreadPool pool(2);
  const auto caller = std::this_thread::get_id();
  for (int round = 0; round < 3; ++round) {
    std::atomic<bool> begun{false}, ended{false};
    ASSERT_TRUE(happens([&] { return pool.sleeping() == 1; }));
    pool.run(2, [&](int64_t) {
      if (std::this_thread::get_id() == caller) {
        EXPECT_TRUE(happens([&] { return begun.load(); }));
      } else {
        begun.store(true);
        std::this_thread::sleep_for(std::chrono::milliseconds(5));  // longer than anybody watches
        ended.store(true);
      }
    });
    EXPECT_TRUE(ended.load());
  }
}

TEST(ThreadPool, AThreadDoesTheTasksOfOneThatIsHeld) {
  constexpr int64_t kTasks = 3 * 25;
  for (const bool hold_caller : {false, true}) {
    ThreadPool pool(3);
    const auto caller = std::this_thread::get_id();
    std::atomic<int64_t> held{0}, done{0};
    pool.run(kTasks, [&](int64_t) {
      if ((std::this_thread::get_id() == caller) == hold_caller) {
        held.fetch_add(1);  // until the other threads have done all the rest
        EXPECT_TRUE(happens([&] { return done.load() + held.load() == kTasks; }));
      } else {
        done.fetch_add(1);
      }
    });
    EXPECT_EQ(done.load() + held.load(), kTasks);
    EXPECT_LE(held.load(), 2);
  }
}

TEST(ThreadPool, AThreadTakesConsecutiveTasksOfItsShare) {
  // Nobody is out of work before everybody has begun, so the first task of each is its own share's.
  constexpr int kThreads = 4;
  ThreadPool pool(kThreads);
  std::mutex mutex;
  std::set<std::thread::id> begun;
  std::set<int64_t> first_tasks;
  std::atomic<int> begun_count{0};
  pool.run(kThreads * 10, [&](int64_t task) {
    {
      const std::lock_guard lock(mutex);
      if (!begun.insert(std::this_thread::get_id()).second) return;
      first_tasks.insert(task);
      begun_count.fetch_add(1);
    }
    EXPECT_TRUE(happens([&] { return begun_count.load() == kThreads; }));
  });
  EXPECT_EQ(first_tasks, (std::set<int64_t>{0, 10, 20, 30}));
}

TEST(ThreadPool, WorkersSleepWhenThereIsNoWork) {
  ThreadPool pool(4);
  EXPECT_TRUE(happens([&] { return pool.sleeping() == 3; }));
  for (int round = 0; round < 5; ++round) {
    run_something(pool);
    EXPECT_TRUE(happens([&] { return pool.sleeping() == 3; }));
  }
}

TEST(ThreadPool, AGuardWakesTheWorkersWithoutAJob) {
  ThreadPool pool(4, kLongAwake);
  ASSERT_TRUE(happens([&] { return pool.sleeping() == 3; }));
  const ThreadPool::Awake awake = pool.keep_awake();
  EXPECT_TRUE(happens([&] { return pool.sleeping() == 0; }));
  run_something(pool);
}

TEST(ThreadPool, WorkersSleepAfterTheLastGuard) {
  ThreadPool pool(2, kLongAwake);
  {
    const ThreadPool::Awake awake = pool.keep_awake();
    ASSERT_TRUE(happens([&] { return pool.sleeping() == 0; }));
    run_something(pool);
    { ThreadPool::Awake second = pool.keep_awake(), moved = std::move(second); }
    run_something(pool);
  }
  EXPECT_TRUE(happens([&] { return pool.sleeping() == 1; }));
  run_something(pool);
}

TEST(ThreadPool, WorkersStayAwakeUnderAGuard) {
  ThreadPool pool(2, kLongAwake);
  const ThreadPool::Awake awake = pool.keep_awake();
  ASSERT_TRUE(happens([&] { return pool.sleeping() == 0; }));
  for (int round = 0; round < 20; ++round) {
    run_something(pool);
    // The worker of a new pool sleeps after a watch that began after this one's.
    const ThreadPool other(2);
    ASSERT_TRUE(happens([&] { return other.sleeping() == 1; }));
    EXPECT_EQ(pool.sleeping(), 0);
  }
}

TEST(ThreadPool, WorkersSleepUnderAGuardThatIsHeldTooLong) {
  ThreadPool pool(4, {.idle = std::chrono::microseconds(50),
                      .awake = std::chrono::milliseconds(2),
                      .lost = std::chrono::hours(1)});
  const ThreadPool::Awake awake = pool.keep_awake();
  for (int round = 0; round < 3; ++round) {
    run_something(pool);
    EXPECT_TRUE(happens([&] { return pool.sleeping() == 3; }));
  }
}

TEST(ThreadPool, AWorkerThatLostItsCpuSleepsUnderAGuard) {
  // With no time allowed for it, every watch counts as one that lost its CPU.
  ThreadPool pool(3, {.idle = std::chrono::hours(1),
                      .awake = std::chrono::hours(1),
                      .lost = std::chrono::microseconds(0)});
  const ThreadPool::Awake awake = pool.keep_awake();
  for (int round = 0; round < 3; ++round) {
    run_something(pool);
    EXPECT_TRUE(happens([&] { return pool.sleeping() == 2; }));
  }
}

TEST(ThreadPool, EndsWhileAllWorkersWatch) {
  for (int round = 0; round < 50; ++round) {
    ThreadPool pool(3, {.idle = std::chrono::hours(1),
                        .awake = std::chrono::hours(1),
                        .lost = std::chrono::hours(1)});
    if (round % 2 == 0) run_something(pool);
  }
}

TEST(ThreadPool, RunsOnFewerCpusThanThreads) {
  // As after taskset: every thread of the pool inherits one CPU.
  std::thread([] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<size_t>(sched_getcpu()), &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    ThreadPool pool(4, kLongAwake);
    const ThreadPool::Awake awake = pool.keep_awake();
    for (int round = 0; round < 500; ++round) run_something(pool);
  }).join();
}

}  // namespace
}  // namespace hlwq
