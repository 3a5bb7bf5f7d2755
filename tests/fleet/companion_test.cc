#include "fleet/companion.h"

#include <gtest/gtest.h>

#include <thread>

#include "fleet/machine.h"

namespace onnx_split {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t kMs = 1'000'000;

// Until the whole process has had so much more processor time.
void wait_for_process_time(std::int64_t ns) {
  const std::int64_t begin = process_time_ns();
  while (process_time_ns() - begin < ns) std::this_thread::sleep_for(1ms);
}

// OpenBLAS's threads spin for a while after they were made.
void wait_for_silence() {
  std::int64_t before = 0;
  do {
    before = process_time_ns();
    std::this_thread::sleep_for(50ms);
  } while (process_time_ns() - before > 5 * kMs);
}

TEST(Companion, WhatItComputesIsNotTheOthersTime) {
  wait_for_silence();
  Companion companion;
  const std::int64_t before = companion.others_time_ns();
  companion.compute(10min);
  wait_for_process_time(200 * kMs);
  EXPECT_LT(companion.others_time_ns() - before, 100 * kMs);
  companion.stop();
  companion.compute(10min);
  wait_for_process_time(200 * kMs);
  EXPECT_LT(companion.others_time_ns() - before, 200 * kMs);
  companion.stop();
  const std::int64_t alone = companion.others_time_ns();
  const std::int64_t own = thread_time_ns();
  while (thread_time_ns() - own < 20 * kMs) continue;
  EXPECT_GE(companion.others_time_ns() - alone, 20 * kMs);
}

TEST(Companion, EndsByItselfAndBeginsAgain) {
  wait_for_silence();
  Companion companion;
  const auto own_ns = [&] { return process_time_ns() - companion.others_time_ns(); };
  for (int i = 0; i < 2; ++i) {
    const std::int64_t before = own_ns();
    companion.compute(100ms);
    std::this_thread::sleep_for(400ms);
    EXPECT_GT(own_ns() - before, 5 * kMs) << i;
    const std::int64_t ended = own_ns();
    std::this_thread::sleep_for(300ms);
    EXPECT_LT(own_ns() - ended, 5 * kMs) << i;
  }
}

}  // namespace
}  // namespace onnx_split
