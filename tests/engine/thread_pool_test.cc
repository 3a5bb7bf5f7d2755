#include "engine/thread_pool.h"

#include <gtest/gtest.h>
#include <time.h>

#include <array>
#include <atomic>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

namespace onnx_split {
namespace {

TEST(ThreadPool, RunsEveryTaskOnceWithAWorkerOfItsOwn) {
  for (const unsigned threads : {0U, 1U, 2U, 5U}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), std::max(1U, threads));
    std::vector<std::atomic<int>> busy(pool.threads());
    for (std::size_t tasks = 0; tasks < 200; ++tasks) {
      std::vector<int> runs(tasks, 0);
      std::atomic<int> clashes{0};
      pool.parallel_for(tasks, [&](std::size_t task, unsigned worker) {
        if (busy[worker].fetch_add(1) != 0) clashes.fetch_add(1);
        ++runs[task];
        busy[worker].fetch_sub(1);
      });
      EXPECT_EQ(clashes, 0);
      for (const int count : runs) ASSERT_EQ(count, 1);
    }
  }
}

TEST(ThreadPool, LosesNoJobWhetherHelpersSleepOrLookOut) {
  ThreadPool pool(3);
  std::mt19937 random(7);
  for (int job = 0; job < 3000; ++job) {
    const std::size_t tasks = 2 + random() % 9;
    std::atomic<std::size_t> sum{0};
    pool.parallel_for(tasks, [&](std::size_t task, unsigned) { sum.fetch_add(task + 1); });
    ASSERT_EQ(sum, tasks * (tasks + 1) / 2) << job;
    // Around how long helpers look out for the next job.
    if (job % 3 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 90));
  }
}

TEST(ThreadPool, AWorkerBeginsWithItsOwnShare) {
  ThreadPool pool(2);
  for (int job = 0; job < 50; ++job) {
    std::array<std::atomic<unsigned>, 2> workers{};
    std::atomic<int> inside{0};
    pool.parallel_for(2, [&](std::size_t task, unsigned worker) {
      workers[task] = worker;
      inside.fetch_add(1);
      inside.notify_all();
      for (int seen = inside.load(); seen < 2; seen = inside.load()) inside.wait(seen);
    });
    EXPECT_EQ(workers[0], 0U);
    EXPECT_EQ(workers[1], 1U);
  }
}

TEST(ThreadPool, UsesSeveralThreadsAtOnce) {
  ThreadPool pool(2);
  std::atomic<int> inside{0};
  // Each task waits for the other: with one thread this would hang.
  pool.parallel_for(2, [&](std::size_t, unsigned) {
    inside.fetch_add(1);
    inside.notify_all();
    for (int seen = inside.load(); seen < 2; seen = inside.load()) inside.wait(seen);
  });
  EXPECT_EQ(inside, 2);
}

TEST(ThreadPool, LeavesTasksOutFromWhenItIsStopped) {
  for (const unsigned threads : {1U, 3U}) {
    ThreadPool pool(threads);
    std::stop_source stop;
    pool.stop_with(stop.get_token());
    std::atomic<std::size_t> done{0};
    const auto work = [&](std::size_t, unsigned) {
      if (done.fetch_add(1) == 10) stop.request_stop();
    };
    pool.parallel_for(100'000, work);
    EXPECT_GE(done, 11U);
    EXPECT_LT(done, 100'000U);
    done = 0;
    pool.parallel_for(100, work);
    EXPECT_EQ(done, 0U);
    pool.stop_with({});
    pool.parallel_for(100, work);
    EXPECT_EQ(done, 100U);
  }
}

TEST(ThreadPool, KnowsHowLongEachThreadWasBusy) {
  ThreadPool pool(2);
  std::array<std::int64_t, 2> before{};
  std::array<std::int64_t, 2> after{};
  pool.processor_times(before);
  pool.parallel_for(2, [](std::size_t, unsigned) {
    // Until this thread itself has been busy for so long, whatever the other one does meanwhile.
    timespec time{};
    const auto now = [&] {
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
      return time.tv_sec * 1'000'000 + time.tv_nsec / 1000;
    };
    const auto begin = now();
    while (now() - begin < 2000) {
    }
  });
  pool.processor_times(after);
  EXPECT_GE(after[0] - before[0] + after[1] - before[1], 4'000'000);
}

}  // namespace
}  // namespace onnx_split
