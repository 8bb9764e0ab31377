#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
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

}  // namespace
}  // namespace hlwq
