// Devices that die, stall, fall silent, come back and send damage while requests stream through them: every result
// arrives, right, once and in order.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>

#include "base/random.h"
#include "fleet/control.h"
#include "fleet/coordinator.h"
#include "tests/fleet/liar.h"
#include "tests/fleet/plans.h"
#include "tests/fleet/processes.h"
#include "tests/fleet/relay.h"
#include "tests/fleet/runners.h"
#include "tests/fleet/streams.h"
#include "tests/fleet/victims.h"
#include "tests/support/expect.h"
#include "tests/support/log_capture.h"
#include "tests/support/random_network.h"
#include "tests/support/spare_network.h"
#include "tests/support/wait.h"
#include "transport/door.h"
#include "transport/request_reply.h"
#include "transport/url.h"

namespace onnx_split {
namespace {

using testing::Between;
using testing::cluster_victims;
using testing::comes_true;
using testing::device_names;
using testing::error_of;
using testing::Fault;
using testing::Liar;
using testing::local_victims;
using testing::LogCapture;
using testing::must;
using testing::name_of;
using testing::patient;
using testing::plan_of;
using testing::possible_faults;
using testing::process_runners;
using testing::Questions;
using testing::random_inputs;
using testing::random_network;
using testing::recovering;
using testing::Relays;
using testing::Runners;
using testing::send_damage;
using testing::SpareNetwork;
using testing::stop;
using testing::stream;
using testing::Streamed;
using testing::Suspects;
using testing::Victims;
using Clock = std::chrono::steady_clock;

TEST(Recovery, AKilledDeviceCostsNoResult) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  for (std::size_t victim = 0; victim < 3; ++victim) {
    const LocalFleet fleet = process_runners(3);
    const auto coordinator =
        must(Coordinator::deploy(graph, plan_of(graph, device_names(3)), fleet.urls(), recovering(graph)));
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
  const LocalFleet fleet = process_runners(3);
  const auto coordinator =
      must(Coordinator::deploy(graph, plan_of(graph, device_names(3)), fleet.urls(), recovering(graph)));
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
  const LocalFleet fleet = process_runners(3);
  const auto coordinator =
      must(Coordinator::deploy(graph, plan_of(graph, device_names(3)), fleet.urls(), recovering(graph)));
  Streamed streamed = stream(*coordinator, questions, 200, [&](std::uint64_t number) {
    if (number == 50) stop(fleet, 1);
  });
  ::kill(fleet.pid(1), SIGCONT);
  EXPECT_EQ(streamed.right, 200U);
  EXPECT_EQ(coordinator->counts().losses, 1U);
  // Detection takes at most 0.95 s, deploying to processes of this machine little.
  EXPECT_LT(streamed.longest_gap, std::chrono::seconds(3));
  const Clock::time_point end = Clock::now() + std::chrono::seconds(20);
  EXPECT_TRUE(comes_true([&] { return coordinator->counts().returns > 0; }, std::chrono::seconds(20)));
  EXPECT_EQ(coordinator->counts().returns, 1U);
  // It computes again, once the epoch runs that others are still answered by the former one.
  std::vector<Json> status;
  while (status.size() != 3 && Clock::now() < end) {
    streamed = stream(*coordinator, questions, 100, [](std::uint64_t) {});
    EXPECT_EQ(streamed.right, 100U);
    if (auto now = coordinator->runner_status()) status = std::move(*now);
  }
  ASSERT_EQ(status.size(), 3U);
  EXPECT_EQ(status[1]["state"], "running");
}

// A question to a device that stays away takes longer than the period of asking: nobody else may wait behind it for
// ever.
TEST(Recovery, ALostDeviceIsTakenInAgainAlthoughOneThatIsListedEarlierStaysAway) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const LocalFleet fleet = process_runners(3);
  const auto coordinator =
      must(Coordinator::deploy(graph, plan_of(graph, device_names(3)), fleet.urls(), recovering(graph)));
  const Streamed streamed = stream(*coordinator, questions, 200, [&](std::uint64_t number) {
    if (number == 50) ::kill(fleet.pid(0), SIGKILL);
    if (number == 100) stop(fleet, 1);
  });
  EXPECT_EQ(streamed.right, 200U);
  EXPECT_EQ(coordinator->counts().losses, 2U);
  ::kill(fleet.pid(1), SIGCONT);
  EXPECT_TRUE(comes_true([&] { return coordinator->counts().returns > 0; }, std::chrono::seconds(10)));
  EXPECT_EQ(coordinator->counts().returns, 1U);
}

TEST(Recovery, ANewDeviceIsTakenInAndOneThatCanNotBeReachedStopsNobody) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const LocalFleet fleet = process_runners(3);
  const std::vector<std::string> urls = fleet.urls();
  std::atomic<int> stage = 0;
  CoordinatorOptions options = recovering(graph);
  options.devices = [&]() -> std::vector<FleetDevice> {
    std::vector<FleetDevice> devices = {{"d0", urls[0]}, {"d1", urls[1]}};
    if (stage > 0) devices.push_back({"nobody", "tcp://127.0.0.1:1"});
    if (stage > 1) devices.push_back({"d2", urls[2]});
    return devices;
  };
  const auto coordinator =
      must(Coordinator::deploy(graph, plan_of(graph, device_names(2)), {urls[0], urls[1]}, options));
  const Clock::time_point end = Clock::now() + std::chrono::seconds(30);
  const auto stream_until = [&](const std::function<bool()>& done) {
    while (!done() && Clock::now() < end) {
      ASSERT_EQ(stream(*coordinator, questions, 100, [](std::uint64_t) {}).right, 100U);
    }
  };
  stage = 1;
  stream_until([&] { return coordinator->counts().losses == 1; });
  stage = 2;
  stream_until([&] {
    const auto status = coordinator->runner_status();
    return status && status->size() == 3 && (*status)[2].contains("jobs_done") && (*status)[2]["jobs_done"] > 0;
  });
  EXPECT_LT(Clock::now(), end);
  EXPECT_EQ(coordinator->counts().joined, 2U);
  EXPECT_EQ(coordinator->counts().losses, 1U);
  EXPECT_EQ(coordinator->counts().resent, 0U);
}

TEST(Recovery, PartsThatADeviceHasAreNotSentAgain) {
  const Graph graph = random_network(31, 6);
  const Runners runners(2, 0, std::chrono::seconds(10), 1 << 20);
  std::uint64_t sent = 0;
  CoordinatorOptions options;
  options.watch.progress = [&](std::uint64_t, std::uint64_t total) { sent = total; };
  for (int repeat = 0; repeat < 3; ++repeat) {
    sent = 0;
    const auto coordinator = must(Coordinator::deploy(graph, plan_of(graph, device_names(2)), runners.urls(), options));
    must(coordinator->submit(random_inputs(graph, 0)).get());
    EXPECT_EQ(sent == 0, repeat > 0) << sent;
  }
}

TEST(Recovery, WithoutAPlanForTheRestEveryRequestGetsTheReason) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const LocalFleet fleet = process_runners(2);
  CoordinatorOptions options = recovering(graph);
  options.replan = [](const std::vector<std::string>&, const auto&) -> Expected<Plan> {
    return fail(ErrorCode::kExhausted, "too little memory");
  };
  const auto coordinator = must(Coordinator::deploy(graph, plan_of(graph, device_names(2)), fleet.urls(), options));
  Clock::time_point lost;
  const Streamed streamed = stream(*coordinator, questions, 100, [&](std::uint64_t number) {
    if (number != 50) return;
    ::kill(fleet.pid(1), SIGKILL);
    lost = Clock::now();
  });
  EXPECT_LT(Clock::now() - lost, std::chrono::seconds(2));
  EXPECT_GE(streamed.right, 40U);
  EXPECT_EQ(streamed.right + streamed.errors.size(), 100U);
  EXPECT_EQ(streamed.errors.back(), "devices that are left: d0: too little memory");
}

TEST(Recovery, PlanningForALossDoesNotKeepTheEndWaiting) {
  const Graph graph = random_network(31, 6);
  const LocalFleet fleet = process_runners(2);
  CoordinatorOptions options = recovering(graph);
  options.replan = [](const std::vector<std::string>&, const std::function<bool()>& interrupted) -> Expected<Plan> {
    const Clock::time_point begin = Clock::now();
    while (!interrupted() && Clock::now() - begin < std::chrono::seconds(20)) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return fail(ErrorCode::kCancelled, "interrupted");
  };
  auto coordinator = must(Coordinator::deploy(graph, plan_of(graph, device_names(2)), fleet.urls(), options));
  must(coordinator->submit(random_inputs(graph, 0)).get());
  const Clock::time_point begin = Clock::now();
  coordinator.reset();
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(5));
}

// Of two devices one ends; `wait_until_asked` gets its address, and returns while it is asked whether it is back.
void expect_a_quick_end_after_a_loss(const std::function<void(const std::string& url)>& wait_until_asked) {
  const Graph graph = random_network(31, 6);
  const LocalFleet fleet = process_runners(2);
  auto coordinator = must(Coordinator::deploy(graph, plan_of(graph, device_names(2)), fleet.urls(), patient(graph)));
  ::kill(fleet.pid(1), SIGKILL);
  ASSERT_TRUE(comes_true([&] { return coordinator->counts().losses == 1; }, std::chrono::seconds(20)));
  wait_until_asked(fleet.url(1));
  const Clock::time_point begin = Clock::now();
  coordinator.reset();
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(10));
}

TEST(Recovery, TheEndDoesNotWaitForALostDeviceThatIsAskedWhetherItIsBack) {
  expect_a_quick_end_after_a_loss([](const std::string&) {
    std::this_thread::sleep_for(std::chrono::milliseconds(500));  // it is asked 100 ms after its loss
  });
}

TEST(Recovery, TheEndDoesNotWaitForALostDeviceThatDoesNotSayWhetherItIsBack) {
  transport::ReplySocket silent = must(transport::ReplySocket::open());
  expect_a_quick_end_after_a_loss([&](const std::string& url) {
    must(silent.listen(url, kMaxControlBytes));
    must(silent.receive(std::chrono::seconds(20)));  // the question, which is never answered
  });
}

TEST(Recovery, AStrangersDamagedFrameCostsNothing) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const LocalFleet fleet = process_runners(3);
  const auto coordinator =
      must(Coordinator::deploy(graph, plan_of(graph, device_names(3)), fleet.urls(), recovering(graph)));
  const auto damage = [&](std::uint64_t number) {
    if (number != 100) return;
    ASSERT_TRUE(send_damage(fleet.url(1)));
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  };
  const Streamed streamed = stream(*coordinator, questions, 300, damage);
  EXPECT_EQ(streamed.right, 300U);
  EXPECT_EQ(coordinator->counts().losses, 0U);
  EXPECT_EQ(coordinator->counts().epochs, 1U);
}

// As when a device is cut off for a frame that was damaged on its way.
TEST(Recovery, AConnectionThatBreaksBetweenTwoThatAnswerCostsNoResultAndNoDevice) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const Runners runners(3);
  for (std::size_t victim = 0; victim < 3; ++victim) {
    const auto coordinator =
        must(Coordinator::deploy(graph, plan_of(graph, device_names(3)), runners.urls(), recovering(graph)));
    const auto break_connection = [&](std::uint64_t number) {
      if (number != 100) return;
      const std::vector<Json> status = must(coordinator->runner_status());
      const std::uint16_t port = must(transport::parse_url(status[victim]["data_url"].get<std::string>())).port;
      for (int descriptor = 0; descriptor < 1000; ++descriptor) {  // the runners are threads of this process
        const auto peer = transport::peer_of(descriptor);
        if (peer && peer->our_port == port) ::shutdown(descriptor, SHUT_RDWR);
      }
    };
    const Streamed streamed = stream(*coordinator, questions, 300, break_connection);
    EXPECT_EQ(streamed.right, 300U) << "victim " << victim;
    // Where nothing was on its way, the results may be there before anybody has noticed.
    EXPECT_TRUE(comes_true([&] { return coordinator->counts().epochs > 1; }, std::chrono::seconds(20)));
    EXPECT_EQ(coordinator->counts().epochs, 2U) << "victim " << victim;
    EXPECT_EQ(coordinator->counts().losses, 0U);
  }
}

// It answers every ping, so that only the connection which its results come over speaks against it.
TEST(Recovery, ADeviceWhoseResultsCanNotBeRightIsLeftOut) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const Suspects suspects(3);
  Liar& liar = *suspects.liars[2];
  CoordinatorOptions options = recovering(graph);
  options.return_period = std::chrono::seconds(60);  // it would come back at once
  const auto coordinator = must(Coordinator::deploy(graph, plan_of(graph, device_names(3)), suspects.urls, options));
  const Streamed streamed = stream(*coordinator, questions, 300, [&](std::uint64_t number) {
    if (number == 100) liar.lie();
  });
  EXPECT_EQ(streamed.right, 300U);
  if (!streamed.errors.empty()) ADD_FAILURE() << streamed.errors.front();
  EXPECT_EQ(coordinator->counts().losses, 1U);
  EXPECT_EQ(coordinator->counts().epochs, 3U);  // it may have been an accident the first time
}

// What a device says of itself is its own business: that everything is to end, only the user may say.
TEST(Recovery, ADeviceThatSaysThatAllIsCancelledIsLeftOut) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const Suspects suspects(2);
  Liar& liar = *suspects.liars[1];
  CoordinatorOptions options = recovering(graph);
  options.return_period = std::chrono::seconds(60);  // it would come back at once
  const auto coordinator = must(Coordinator::deploy(graph, plan_of(graph, device_names(2)), suspects.urls, options));
  const Streamed streamed = stream(*coordinator, questions, 300, [&](std::uint64_t number) {
    if (number == 100) liar.refuse("ping", {ErrorCode::kCancelled, "the user wants no more"});
  });
  EXPECT_EQ(streamed.right, 300U);
  if (!streamed.errors.empty()) ADD_FAILURE() << streamed.errors.front();
  EXPECT_TRUE(comes_true([&] { return coordinator->counts().losses > 0; }, std::chrono::seconds(20)));
  EXPECT_EQ(stream(*coordinator, questions, 10, [](std::uint64_t) {}).right, 10U);
  EXPECT_EQ(coordinator->counts().losses, 1U);
  EXPECT_EQ(coordinator->counts().epochs, 2U);
}

// It answers, but doesn't know its epoch any more. As it may have been us who were silent for too long, that is no
// reason to go on without it; but if it happens again, it is.
TEST(Recovery, ADeviceThatDropsOneEpochAfterTheOtherIsLeftOut) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const Suspects suspects(2);
  Liar& liar = *suspects.liars[1];
  CoordinatorOptions options = recovering(graph);
  options.return_period = std::chrono::seconds(60);
  const auto coordinator = must(Coordinator::deploy(graph, plan_of(graph, device_names(2)), suspects.urls, options));
  for (const std::uint64_t epochs : {2, 3}) {
    liar.refuse("ping", {ErrorCode::kInvalid, "nothing is deployed here"});
    EXPECT_TRUE(comes_true([&] { return coordinator->counts().epochs >= epochs; }, std::chrono::seconds(20)));
    EXPECT_EQ(stream(*coordinator, questions, 10, [](std::uint64_t) {}).right, 10U);
    EXPECT_EQ(coordinator->counts().losses, epochs - 2);
  }
}

// A runner knows less than the coordinator of what is missed already.
TEST(Recovery, AnEpochThatCanNotGoOnEndsWhateverARunnerSays) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const Suspects suspects(2);
  Liar& liar = *suspects.liars[0];
  const auto coordinator =
      must(Coordinator::deploy(graph, plan_of(graph, device_names(2)), suspects.urls, recovering(graph)));
  const Streamed streamed = stream(*coordinator, questions, 300, [&](std::uint64_t number) {
    if (number == 100) liar.blame("d1", true);
  });
  EXPECT_EQ(streamed.right, 300U);
  EXPECT_TRUE(comes_true([&] { return coordinator->counts().epochs > 1; }, std::chrono::seconds(20)));
  EXPECT_EQ(stream(*coordinator, questions, 100, [](std::uint64_t) {}).right, 100U);
  EXPECT_EQ(coordinator->counts().epochs, 2U);
  EXPECT_EQ(coordinator->counts().losses, 0U);
}

// A stopped device that is given much time to answer pings stands for a connection that stands still.
TEST(Recovery, WhereNothingIsAnsweredAnyMoreEverythingIsSentAgain) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const LocalFleet fleet = process_runners(3);
  CoordinatorOptions options = recovering(graph);
  options.watch.heartbeat_timeout = std::chrono::seconds(20);
  options.stall_timeout = std::chrono::milliseconds(300);
  const auto coordinator = must(Coordinator::deploy(graph, plan_of(graph, device_names(3)), fleet.urls(), options));
  std::jthread resume;
  const Streamed streamed = stream(*coordinator, questions, 300, [&](std::uint64_t number) {
    if (number != 100) return;
    stop(fleet, 1);
    resume = std::jthread([&] {
      std::this_thread::sleep_for(std::chrono::seconds(8));  // the lease is longer, and what they may be silent
      ::kill(fleet.pid(1), SIGCONT);
    });
  });
  EXPECT_EQ(streamed.right, 300U);
  EXPECT_GE(coordinator->counts().epochs, 2U);
  EXPECT_EQ(coordinator->counts().losses, 0U);
}

enum class Kind : std::uint8_t { kWhole, kReplicas, kSpatial, kOutputChannel, kParity, kStandby };
constexpr std::array kKinds = {Kind::kWhole,         Kind::kReplicas, Kind::kSpatial,
                               Kind::kOutputChannel, Kind::kParity,   Kind::kStandby};
constexpr std::array kKindNames = {"whole", "replicas", "spatial", "output_channel", "parity", "standby"};

// The layer b in two parts, with spare ones; whole where there are too few devices for that.
Plan plan_with_spares(const Graph& graph, Kind kind, const std::vector<std::string>& devices) {
  const std::size_t wanted = kind == Kind::kParity ? 4 : 3;
  if (devices.size() < wanted) return plan_of(graph, devices);
  std::vector<StageRequest> stages = SpareNetwork::parity_stages("b", 2);
  stages[0].devices = stages[2].devices = {devices[0]};
  stages[1].devices.assign(devices.begin() + 1, devices.end());
  if (kind == Kind::kStandby) {
    if (devices.size() > wanted) stages[2].devices = {devices[3]};
    stages[1] = {};
    stages[1].until = {"b"};
    stages[1].spare = Spare::kStandby;
    stages[1].devices = {devices[1], devices[2]};
  }
  return plan_of(graph, devices, stages);
}

Plan plan_of_kind(const Graph& graph, Kind kind, const std::vector<std::string>& devices) {
  if (kind == Kind::kWhole) return plan_of(graph, devices);
  if (kind == Kind::kParity || kind == Kind::kStandby) return plan_with_spares(graph, kind, devices);
  StageRequest stage;
  if (kind == Kind::kReplicas) {
    stage.replicas = devices.size();
  } else {
    stage.each_layer = true;
    stage.split = kind == Kind::kSpatial ? Split::kSpatial : Split::kOutputChannel;
    stage.ways = devices.size();
    if (stage.ways == 1) stage.split = Split::kWhole;
    if (stage.split == Split::kSpatial) stage.grid = {stage.ways, 1};
  }
  return plan_of(graph, devices, {stage});
}

// On four devices; plans of the same kind for those that are left. The graph outlives it.
std::unique_ptr<Coordinator> deploy_kind(const Graph& graph, Kind kind, const std::vector<std::string>& urls,
                                         std::chrono::milliseconds return_period = std::chrono::milliseconds(200)) {
  CoordinatorOptions options;
  options.replan = [&graph, kind](const std::vector<std::string>& left, const auto&) -> Expected<Plan> {
    return plan_of_kind(graph, kind, left);
  };
  options.return_period = return_period;
  return must(Coordinator::deploy(graph, plan_of_kind(graph, kind, device_names(4)), urls, options));
}

// Neither is lost, but each may be too late for what the other one is too late for.
TEST(Recovery, TwoSparePartsThatAreLateByTurnsCostNoResult) {
  const Graph graph = SpareNetwork::make(31, 8);
  const Questions questions(graph, kDecodedTolerance);
  const LocalFleet fleet = process_runners(4);
  const auto coordinator = deploy_kind(graph, Kind::kParity, fleet.urls());
  std::jthread late([&](const std::stop_token& stop) {
    Random random(3);
    while (!stop.stop_requested()) {
      for (const std::size_t device : {1, 2}) ::kill(fleet.pid(device), random.integer(0, 1) == 0 ? SIGSTOP : SIGCONT);
      std::this_thread::sleep_for(std::chrono::milliseconds(random.integer(1, 100)));
    }
    for (const std::size_t device : {1, 2}) ::kill(fleet.pid(device), SIGCONT);
  });
  const Streamed streamed = stream(*coordinator, questions, 2000, [](std::uint64_t) {});
  EXPECT_EQ(streamed.right, 2000U);
}

struct Strike {
  std::uint64_t moment = 0;  // the request before which it happens
  Fault fault{};
  std::size_t victim = 0;
};

struct Trial {
  Kind kind{};
  std::vector<Strike> strikes;  // by their moments; the first one must have an effect

  std::string text() const {
    std::string text = kKindNames[static_cast<std::size_t>(kind)];
    for (const auto& [moment, fault, victim] : strikes) {
      text += fmt::format(", {} of {} at {}", name_of(fault), victim, moment);
    }
    return text;
  }
  bool strikes_later(Fault fault, std::size_t victim) const {
    return std::any_of(strikes.begin() + 1, strikes.end(),
                       [&](const Strike& strike) { return strike.fault == fault && strike.victim == victim; });
  }
};

constexpr std::uint64_t kStreamed = 2000;
constexpr std::size_t kDevices = 4;
constexpr std::uint64_t kMore = 20;       // requests at a time, until a fault has had its effect
constexpr std::uint64_t kWhileFull = 20;  // requests from a full disk to the loss of another device: less than 3 s

// First every kind of plan with every fault of every device, so that whatever number of runs one begins with, each kind
// and each fault is among them about as often; from then on one or two faults at random.
Trial trial_of(std::uint64_t number, const std::vector<Fault>& faults) {
  Random random(number * 7919 + 1);
  const auto below = [&](std::size_t end) {
    return static_cast<std::size_t>(random.integer(0, static_cast<std::int64_t>(end) - 1));
  };
  const std::size_t k = number % kKinds.size();
  const std::size_t round = number / kKinds.size();
  Trial trial{kKinds[k], {}};
  if (round < faults.size() * kDevices) {
    const Fault fault = faults[(round + k) % faults.size()];
    const std::size_t victim = (round / faults.size() + k) % kDevices;
    // Not in the last requests: those that are to meet the fault come behind it.
    const std::uint64_t moment = 1 + below(kStreamed - 200);
    // Nobody writes to a disk before another device is lost and the rest gets its parts.
    if (fault == Fault::kFullDisk) {
      trial.strikes = {{moment, fault, victim}, {moment + kWhileFull, Fault::kKill, (victim + 1) % kDevices}};
    } else {
      trial.strikes = {{moment, fault, victim}};
    }
    return trial;
  }
  const std::size_t count = 1 + below(2);
  while (trial.strikes.size() < count) {
    trial.strikes.push_back({1 + below(kStreamed - 1), faults[below(faults.size())], below(kDevices)});
  }
  std::stable_sort(trial.strikes.begin(), trial.strikes.end(),
                   [](const Strike& a, const Strike& b) { return a.moment < b.moment; });
  return trial;
}

// Whether the first strike has done what it does.
bool has_worked(const Trial& trial, const CoordinatorCounts& counts, const Victims& victims) {
  const auto& [moment, fault, victim] = trial.strikes.front();
  switch (fault) {
    case Fault::kKill: return counts.losses >= 1;
    case Fault::kStop:
    case Fault::kLinkDown:
      return counts.losses >= 1 && (counts.returns >= 1 || trial.strikes_later(Fault::kKill, victim));
    case Fault::kDamage:  // not if nothing goes to it any more
      if (trial.strikes_later(Fault::kKill, victim)) return true;
      return victims.damaged(victim) >= 1 && (victims.are_emulated() || counts.epochs >= 2);
    case Fault::kFullDisk:  // what is left after the other loss can't be deployed to it
      if (trial.strikes.size() == 1 || trial.strikes[1].moment != moment + kWhileFull) return true;
      return counts.losses >= (victims.are_emulated() ? 1U : 2U);
  }
  return false;
}

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

// 2,000 requests through 4 runners, whatever the plan, and what happens to them at random moments: each fault to each
// device, and two of them one after the other. All results are there, right and in order: each is compared with the
// answer to its own question, and no two answers are alike. That each comes once, its promise shows: it is moved from
// by then, so that a second answer throws on a thread of the coordinator's, which ends this program.
//
// A sample, unless ONNX_SPLIT_FULL is set or ONNX_SPLIT_RUNS says how many, from number ONNX_SPLIT_FIRST_RUN on.
// ONNX_SPLIT_PI_CLUSTER=PREFIX takes the devices of an emulated cluster that is up (scripts/pi-cluster, which must be
// in PATH as pi-cluster).
TEST(Recovery, WhateverHappensEveryResultArrivesRightAndOnce) {
  const bool is_full = std::getenv("ONNX_SPLIT_FULL") != nullptr;
  const bool is_told = std::getenv("ONNX_SPLIT_RUNS") != nullptr;
  const std::uint64_t runs = number_from("ONNX_SPLIT_RUNS", is_full ? 200 : kKinds.size());
  const std::uint64_t first = number_from("ONNX_SPLIT_FIRST_RUN", 0);
  const char* prefix = std::getenv("ONNX_SPLIT_PI_CLUSTER");
  const std::vector<Fault> faults = possible_faults();
  const std::array graphs = {random_network(31, 6), SpareNetwork::make(31, 8)};
  // Only what is decoded is less exact.
  const Questions questions(graphs[0]);
  const Questions spare_questions(graphs[1]);
  const Questions decoded_questions(graphs[1], kDecodedTolerance);
  for (const Questions* asked : {&questions, &spare_questions, &decoded_questions}) ASSERT_TRUE(asked->all_differ());
  for (std::uint64_t number = first; number < first + runs; ++number) {
    const Trial trial = trial_of(number, faults);
    const std::string what = fmt::format("run {}: {}", number, trial.text());
    SCOPED_TRACE(what);
    const bool has_spares = trial.kind == Kind::kParity || trial.kind == Kind::kStandby;
    const Questions& asked = trial.kind == Kind::kParity ? decoded_questions : has_spares ? spare_questions : questions;
    const std::unique_ptr<Victims> victims =
        prefix == nullptr ? local_victims(kDevices, Between::kRelays) : cluster_victims(prefix, kDevices);
    const auto coordinator = deploy_kind(graphs[has_spares ? 1 : 0], trial.kind, victims->urls());
    Streamed streamed = stream(*coordinator, asked, kStreamed, [&](std::uint64_t request) {
      for (const Strike& strike : trial.strikes) {
        if (strike.moment == request) victims->strike(strike.fault, strike.victim);
      }
    });
    EXPECT_EQ(streamed.right, kStreamed);
    if (!streamed.errors.empty()) ADD_FAILURE() << streamed.errors.front();
    const Clock::duration longest_gap = streamed.longest_gap;
    // Noticed within a second, and two more for the rest. Machines that test may be busy: only where it is measured.
    if (is_full && prefix == nullptr && trial.strikes.size() == 1 && trial.strikes[0].fault != Fault::kFullDisk) {
      EXPECT_LT(longest_gap, std::chrono::seconds(3));
    }
    // The requests may all be answered before a fault is over, or is noticed.
    const Clock::time_point end = Clock::now() + std::chrono::seconds(30);
    do {
      streamed = stream(*coordinator, asked, kMore, [](std::uint64_t) {});
      EXPECT_EQ(streamed.right, kMore);
      if (!streamed.errors.empty()) ADD_FAILURE() << streamed.errors.front();
    } while (!has_worked(trial, coordinator->counts(), *victims) && Clock::now() < end);
    const CoordinatorCounts counts = coordinator->counts();
    EXPECT_TRUE(has_worked(trial, counts, *victims)) << counts.losses << " losses, " << counts.returns << " returns";
    if (!is_full && !is_told) continue;
    fmt::print("{}: {} epochs, {} losses, {} returns, {} sent again, longest gap {} ms\n", what, counts.epochs,
               counts.losses, counts.returns, counts.resent,
               std::chrono::duration_cast<std::chrono::milliseconds>(longest_gap).count());
    std::fflush(stdout);
  }
}

// Both answer every ping, so that only what one says of the other speaks against them.
TEST(Recovery, TwoThatDoNotHearEachOtherCostNoResult) {
  const std::array graphs = {random_network(31, 6), SpareNetwork::make(31, 8)};
  const std::array questions = {Questions(graphs[0]), Questions(graphs[1], kDecodedTolerance)};
  for (const Kind kind : {Kind::kWhole, Kind::kSpatial, Kind::kParity}) {
    SCOPED_TRACE(static_cast<int>(kind));
    const std::size_t which = kind == Kind::kParity ? 1 : 0;
    const LocalFleet fleet = process_runners(4);
    Relays relays(fleet.urls());
    const LogCapture log;
    const auto coordinator = deploy_kind(graphs[which], kind, relays.urls(), std::chrono::seconds(60));  // none is back
    bool is_noticed = false;
    std::jthread watching;
    const Streamed streamed = stream(*coordinator, questions[which], 300, [&](std::uint64_t number) {
      if (number != 100) return;
      relays.silence(0, 1);
      relays.silence(1, 0);
      // By the one that hears nothing for 0.95 s, and when it is asked by the coordinator, at most 0.2 s later each.
      watching = std::jthread(
          [&] { is_noticed = log.wait_for(": nothing was heard from device \"d", std::chrono::seconds(2)); });
    });
    watching.join();
    EXPECT_TRUE(is_noticed);
    EXPECT_EQ(streamed.right, 300U);
    if (!streamed.errors.empty()) ADD_FAILURE() << streamed.errors.front();
    EXPECT_LT(streamed.longest_gap, std::chrono::seconds(5));
    // One of them is left out, when it has happened again.
    EXPECT_TRUE(comes_true([&] { return coordinator->counts().losses > 0; }, std::chrono::seconds(20)));
    EXPECT_EQ(coordinator->counts().losses, 1U);
    if (HasFailure()) ADD_FAILURE() << ::testing::PrintToString(log.lines());
  }
}

// What comes after an epoch that has run for long is a beginning that fails, and then another one: not accidents, each
// for itself, that have nothing to do with one another.
TEST(Recovery, TwoThatDoNotHearEachOtherAnyMoreCostOneOfThem) {
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const Runners runners(3);
  Relays relays(runners.urls());
  CoordinatorOptions options = recovering(graph);
  options.return_period = std::chrono::seconds(60);
  const auto coordinator = must(Coordinator::deploy(graph, plan_of(graph, device_names(3)), relays.urls(), options));
  EXPECT_EQ(stream(*coordinator, questions, 10, [](std::uint64_t) {}).right, 10U);
  std::this_thread::sleep_for(std::chrono::milliseconds(10500));  // longer than Blame remembers
  relays.silence(0, 1);
  relays.silence(1, 0);
  ASSERT_TRUE(comes_true([&] { return coordinator->counts().losses > 0; }, std::chrono::seconds(20)));
  EXPECT_EQ(stream(*coordinator, questions, 10, [](std::uint64_t) {}).right, 10U);
  EXPECT_EQ(coordinator->counts().losses, 1U);
  EXPECT_EQ(coordinator->counts().epochs, 3U);
}

}  // namespace
}  // namespace onnx_split
