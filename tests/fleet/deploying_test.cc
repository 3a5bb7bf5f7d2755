// Devices that fall silent or say what can't be while an epoch is being deployed to them: the coordinator notices it as
// fast as at any other time, and goes on.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "fleet/control.h"
#include "fleet/coordinator.h"
#include "tests/fleet/liar.h"
#include "tests/fleet/plans.h"
#include "tests/fleet/relay.h"
#include "tests/fleet/runners.h"
#include "tests/fleet/streams.h"
#include "tests/support/expect.h"
#include "tests/support/random_network.h"
#include "tests/support/wait.h"
#include "transport/request_reply.h"

namespace onnx_split {
namespace {

using testing::comes_true;
using testing::device_names;
using testing::error_of;
using testing::Liar;
using testing::must;
using testing::plan_of;
using testing::Questions;
using testing::random_network;
using testing::recovering;
using testing::Relays;
using testing::Runners;
using testing::stream;
using testing::Streamed;
using testing::Suspects;
using Clock = std::chrono::steady_clock;

// How long after it begins something has come true, which must be within 60 s.
template <class Condition>
std::future<Clock::duration> time_until(const std::atomic<Clock::time_point>& begin, Condition condition) {
  return std::async(std::launch::async, [&begin, condition = std::move(condition)] {
    EXPECT_TRUE(comes_true(condition, std::chrono::seconds(60)));
    return Clock::now() - begin.load();
  });
}

// Those that are lost stay so.
CoordinatorOptions without_returns(const Graph& graph) {
  CoordinatorOptions options = recovering(graph);
  options.return_period = std::chrono::seconds(60);
  return options;
}

// After d0 and d1, d2 comes when it is told to.
CoordinatorOptions with_newcomer(const Graph& graph, const std::vector<std::string>& urls,
                                 const std::atomic<bool>& has_come) {
  CoordinatorOptions options = recovering(graph);
  options.devices = [urls, &has_come]() -> std::vector<FleetDevice> {
    std::vector<FleetDevice> devices = {{"d0", urls[0]}, {"d1", urls[1]}};
    if (has_come) devices.push_back({"d2", urls[2]});
    return devices;
  };
  return options;
}

// The newcomer comes, is told to prepare, and says for a minute that it does: until it says the truth.
void come_without_getting_ready(Liar& newcomer, std::atomic<bool>& has_come) {
  const auto prepares = std::make_shared<std::atomic<bool>>(false);
  newcomer.say_state("preparing");
  newcomer.fall_silent_at(
      "prepare", [prepares] { *prepares = true; }, std::chrono::milliseconds(0));
  has_come = true;
  EXPECT_TRUE(comes_true([&] { return prepares->load(); }, std::chrono::seconds(20)));
}

// Of 300 requests, in the middle of which something happens, all are answered and right.
void expect_all_answered(Coordinator& coordinator, const Questions& questions, const std::function<void()>& happens) {
  const Streamed streamed = stream(coordinator, questions, 300, [&](std::uint64_t number) {
    if (number == 100) happens();
  });
  EXPECT_EQ(streamed.right, 300U);
  if (!streamed.errors.empty()) ADD_FAILURE() << streamed.errors.front();
}

// 0.75 or 0.95 s is promised, where other calls have 30 s; a sanitizer and a busy machine take the rest.
constexpr std::chrono::seconds kSoon{5};

class FallsSilentAt : public ::testing::TestWithParam<const char*> {};

TEST_P(FallsSilentAt, ItIsNoticed) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const Suspects suspects(3);
  const auto coordinator =
      must(Coordinator::deploy(graph, plan_of(graph, device_names(3)), suspects.urls, without_returns(graph)));
  std::atomic<Clock::time_point> fell;
  auto noticed = time_until(fell, [&] { return coordinator->counts().losses >= 2; });
  expect_all_answered(*coordinator, questions, [&] {
    suspects.liars[2]->fall_silent_at(GetParam(), [&] { fell = Clock::now(); });
    suspects.liars[1]->fall_silent_at("ping");  // so there is another epoch to deploy
  });
  EXPECT_LT(noticed.get(), kSoon);
  EXPECT_EQ(stream(*coordinator, questions, 10, [](std::uint64_t) {}).right, 10U);
}

INSTANTIATE_TEST_SUITE_P(WhileDeploying, FallsSilentAt, ::testing::Values("hello", "deploy", "put", "prepare", "start"),
                         [](const auto& op) { return std::string(op.param); });

// One is told to prepare and falls silent; at that moment the connection to the next one breaks. That is the failure of
// this epoch, but the call to the first one mustn't go on waiting.
TEST(WhileDeploying, TwoThatFailAtOnceAreBothNoticed) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  Suspects suspects(4);
  const auto coordinator =
      must(Coordinator::deploy(graph, plan_of(graph, device_names(4)), suspects.urls, without_returns(graph)));
  std::atomic<Clock::time_point> fell;
  auto noticed = time_until(fell, [&] { return coordinator->counts().losses >= 3; });
  expect_all_answered(*coordinator, questions, [&] {
    suspects.liars[2]->fall_silent_at("prepare", [&] {
      fell = Clock::now();
      suspects.liars[3].reset();
    });
    suspects.liars[1]->fall_silent_at("ping");
  });
  EXPECT_LT(noticed.get(), kSoon);
  EXPECT_EQ(stream(*coordinator, questions, 10, [](std::uint64_t) {}).right, 10U);
}

// What it was told of an epoch that didn't come about, it is told to give up; otherwise it would be free only when the
// lease has ended, 10 s later.
TEST(WhileDeploying, ADeviceThatWasSilentComesBackSoon) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const Suspects suspects(3);
  const auto coordinator =
      must(Coordinator::deploy(graph, plan_of(graph, device_names(3)), suspects.urls, recovering(graph)));
  std::atomic<Clock::time_point> fell;
  auto back = time_until(fell, [&] { return coordinator->counts().returns >= 1; });
  expect_all_answered(*coordinator, questions, [&] {
    suspects.liars[2]->fall_silent_at(
        "prepare", [&] { fell = Clock::now(); }, std::chrono::seconds(2));
    suspects.liars[1]->fall_silent_at("ping");
  });
  EXPECT_LT(back.get(), std::chrono::seconds(2) + kSoon);
  EXPECT_EQ(stream(*coordinator, questions, 10, [](std::uint64_t) {}).right, 10U);
}

// It refuses the second epoch, but answers: it is told to give that up, and isn't lost.
TEST(WhileDeploying, ADeviceWithoutMemoryForTwoEpochsHasOneAfterTheOther) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const Runners one(1);
  const auto alone = must(Coordinator::deploy(graph, plan_of(graph, 1), one.urls()));
  const auto needed = must(alone->runner_status())[0]["memory_bytes"].get<std::uint64_t>();
  const Suspects suspects(2, needed + needed / 10);
  const auto coordinator =
      must(Coordinator::deploy(graph, plan_of(graph, device_names(2)), suspects.urls, recovering(graph)));
  expect_all_answered(*coordinator, questions,
                      [&] { suspects.liars[1]->fall_silent_at("ping", {}, std::chrono::seconds(2)); });
  // With both, with one, the refused one with both, and that again.
  EXPECT_TRUE(comes_true([&] { return coordinator->counts().epochs >= 4; }, std::chrono::seconds(20)));
  EXPECT_EQ(stream(*coordinator, questions, 10, [](std::uint64_t) {}).right, 10U);
  EXPECT_EQ(coordinator->counts().epochs, 4U);
  EXPECT_EQ(coordinator->counts().losses, 1U);
  EXPECT_EQ(coordinator->counts().returns, 1U);
}

// As when its card stands still: it answers every ping.
TEST(WhileDeploying, ADeviceThatNeverGetsReadyIsLeftOut) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const Suspects suspects(3);
  CoordinatorOptions options = without_returns(graph);
  options.watch.prepare_timeout = std::chrono::seconds(3);
  const auto coordinator = must(Coordinator::deploy(graph, plan_of(graph, device_names(3)), suspects.urls, options));
  expect_all_answered(*coordinator, questions, [&] {
    suspects.liars[2]->say_state("preparing");
    suspects.liars[1]->fall_silent_at("ping");
  });
  EXPECT_TRUE(comes_true([&] { return coordinator->counts().losses >= 2; }, std::chrono::seconds(20)));
  EXPECT_EQ(stream(*coordinator, questions, 10, [](std::uint64_t) {}).right, 10U);

  const Suspects others(1);
  others.liars[0]->say_state("preparing");
  const std::string error = error_of(Coordinator::deploy(graph, plan_of(graph, 1), others.urls, options));
  EXPECT_NE(error.find("device \"d0\": still \"preparing\" after 3"), std::string::npos) << error;
}

// A newcomer that can't take part: d0 and d1 go on without any pause.
void expect_left_out(const Graph& graph, const std::vector<std::string>& urls, const Plan& plan) {
  const Questions questions(graph);
  std::atomic<bool> has_come{false};
  CoordinatorOptions options = with_newcomer(graph, urls, has_come);
  options.return_period = std::chrono::seconds(60);  // it would come back at once
  options.replan = [&](const std::vector<std::string>& left, const auto&) -> Expected<Plan> {
    return left.size() == 3 ? plan : plan_of(graph, left);
  };
  const auto coordinator =
      must(Coordinator::deploy(graph, plan_of(graph, device_names(2)), {urls[0], urls[1]}, options));
  expect_all_answered(*coordinator, questions, [&] { has_come = true; });
  EXPECT_TRUE(comes_true([&] { return coordinator->counts().losses > 0; }, std::chrono::seconds(20)));
  EXPECT_EQ(stream(*coordinator, questions, 10, [](std::uint64_t) {}).right, 10U);
  EXPECT_EQ(coordinator->counts().joined, 1U);
  EXPECT_EQ(coordinator->counts().losses, 1U);
  EXPECT_EQ(coordinator->counts().epochs, 2U);  // the one that runs, and one that didn't come about
  EXPECT_EQ(coordinator->counts().resent, 0U);
  const auto status = must(coordinator->runner_status());
  ASSERT_EQ(status.size(), 2U);
  EXPECT_GE(status[0]["jobs_done"], 300);  // in the first epoch
}

// Its memory isn't enough for its part; waiting until the others are idle makes that no better.
TEST(WhileDeploying, ANewcomerWithoutMemoryIsLeftOut) {
  const Graph graph = random_network(31, 6);
  const Plan plan = plan_of(graph, device_names(3));
  std::uint64_t needed = 0;
  {
    const Runners all(3);
    needed = must(must(Coordinator::deploy(graph, plan, all.urls()))->runner_status())[2]["memory_bytes"];
  }
  const Runners able(2), small(1, needed - 1);
  expect_left_out(graph, {able.urls()[0], able.urls()[1], small.urls()[0]}, plan);
}

// But by the coordinator: as behind a firewall that knows the control port alone.
TEST(WhileDeploying, ANewcomerThatTheOthersCanNotReachIsLeftOut) {
  const Graph graph = random_network(31, 6);
  const Runners runners(3);
  Relays relays(runners.urls());
  for (const std::size_t other : {0, 1}) relays.silence(other, 2);
  expect_left_out(graph, relays.urls(), plan_of(graph, device_names(3)));
}

// Of two epochs that a device is in, the one that still is being deployed may hear later that it is silent. Then it
// isn't told of the end any more, which would cost the time of a ping.
TEST(WhileDeploying, TheEndDoesNotWaitForADeviceThatIsKnownToBeSilent) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const Suspects suspects(3);
  std::atomic<bool> has_come{false};
  CoordinatorOptions options = with_newcomer(graph, suspects.urls, has_come);
  options.watch.heartbeat_timeout = std::chrono::seconds(4);
  const auto coordinator =
      must(Coordinator::deploy(graph, plan_of(graph, device_names(2)), {suspects.urls[0], suspects.urls[1]}, options));
  EXPECT_EQ(stream(*coordinator, questions, 10, [](std::uint64_t) {}).right, 10U);
  const auto first_epoch = must(coordinator->runner_status())[1]["epoch"].get<std::uint64_t>();
  come_without_getting_ready(*suspects.liars[2], has_come);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));  // until it is d2 alone that is waited for
  std::atomic<Clock::time_point> fell;
  auto goes_on = time_until(fell, [&] { return coordinator->counts().epochs >= 3; });
  suspects.liars[1]->fall_silent_at_ping_of(first_epoch, [&] { fell = Clock::now(); });
  EXPECT_LT(goes_on.get(), std::chrono::seconds(4) + std::chrono::milliseconds(3500));
  suspects.liars[2]->say_the_truth();
  EXPECT_EQ(stream(*coordinator, questions, 10, [](std::uint64_t) {}).right, 10U);
}

// It can't take part in the next epoch, but works in the one that runs: that one isn't taken from it as long as the
// next one isn't there.
TEST(WhileDeploying, ADeviceThatRefusesTheNextEpochGoesOnInThisOne) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const Suspects suspects(3);
  std::atomic<bool> has_come{false};
  CoordinatorOptions options = with_newcomer(graph, suspects.urls, has_come);
  const auto coordinator =
      must(Coordinator::deploy(graph, plan_of(graph, device_names(2)), {suspects.urls[0], suspects.urls[1]}, options));
  EXPECT_EQ(stream(*coordinator, questions, 10, [](std::uint64_t) {}).right, 10U);
  suspects.liars[1]->refuse("deploy");
  come_without_getting_ready(*suspects.liars[2], has_come);
  EXPECT_EQ(coordinator->counts().losses, 1U);
  for (const auto end = Clock::now() + std::chrono::seconds(2); Clock::now() < end;) {
    EXPECT_EQ(stream(*coordinator, questions, 10, [](std::uint64_t) {}).right, 10U);
  }
  EXPECT_EQ(coordinator->counts().epochs, 3U);  // the first one, the refused one, and the one being deployed
  suspects.liars[2]->say_the_truth();
  const auto all_take_part = [&] {
    const auto status = coordinator->runner_status();
    return status && status->size() == 3;
  };
  EXPECT_TRUE(comes_true(all_take_part, std::chrono::seconds(20)));
  EXPECT_EQ(stream(*coordinator, questions, 10, [](std::uint64_t) {}).right, 10U);
  EXPECT_EQ(coordinator->counts().resent, 0U);
}

// The epoch that runs meanwhile is looked after.
TEST(WhileDeploying, ThatNothingIsAnsweredAnyMoreIsNoticed) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const Suspects suspects(3);
  std::atomic<bool> has_come{false};
  CoordinatorOptions options = with_newcomer(graph, suspects.urls, has_come);
  options.stall_timeout = std::chrono::milliseconds(300);
  const auto coordinator =
      must(Coordinator::deploy(graph, plan_of(graph, device_names(2)), {suspects.urls[0], suspects.urls[1]}, options));
  EXPECT_EQ(stream(*coordinator, questions, 10, [](std::uint64_t) {}).right, 10U);
  come_without_getting_ready(*suspects.liars[2], has_come);
  suspects.liars[1]->hold_results(true);
  auto result = coordinator->submit(questions.inputs(7));
  EXPECT_TRUE(comes_true([&] { return coordinator->counts().epochs >= 3; }, std::chrono::seconds(20)));
  suspects.liars[2]->say_the_truth();
  suspects.liars[1]->hold_results(false);
  ASSERT_EQ(result.wait_for(std::chrono::seconds(30)), std::future_status::ready);
  EXPECT_TRUE(questions.right(7, must(result.get())));
}

// Nobody has asked the second one anything, so what the first says of it is no reason to ask.
TEST(WhileDeploying, WhoBlamesADeviceThatIsNotToldYetIsLostItself) {
  const Graph graph = random_network(31, 6);
  const Suspects suspects(2);
  suspects.liars[0]->blame("d1");
  suspects.liars[1]->fall_silent_at("hello", {}, std::chrono::seconds(2));
  const auto coordinator =
      Coordinator::deploy(graph, plan_of(graph, device_names(2)), suspects.urls, without_returns(graph));
  ASSERT_FALSE(coordinator);
  EXPECT_EQ(coordinator.error().message, "device \"d0\": it is that one's fault");
}

// A device that may be silent for longer may be so at any time.
TEST(WhileDeploying, ADeviceHasAsMuchTimeAsForAPing) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const Suspects suspects(2);
  CoordinatorOptions options = without_returns(graph);
  options.watch.connect_timeout = std::chrono::seconds(1);
  options.watch.heartbeat_timeout = std::chrono::seconds(30);
  suspects.liars[1]->fall_silent_at("deploy", {}, std::chrono::seconds(2));
  const auto coordinator = must(Coordinator::deploy(graph, plan_of(graph, device_names(2)), suspects.urls, options));
  EXPECT_EQ(stream(*coordinator, questions, 10, [](std::uint64_t) {}).right, 10U);
}

// Where nobody listens; where one does who never says a word.
TEST(WhileDeploying, AnInterruptDoesNotWaitForADeviceThatDoesNotAnswer) {
  const Graph graph = random_network(31, 6);
  CoordinatorOptions options;
  options.watch.connect_timeout = std::chrono::seconds(60);
  transport::ReplySocket silent = must(transport::ReplySocket::open());
  for (const std::string& url :
       {std::string("tcp://127.0.0.1:1"), must(silent.listen("tcp://127.0.0.1:0", kMaxControlBytes))}) {
    std::stop_source give_up;
    options.watch.stop = give_up.get_token();
    auto deploying = std::async(std::launch::async, [&] {
      return error_of(Coordinator::deploy(graph, plan_of(graph, device_names(1)), {url}, options));
    });
    if (url.ends_with(":1")) {
      EXPECT_EQ(deploying.wait_for(std::chrono::milliseconds(300)), std::future_status::timeout);
    } else {
      must(silent.receive(std::chrono::seconds(20)));  // "hello"
    }
    give_up.request_stop();
    EXPECT_EQ(deploying.wait_for(std::chrono::seconds(10)), std::future_status::ready);
    EXPECT_EQ(deploying.get(), "interrupted");
  }
}

}  // namespace
}  // namespace onnx_split
