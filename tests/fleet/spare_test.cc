// Parity and standby parts at work: late and lost devices cost nothing that spare parts can answer.
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "base/random.h"
#include "fleet/coordinator.h"
#include "fleet/port.h"
#include "fleet/verify.h"
#include "tests/fleet/plans.h"
#include "tests/fleet/processes.h"
#include "tests/fleet/relay.h"
#include "tests/fleet/streams.h"
#include "tests/support/spare_network.h"
#include "tests/support/wait.h"

namespace onnx_split {
namespace {

using testing::comes_true;
using testing::device_names;
using testing::kTolerance;
using testing::must;
using testing::patient;
using testing::plan_of;
using testing::process_runners;
using testing::Questions;
using testing::random_inputs;
using testing::recovering;
using testing::Relays;
using testing::SpareNetwork;
using testing::stop;
using testing::stream;
using testing::Streamed;
using Clock = std::chrono::steady_clock;

std::vector<StageRequest> spare_stages(const std::string& layer, Spare spare) {
  std::vector<StageRequest> stages = SpareNetwork::parity_stages(layer, 2);
  stages[0].devices = stages[2].devices = {"d0"};
  stages[1].spare = spare;
  stages[1].devices = {"d1", "d2", "d3"};
  if (spare == Spare::kStandby) stages[1].devices.push_back("d4");
  return stages;
}

Plan spare_plan(const Graph& graph, const std::string& layer, Spare spare) {
  return plan_of(graph, spare == Spare::kStandby ? 5 : 4, spare_stages(layer, spare));
}

TEST(Parity, EachPartCanBeToldFromTheOthers) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    Random random(seed);
    const Graph graph = SpareNetwork::make(seed, random.integer(4, 17));
    for (const std::string layer : {"b", "c"}) {
      const auto ways = static_cast<std::size_t>(random.integer(2, 4));
      std::vector<StageRequest> stages = SpareNetwork::parity_stages(layer, ways);
      if (random.integer(0, 1) == 1) {
        for (std::size_t i = 0; i < ways; ++i) stages[1].weights.push_back(random.integer(1, 3));
      }
      const Plan plan = plan_of(graph, 6, stages);
      SessionOptions options;
      options.choices = plan.choices;
      Composer composer = must(Composer::create(graph, plan, options));
      const VerifyReport report = must(verify(graph, composer, random_inputs(graph, seed), options));
      EXPECT_LE(report.worst().relative(), kTolerance) << seed;
      ASSERT_EQ(report.decoded.size(), ways);
      for (const ValueError& error : report.decoded) {
        EXPECT_LE(error.relative(), kDecodedTolerance) << "seed " << seed << " without " << to_string(*error.without);
      }
    }
  }
}

TEST(SpareParts, ALostDeviceCostsNothingThatIsSentAgain) {
  const Graph graph = SpareNetwork::make(1, 8);
  const Questions questions(graph, kDecodedTolerance);
  for (const Spare spare : {Spare::kParity, Spare::kStandby}) {
    for (const std::string layer : {"b", "c"}) {
      const Plan plan = spare_plan(graph, layer, spare);
      for (std::size_t victim = 1; victim < plan.devices.size(); ++victim) {
        const LocalFleet fleet = process_runners(plan.devices.size());
        const auto coordinator = must(Coordinator::deploy(graph, plan, fleet.urls(), recovering(graph)));
        const Streamed streamed = stream(*coordinator, questions, 1000, [&](std::uint64_t number) {
          if (number == 100) ::kill(fleet.pid(victim), SIGKILL);
        });
        SCOPED_TRACE(fmt::format("{} of {} without {}", spare_name(spare), layer, victim));
        EXPECT_EQ(streamed.right, 1000U);
        if (!streamed.errors.empty()) ADD_FAILURE() << streamed.errors.front();
        const CoordinatorCounts counts = coordinator->counts();
        EXPECT_EQ(counts.losses, 1U);
        EXPECT_EQ(counts.resent, 0U);
      }
    }
  }
}

// Fewer requests than the window: only somebody who has enough can say that a job isn't needed. One receiver is a
// device, the other one the coordinator.
TEST(SpareParts, WhoIsLateIsToldThatOthersWereEnough) {
  const Graph graph = SpareNetwork::make(4, 64, 24);
  const Questions questions(graph, kDecodedTolerance);
  std::vector<StageRequest> to_coordinator(2);
  to_coordinator[0].until = {"relu_a"};
  to_coordinator[0].devices = {"d0"};
  to_coordinator[1].spare = Spare::kStandby;
  to_coordinator[1].devices = {"d1", "d2"};
  for (std::vector<StageRequest> stages : {spare_stages("b", Spare::kParity), to_coordinator}) {
    const std::size_t devices = stages.size() == 2 ? 3 : 4;
    const Plan plan = plan_of(graph, devices, std::move(stages), 1000);
    const LocalFleet fleet = process_runners(plan.devices.size());
    const auto coordinator = must(Coordinator::deploy(graph, plan, fleet.urls(), patient(graph)));
    const Streamed streamed = stream(*coordinator, questions, 400, [&](std::uint64_t number) {
      if (number == 100) stop(fleet, 2);
      if (number != 300) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      ::kill(fleet.pid(2), SIGCONT);
    });
    EXPECT_EQ(streamed.right, 400U);
    EXPECT_EQ(coordinator->counts().losses, 0U);
    std::uint64_t given_up = 0;
    for (const Json& status : must(coordinator->runner_status())) {
      EXPECT_FALSE(status.contains("failure")) << status.dump();
      given_up += status["given_up"].get<std::uint64_t>();
    }
    EXPECT_GT(given_up, 0U) << devices << " devices";
  }
}

// A stopped device is lost only 0.95 s later. Until then, too, the others answer. It stops before anything is sent:
// what had been dropped for another one that was late just then would have to be sent again.
TEST(SpareParts, AStoppedDeviceIsNotWaitedFor) {
  const Graph graph = SpareNetwork::make(2, 8);
  const Questions questions(graph, kDecodedTolerance);
  for (const Spare spare : {Spare::kParity, Spare::kStandby}) {
    const Plan plan = spare_plan(graph, "b", spare);
    const LocalFleet fleet = process_runners(plan.devices.size());
    const auto coordinator = must(Coordinator::deploy(graph, plan, fleet.urls(), patient(graph)));
    const Streamed streamed = stream(*coordinator, questions, 2000, [&](std::uint64_t number) {
      if (number == 0) stop(fleet, 2);
      if (number == 1500) ::kill(fleet.pid(2), SIGCONT);
    });
    EXPECT_EQ(streamed.right, 2000U) << spare_name(spare);
    EXPECT_EQ(coordinator->counts().losses, 0U);
    EXPECT_EQ(coordinator->counts().epochs, 1U);
    // Far behind, it has caught up again: it gave up what others have answered.
    const Json status = must(coordinator->runner_status())[2];
    EXPECT_FALSE(status.contains("failure")) << status.dump();
    EXPECT_GT(status["given_up"].get<std::uint64_t>(), 0U);
  }
}

// Who is behind by less than a window isn't late, however many heartbeats it hasn't heard meanwhile: what is dropped
// for all spare parts at once nobody answers.
TEST(SpareParts, HeartbeatsTakeNoPlaceOfAFrame) {
  const Graph graph = SpareNetwork::make(4, 8, 192);  // frames that the system's buffers don't hold a window of
  const Questions questions(graph, kDecodedTolerance);
  const Plan plan = plan_of(graph, 4, spare_stages("b", Spare::kParity), 8);
  const LocalFleet fleet = process_runners(plan.devices.size());
  CoordinatorOptions options = patient(graph);
  options.watch.heartbeat_period = std::chrono::milliseconds(1);
  const auto coordinator = must(Coordinator::deploy(graph, plan, fleet.urls(), options));
  for (const std::size_t device : {1, 2, 3}) stop(fleet, device);
  std::vector<std::future<Result>> results;
  for (std::uint64_t number = 0; number < coordinator->window(); ++number) {
    results.push_back(coordinator->submit(questions.inputs(number)));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  for (const std::size_t device : {1, 2, 3}) ::kill(fleet.pid(device), SIGCONT);
  for (std::uint64_t number = 0; number < results.size(); ++number) {
    ASSERT_EQ(results[number].wait_for(std::chrono::seconds(30)), std::future_status::ready) << number;
    EXPECT_TRUE(questions.right(number, must(results[number].get())));
  }
  EXPECT_EQ(coordinator->counts().epochs, 1U);
  EXPECT_EQ(must(coordinator->runner_status())[0]["sends_dropped"], 0);
}

// Nobody else answers for it any more, and it takes nothing.
TEST(SpareParts, WhoWaitsForPlaceInAQueueCanGiveUp) {
  const Graph graph = SpareNetwork::make(5, 8, 192);
  const Questions questions(graph, kDecodedTolerance);
  StageRequest front, rest;
  front.until = {"relu_a"};
  front.spare = Spare::kStandby;
  front.devices = {"d1", "d2"};
  rest.devices = {"d0"};
  const LocalFleet fleet = process_runners(3);
  const auto coordinator =
      must(Coordinator::deploy(graph, plan_of(graph, 3, {front, rest}), fleet.urls(), patient(graph)));
  stop(fleet, 1);
  EXPECT_EQ(stream(*coordinator, questions, 30, [](std::uint64_t) {}).right, 30U);  // its queue is full
  EXPECT_GT(coordinator->counts().inputs_dropped, 0U);
  ::kill(fleet.pid(2), SIGKILL);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  auto waiting = std::async(std::launch::async, [&] { return coordinator->submit(questions.inputs(0)).get(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  coordinator->cancel({ErrorCode::kCancelled, "given up"});
  EXPECT_EQ(waiting.wait_for(std::chrono::seconds(5)), std::future_status::ready);
  ::kill(fleet.pid(1), SIGCONT);
  EXPECT_FALSE(waiting.get());
}

TEST(SpareParts, TheLossOfTwoThatAnswerForEachOtherIsALoss) {
  const Graph graph = SpareNetwork::make(3, 8);
  const Questions questions(graph, kDecodedTolerance);
  const LocalFleet fleet = process_runners(4);
  const auto coordinator =
      must(Coordinator::deploy(graph, spare_plan(graph, "b", Spare::kParity), fleet.urls(), recovering(graph)));
  const Streamed streamed = stream(*coordinator, questions, 1000, [&](std::uint64_t number) {
    if (number == 100) ::kill(fleet.pid(1), SIGKILL);
    if (number == 101) ::kill(fleet.pid(3), SIGKILL);
  });
  EXPECT_EQ(streamed.right, 1000U);
  EXPECT_EQ(coordinator->counts().losses, 2U);
}

// Where nobody plans again, spare parts answer for a lost device; what would take a plan without it is an error.
TEST(SpareParts, WithoutReplanningTheyAnswerUntilAPlanWouldBeNeeded) {
  const Graph graph = SpareNetwork::make(3, 8);
  const Questions questions(graph, kDecodedTolerance);
  const LocalFleet fleet = process_runners(4);
  Relays relays(fleet.urls());
  const auto coordinator =
      must(Coordinator::deploy(graph, spare_plan(graph, "b", Spare::kParity), relays.urls(), CoordinatorOptions{}));
  const auto is_lost = [&] { return coordinator->counts().losses > 0; };
  const Streamed before = stream(*coordinator, questions, 300, [&](std::uint64_t number) {
    if (number == 100) ::kill(fleet.pid(1), SIGKILL);
  });
  EXPECT_TRUE(comes_true(is_lost, std::chrono::seconds(20)));
  EXPECT_EQ(before.right, 300U);
  const Streamed after = stream(*coordinator, questions, 300, [&](std::uint64_t number) {
    if (number == 100) relays.damage(2);
  });
  EXPECT_GE(after.right, 90U);
  EXPECT_EQ(after.right + after.errors.size(), 300U);
  ASSERT_FALSE(after.errors.empty());
  EXPECT_EQ(after.errors.back(), "devices that are left: d0, d2, d3: nothing plans for them");
}

// Stops a process for most of the time. On a busy machine it may be silent for longer than one that isn't lost may be.
class SlowedDown {
 public:
  explicit SlowedDown(pid_t pid)
      : thread_([this, pid] {
          while (!done_) {
            ::kill(pid, SIGSTOP);
            std::this_thread::sleep_for(std::chrono::milliseconds(40));
            ::kill(pid, SIGCONT);
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
          }
        }) {}
  ~SlowedDown() {
    done_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> done_{false};
  std::thread thread_;
};

TEST(SpareParts, ASlowOneAnswersWhenWhatItReplacesIsLost) {
  const Graph graph = SpareNetwork::make(5, 8);
  const Questions questions(graph, kDecodedTolerance);
  for (const Spare spare : {Spare::kParity, Spare::kStandby}) {
    const Plan plan = spare_plan(graph, "b", spare);
    const LocalFleet fleet = process_runners(plan.devices.size());
    const auto coordinator = must(Coordinator::deploy(graph, plan, fleet.urls(), patient(graph)));
    const SlowedDown slow(fleet.pid(3));
    const Streamed streamed = stream(*coordinator, questions, 1000, [&](std::uint64_t number) {
      if (number == 500) ::kill(fleet.pid(1), SIGKILL);
    });
    EXPECT_EQ(streamed.right, 1000U) << spare_name(spare);
    if (!streamed.errors.empty()) ADD_FAILURE() << streamed.errors.front();
  }
}

// The slow device has a part that only it can compute, too.
TEST(SpareParts, ALateSparePartDoesNotCostWhatTheDeviceIsNeededFor) {
  const Graph graph = SpareNetwork::make(6, 8);
  const Questions questions(graph);
  std::vector<StageRequest> stages(3);
  stages[0].until = {"relu_a"};
  stages[0].devices = {"d0"};
  stages[1].until = {"relu_b"};
  stages[1].devices = {"d1"};
  stages[2].spare = Spare::kStandby;
  stages[2].devices = {"d2", "d0"};
  const LocalFleet fleet = process_runners(3);
  const auto coordinator = must(Coordinator::deploy(graph, plan_of(graph, 3, stages), fleet.urls(), patient(graph)));
  const SlowedDown slow(fleet.pid(0));
  const Streamed streamed = stream(*coordinator, questions, 500, [](std::uint64_t) {});
  EXPECT_EQ(streamed.right, 500U);
  EXPECT_EQ(coordinator->counts().resent, 0U);
}

// A device that comes back gets its share again, and nobody waits for that.
TEST(SpareParts, ADeviceThatReturnsIsTakenInWhileTheOldEpochGoesOn) {
  const Graph graph = SpareNetwork::make(4, 8);
  const Questions questions(graph, kDecodedTolerance);
  const LocalFleet fleet = process_runners(4);
  const auto coordinator =
      must(Coordinator::deploy(graph, spare_plan(graph, "b", Spare::kParity), fleet.urls(), recovering(graph)));
  const Clock::time_point begin = Clock::now();
  bool stopped = false, went_on = false;
  std::uint64_t count = 0;
  while (coordinator->counts().returns == 0 && Clock::now() - begin < std::chrono::seconds(30)) {
    const Streamed streamed = stream(*coordinator, questions, 200, [](std::uint64_t) {});
    ASSERT_EQ(streamed.right, 200U) << (streamed.errors.empty() ? "" : streamed.errors.front());
    count += 200;
    if (!std::exchange(stopped, true)) stop(fleet, 1);
    if (coordinator->counts().losses == 1 && !std::exchange(went_on, true)) ::kill(fleet.pid(1), SIGCONT);
  }
  EXPECT_EQ(coordinator->counts().returns, 1U) << count << " requests";
  const Clock::time_point back = Clock::now();
  while (coordinator->counts().epochs < 3 && Clock::now() - back < std::chrono::seconds(30)) {
    EXPECT_EQ(stream(*coordinator, questions, 200, [](std::uint64_t) {}).right, 200U);
  }
  EXPECT_EQ(stream(*coordinator, questions, 200, [](std::uint64_t) {}).right, 200U);
  EXPECT_EQ(coordinator->counts().epochs, 3U);
  EXPECT_EQ(coordinator->counts().resent, 0U);
}

}  // namespace
}  // namespace onnx_split
