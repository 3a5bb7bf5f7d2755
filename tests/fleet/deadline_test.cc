// Requests with a deadline: which fail, when, and which aren't taken at all.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "fleet/coordinator.h"
#include "tests/fleet/plans.h"
#include "tests/fleet/processes.h"
#include "tests/fleet/streams.h"
#include "tests/support/expect.h"
#include "tests/support/random_network.h"
#include "tests/support/wait.h"

namespace onnx_split {
namespace {

using testing::comes_true;
using testing::device_names;
using testing::error_of;
using testing::must;
using testing::patient;
using testing::plan_of;
using testing::process_runners;
using testing::Questions;
using testing::random_network;
using testing::recovering;
using testing::stop;
using testing::stream;
using testing::Streamed;
using Clock = std::chrono::steady_clock;

std::string answer_by(Coordinator& coordinator, const Questions& questions, Clock::duration time) {
  const auto result = coordinator.submit(questions.inputs(0), Clock::now() + time).get();
  return result ? "" : result.error().message;
}

TEST(Deadline, ARequestThatCanNotBeAnsweredInTimeFailsThenAndTheRestGoesOn) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const LocalFleet fleet = process_runners(2);
  const auto coordinator =
      must(Coordinator::deploy(graph, plan_of(graph, device_names(2)), fleet.urls(), recovering(graph)));
  EXPECT_EQ(answer_by(*coordinator, questions, std::chrono::seconds(30)), "");
  stop(fleet, 1);
  const Clock::time_point begin = Clock::now();
  EXPECT_EQ(answer_by(*coordinator, questions, std::chrono::milliseconds(200)),
            "the deadline has passed before there was a result");
  const Clock::duration took = Clock::now() - begin;
  EXPECT_GE(took, std::chrono::milliseconds(200));
  EXPECT_LT(took, std::chrono::milliseconds(900));  // not when the device was found to be lost
  EXPECT_EQ(coordinator->counts().late, 1U);
  // Its place in the window comes back with the next epoch.
  const Streamed streamed = stream(*coordinator, questions, 100, [](std::uint64_t) {});
  EXPECT_EQ(streamed.right, 100U);
  ::kill(fleet.pid(1), SIGCONT);
}

TEST(Deadline, OneThatCanNotBeMetIsRefusedAtTheDoor) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const LocalFleet fleet = process_runners(2);
  const auto coordinator =
      must(Coordinator::deploy(graph, plan_of(graph, device_names(2)), fleet.urls(), recovering(graph)));
  stream(*coordinator, questions, 20, [](std::uint64_t) {});
  stop(fleet, 1);
  auto other = coordinator->submit(questions.inputs(0));  // with nothing in flight it would be tried
  const auto refused = coordinator->try_submit(questions.inputs(0), Clock::now() + std::chrono::microseconds(1));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kTimeout);
  EXPECT_TRUE(refused.error().message.starts_with("the deadline can't be met: ")) << refused.error().message;
  ::kill(fleet.pid(1), SIGCONT);
  must(other.get());
  EXPECT_EQ(answer_by(*coordinator, questions, std::chrono::seconds(30)), "");
}

// How fast requests come isn't how fast they can be answered.
TEST(Deadline, ABurstAfterASlowPaceIsTaken) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const LocalFleet fleet = process_runners(2);
  const auto coordinator =
      must(Coordinator::deploy(graph, plan_of(graph, device_names(2)), fleet.urls(), recovering(graph)));
  for (std::uint64_t number = 0; number < 12; ++number) {
    must(coordinator->submit(questions.inputs(number)).get());
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  std::vector<std::future<Result>> results;
  for (std::uint64_t number = 0; number < 4; ++number) {
    auto taken = coordinator->try_submit(questions.inputs(number), Clock::now() + std::chrono::milliseconds(200));
    ASSERT_TRUE(taken) << error_of(taken);
    results.push_back(std::move(*taken));
  }
  for (std::future<Result>& result : results) result.wait();  // whether in time is another matter
}

// Nor is it where others are in flight all the time.
TEST(Deadline, RequestsBesideOthersThatWaitAreTaken) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const LocalFleet fleet = process_runners(2);
  StageRequest both;
  both.replicas = 2;
  const auto coordinator =
      must(Coordinator::deploy(graph, plan_of(graph, device_names(2), {both}, 64), fleet.urls(), patient(graph)));
  must(coordinator->submit(questions.inputs(0)).get());
  stop(fleet, 1);
  std::vector<std::future<Result>> results;
  for (std::uint64_t number = 0; number < 20; ++number) {  // every other one is answered
    results.push_back(coordinator->submit(questions.inputs(number)));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  auto taken = coordinator->try_submit(questions.inputs(0), Clock::now() + std::chrono::milliseconds(500));
  EXPECT_TRUE(taken) << error_of(taken);
  ::kill(fleet.pid(1), SIGCONT);
  for (std::future<Result>& result : results) must(result.get());
}

// One answer that was late doesn't mean that all will be.
TEST(Deadline, AfterALateAnswerOthersAreTried) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const LocalFleet fleet = process_runners(2);
  const auto coordinator =
      must(Coordinator::deploy(graph, plan_of(graph, device_names(2)), fleet.urls(), patient(graph)));
  stop(fleet, 1);
  EXPECT_EQ(answer_by(*coordinator, questions, std::chrono::milliseconds(500)),
            "the deadline has passed before there was a result");
  ::kill(fleet.pid(1), SIGCONT);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));  // now it is there
  EXPECT_TRUE(comes_true([&] { return answer_by(*coordinator, questions, std::chrono::milliseconds(500)).empty(); },
                         std::chrono::seconds(20)));
}

}  // namespace
}  // namespace onnx_split
