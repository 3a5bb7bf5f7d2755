// Threads that submit at the same time.
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <future>
#include <thread>
#include <vector>

#include "fleet/coordinator.h"
#include "tests/fleet/processes.h"
#include "tests/fleet/runners.h"
#include "tests/fleet/streams.h"
#include "tests/support/expect.h"
#include "tests/support/random_network.h"

namespace onnx_split {
namespace {

using testing::device_names;
using testing::error_of;
using testing::must;
using testing::plan_of;
using testing::process_runners;
using testing::Questions;
using testing::random_network;
using testing::recovering;
using testing::Runners;
using testing::stop;
using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

TEST(Submit, WhoMayNotWaitDoesNotWaitForOneWhoMay) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const LocalFleet fleet = process_runners(2);
  CoordinatorOptions options = recovering(graph);
  options.watch.heartbeat_timeout = 60s;  // nobody is lost
  const auto coordinator = must(Coordinator::deploy(graph, plan_of(graph, device_names(2)), fleet.urls(), options));
  stop(fleet, 1);
  std::vector<std::future<Result>> results;
  for (std::size_t i = 0; i < coordinator->window(); ++i) results.push_back(coordinator->submit(questions.inputs(i)));
  std::atomic<bool> waits{true};
  std::thread patient([&] {
    results.push_back(coordinator->submit(questions.inputs(results.size())));
    waits = false;
  });
  std::this_thread::sleep_for(100ms);
  EXPECT_TRUE(waits);
  const Clock::time_point begin = Clock::now();
  const auto refused = coordinator->try_submit(questions.inputs(0));
  EXPECT_TRUE(!refused && refused.error().code == ErrorCode::kExhausted) << error_of(refused);
  const Result late = coordinator->submit(questions.inputs(0), Clock::now() + 200ms).get();
  EXPECT_TRUE(!late && late.error().code == ErrorCode::kTimeout) << error_of(late);
  EXPECT_LT(Clock::now() - begin, 10s);
  EXPECT_TRUE(waits);
  ::kill(fleet.pid(1), SIGCONT);
  patient.join();
  for (std::size_t i = 0; i < results.size(); ++i) EXPECT_TRUE(questions.right(i, must(results[i].get()))) << i;
}

TEST(Submit, ThreadsGetTheAnswersToTheirOwnQuestions) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const Runners runners(3);
  const auto coordinator =
      must(Coordinator::deploy(graph, plan_of(graph, device_names(3)), runners.urls(), recovering(graph)));
  std::vector<std::jthread> threads;
  std::atomic<std::size_t> right{0}, refused{0};
  for (std::uint64_t thread = 0; thread < 6; ++thread) {
    threads.emplace_back([&, thread] {
      for (std::uint64_t number = thread; number < 600; number += 6) {
        // Half of them try until there is room.
        Expected<std::future<Result>> taken;
        while (thread % 2 == 0 && !(taken = coordinator->try_submit(questions.inputs(number)))) {
          EXPECT_EQ(taken.error().code, ErrorCode::kExhausted);
          ++refused;
          std::this_thread::yield();
        }
        if (thread % 2 == 1) taken = coordinator->submit(questions.inputs(number));
        if (questions.right(number, must(taken->get()))) ++right;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(right, 600U);
}

}  // namespace
}  // namespace onnx_split
