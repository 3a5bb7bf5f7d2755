// Plans that are made beforehand, for when a device is lost.
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <thread>

#include "fleet/coordinator.h"
#include "tests/fleet/processes.h"
#include "tests/fleet/streams.h"
#include "tests/support/random_network.h"
#include "tests/support/wait.h"

namespace onnx_split {
namespace {

using namespace std::chrono_literals;
using testing::comes_true;
using testing::device_names;
using testing::must;
using testing::plan_of;
using testing::process_runners;
using testing::Questions;
using testing::random_network;
using testing::stream;

TEST(Replan, ALossDoesNotWaitForAPlanThatIsMadeBeforehand) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const LocalFleet fleet = process_runners(3);
  std::atomic<bool> is_searching{false};
  std::atomic<bool> is_killed{false};
  std::atomic<int> broken_off{0};
  std::mutex mutex;
  std::set<std::vector<std::string>> made;  // guarded by the mutex
  CoordinatorOptions options;
  options.replan = [&](const std::vector<std::string>& left, const std::function<bool()>& give_up) -> Expected<Plan> {
    if (!is_killed) {  // a search that would take a minute
      is_searching = true;
      if (!comes_true(give_up, 60s)) return fail(ErrorCode::kTimeout, "it wasn't broken off");
      ++broken_off;
      return fail(ErrorCode::kCancelled, "broken off");
    }
    const std::scoped_lock lock(mutex);
    made.insert(left);
    return plan_of(graph, left);
  };
  const auto coordinator = must(Coordinator::deploy(graph, plan_of(graph, device_names(3)), fleet.urls(), options));
  const auto begin = std::chrono::steady_clock::now();
  const auto streamed = stream(*coordinator, questions, 300, [&](std::uint64_t number) {
    if (number != 100) return;
    EXPECT_TRUE(comes_true([&] { return is_searching.load(); }, 20s));
    is_killed = true;
    ::kill(fleet.pid(2), SIGKILL);
  });
  EXPECT_EQ(streamed.right, 300U);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 30s);
  EXPECT_EQ(broken_off, 1);
  // What was broken off is made later, and the others.
  const std::set<std::vector<std::string>> all = {{"d0", "d1"}, {"d0"}, {"d1"}};
  EXPECT_TRUE(comes_true(
      [&] {
        const std::scoped_lock lock(mutex);
        return made == all;
      },
      20s));
}

TEST(Replan, ALossDoesNotWaitForAPlanWithANewcomer) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const LocalFleet fleet = process_runners(3);
  const std::vector<std::string> urls = fleet.urls();
  std::atomic<bool> has_come{false};
  std::atomic<bool> is_searching{false};
  CoordinatorOptions options;
  options.devices = [&]() -> std::vector<FleetDevice> {
    std::vector<FleetDevice> devices = {{"d0", urls[0]}, {"d1", urls[1]}};
    if (has_come) devices.push_back({"d2", urls[2]});
    return devices;
  };
  options.replan = [&](const std::vector<std::string>& left, const std::function<bool()>& give_up) -> Expected<Plan> {
    if (left.size() < 3) return plan_of(graph, left);
    is_searching = true;  // for a minute
    if (!comes_true(give_up, 60s)) return fail(ErrorCode::kTimeout, "it wasn't broken off");
    return fail(ErrorCode::kCancelled, "broken off");
  };
  const auto coordinator =
      must(Coordinator::deploy(graph, plan_of(graph, device_names(2)), {urls[0], urls[1]}, options));
  EXPECT_EQ(stream(*coordinator, questions, 10, [](std::uint64_t) {}).right, 10U);
  has_come = true;
  EXPECT_TRUE(comes_true([&] { return is_searching.load(); }, 20s));
  const auto begin = std::chrono::steady_clock::now();
  const auto streamed = stream(*coordinator, questions, 300, [&](std::uint64_t number) {
    if (number == 100) ::kill(fleet.pid(1), SIGKILL);
  });
  EXPECT_EQ(streamed.right, 300U);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 30s);
  EXPECT_EQ(coordinator->counts().losses, 1U);  // the newcomer isn't
}

}  // namespace
}  // namespace onnx_split
