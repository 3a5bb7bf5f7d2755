// Devices that die, stall, come back and send damage while requests stream through them: every result arrives, right,
// once and in order.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <cstdlib>
#include <deque>
#include <thread>

#include "base/random.h"
#include "engine/blas_core.h"
#include "engine/choice.h"
#include "engine/evaluate.h"
#include "fleet/coordinator.h"
#include "fleet/local_fleet.h"
#include "fleet/verify.h"
#include "partition/planner.h"
#include "tests/support/expect.h"
#include "tests/support/random_network.h"

namespace onnx_split {
namespace {

using testing::error_of;
using testing::must;
using testing::random_inputs;
using testing::random_network;
using Clock = std::chrono::steady_clock;

Plan plan_for(const Graph& graph, const std::vector<std::string>& devices, std::vector<StageRequest> stages = {}) {
  PlanRequest request;
  request.devices = devices;
  request.stages = std::move(stages);
  request.engine = {1, blas_core(), [](const Graph& of) { return choose_all(of, default_rule()); }};
  return must(make_plan(graph, request));
}

std::vector<std::string> names(std::size_t count) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < count; ++i) names.push_back(fmt::format("d{}", i));
  return names;
}

CoordinatorOptions recovering(const Graph& graph) {
  CoordinatorOptions options;
  options.replan = [&graph](const std::vector<std::string>& left) -> Expected<Plan> { return plan_for(graph, left); };
  options.return_period = std::chrono::milliseconds(100);
  return options;
}

LocalFleet runners(std::size_t count) {
  LocalFleetOptions options;
  options.runner = std::filesystem::path(ONNX_SPLIT_BIN) / "onnx-split-runner";
  options.log_level = "off";
  return must(LocalFleet::start(count, options));
}

// A few inputs with their uncut answers, used in turn.
class Questions {
 public:
  explicit Questions(const Graph& graph) {
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
      inputs_.push_back(random_inputs(graph, seed));
      answers_.push_back(must(evaluate_once(graph, inputs_.back())));
    }
  }
  const std::vector<Tensor>& inputs(std::uint64_t request) const { return inputs_[request % inputs_.size()]; }
  bool right(std::uint64_t request, const std::vector<Tensor>& outputs) const {
    const std::vector<Tensor>& expected = answers_[request % answers_.size()];
    if (outputs.size() != expected.size()) return false;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (compare("", outputs[i], expected[i]).relative() > 1e-4) return false;
    }
    return true;
  }

 private:
  std::vector<std::vector<Tensor>> inputs_;
  std::vector<std::vector<Tensor>> answers_;
};

struct Streamed {
  std::size_t right = 0;
  std::vector<std::string> errors;
  Clock::duration longest_gap{};  // between two results
};

// Sends `count` requests as fast as they are taken, calls `disturb` with the number of each before it is sent, and takes
// the results in order.
Streamed stream(Coordinator& coordinator, const Questions& questions, std::uint64_t count,
                const std::function<void(std::uint64_t)>& disturb) {
  Streamed streamed;
  std::deque<std::pair<std::uint64_t, std::future<Result>>> pending;
  Clock::time_point last = Clock::now();
  const auto take = [&] {
    auto [number, future] = std::move(pending.front());
    pending.pop_front();
    const Result result = future.get();
    streamed.longest_gap = std::max(streamed.longest_gap, Clock::now() - last);
    last = Clock::now();
    if (!result) {
      streamed.errors.push_back(result.error().message);
    } else {
      streamed.right += questions.right(number, *result) ? 1 : 0;
    }
  };
  for (std::uint64_t number = 0; number < count; ++number) {
    disturb(number);
    pending.emplace_back(number, coordinator.submit(questions.inputs(number)));
    if (pending.size() > coordinator.window()) take();
  }
  while (!pending.empty()) take();
  return streamed;
}

TEST(Recovery, AKilledDeviceCostsNoResult) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  for (std::size_t victim = 0; victim < 3; ++victim) {
    const LocalFleet fleet = runners(3);
    const auto coordinator =
        must(Coordinator::deploy(graph, plan_for(graph, names(3)), fleet.urls(), recovering(graph)));
    const Streamed streamed = stream(*coordinator, questions, 300, [&](std::uint64_t number) {
      if (number == 100) ::kill(fleet.pid(victim), SIGKILL);
    });
    EXPECT_EQ(streamed.right, 300U) << "victim " << victim;
    EXPECT_TRUE(streamed.errors.empty()) << streamed.errors.front();
    EXPECT_EQ(coordinator->counts().losses, 1U);
    EXPECT_GE(coordinator->counts().epochs, 2U);
  }
}

TEST(Recovery, DevicesMayBeLostOneAfterTheOtherUntilNoneIsLeft) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const LocalFleet fleet = runners(3);
  const auto coordinator = must(Coordinator::deploy(graph, plan_for(graph, names(3)), fleet.urls(), recovering(graph)));
  Streamed streamed = stream(*coordinator, questions, 300, [&](std::uint64_t number) {
    if (number == 80) ::kill(fleet.pid(1), SIGKILL);
    if (number == 160) ::kill(fleet.pid(0), SIGKILL);
  });
  EXPECT_EQ(streamed.right, 300U);
  EXPECT_EQ(coordinator->counts().losses, 2U);

  ::kill(fleet.pid(2), SIGKILL);
  const Clock::time_point begin = Clock::now();
  streamed = stream(*coordinator, questions, 20, [](std::uint64_t) {});
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(2));
  ASSERT_FALSE(streamed.errors.empty());
  EXPECT_EQ(streamed.right + streamed.errors.size(), 20U);
  EXPECT_EQ(streamed.errors.back(), "devices that are left: none: every device is lost");
}

TEST(Recovery, AStalledDeviceIsNoticedWithinASecondAndTakenInAgain) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const LocalFleet fleet = runners(3);
  const auto coordinator = must(Coordinator::deploy(graph, plan_for(graph, names(3)), fleet.urls(), recovering(graph)));
  Streamed streamed = stream(*coordinator, questions, 200, [&](std::uint64_t number) {
    if (number == 50) ::kill(fleet.pid(1), SIGSTOP);
  });
  ::kill(fleet.pid(1), SIGCONT);
  EXPECT_EQ(streamed.right, 200U);
  EXPECT_EQ(coordinator->counts().losses, 1U);
  // Detection takes at most 0.95 s, deploying to processes of this machine little.
  EXPECT_LT(streamed.longest_gap, std::chrono::seconds(3));
  const Clock::time_point end = Clock::now() + std::chrono::seconds(20);
  while (coordinator->counts().returns == 0 && Clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(coordinator->counts().returns, 1U);
  streamed = stream(*coordinator, questions, 100, [](std::uint64_t) {});
  EXPECT_EQ(streamed.right, 100U);
  // It computes again.
  const std::vector<Json> status = must(coordinator->runner_status());
  ASSERT_EQ(status.size(), 3U);
  EXPECT_EQ(status[1]["state"], "running");
}

TEST(Recovery, WithoutAPlanForTheRestEveryRequestGetsTheReason) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const LocalFleet fleet = runners(2);
  CoordinatorOptions options = recovering(graph);
  options.replan = [](const std::vector<std::string>&) -> Expected<Plan> {
    return fail(ErrorCode::kExhausted, "too little memory");
  };
  const auto coordinator = must(Coordinator::deploy(graph, plan_for(graph, names(2)), fleet.urls(), options));
  const Streamed streamed = stream(*coordinator, questions, 100, [&](std::uint64_t number) {
    if (number == 50) ::kill(fleet.pid(1), SIGKILL);
  });
  EXPECT_GE(streamed.right, 40U);
  EXPECT_EQ(streamed.right + streamed.errors.size(), 100U);
  EXPECT_EQ(streamed.errors.back(), "devices that are left: d0: too little memory");
}

// A frame of the right epoch that is damaged on the way: a tensor is lost, no device is.
TEST(Recovery, ADamagedFrameCostsNoResultAndNoDevice) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const LocalFleet fleet = runners(3);
  const auto coordinator = must(Coordinator::deploy(graph, plan_for(graph, names(3)), fleet.urls(), recovering(graph)));
  const auto damage = [&](std::uint64_t number) {
    if (number != 100) return;
    const std::vector<Json> status = must(coordinator->runner_status());
    ControlClient client = must(ControlClient::connect("d1", fleet.url(1), std::chrono::seconds(5)));
    const Json says = must(client.call("status", Json::object()));
    transport::PushSocket socket = must(transport::PushSocket::open());
    must(socket.dial(says["data_url"].get<std::string>()));
    transport::Message message = must(transport::Message::allocate(kFrameHeaderBytes));
    std::fill(message.bytes().begin(), message.bytes().end(), std::byte{7});
    must(socket.send(std::move(message), std::chrono::seconds(5)));
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  };
  const Streamed streamed = stream(*coordinator, questions, 300, damage);
  EXPECT_EQ(streamed.right, 300U);
  EXPECT_EQ(coordinator->counts().losses, 0U);
  EXPECT_EQ(coordinator->counts().epochs, 2U);
}

}  // namespace
}  // namespace onnx_split
