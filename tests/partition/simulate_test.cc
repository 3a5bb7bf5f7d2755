// The simulation against times worked out by hand, against what must hold for every plan, and against plans that
// somebody has damaged.
#include "partition/simulate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "partition/predict.h"
#include "tests/support/expect.h"
#include "tests/support/hand_plan.h"
#include "tests/support/random_network.h"
#include "tests/support/random_plan.h"

namespace onnx_split {
namespace {

using testing::error_of;
using testing::floats_of;
using testing::HandPlan;
using testing::must;
using testing::random_network;
using testing::RandomPlan;

constexpr double kMs = 1e-3;
constexpr double kMegabyte = 1e6;
constexpr std::int64_t kFourKilobytes = 1000;  // elements: 4 ms at a megabyte a second

SimulationReport run(const Plan& plan, Scenario scenario, std::size_t requests = 400, double rate_per_s = 0.0) {
  return must(simulate(plan, {scenario, rate_per_s, requests, 1}));
}

double latency_s(const Plan& plan) { return run(plan, Scenario::kSingleStream, 1).latency_s.front(); }
double offline_per_s(const Plan& plan) { return run(plan, Scenario::kOffline).throughput_per_s; }

// Whatever part of a burst the times begin with.
TEST(SteadyRate, IsExactForResultsInBursts) {
  for (std::size_t first = 0; first < 5; ++first) {
    std::vector<double> done_s;
    for (std::size_t i = first; i < first + 33; ++i) done_s.push_back(2.0 * static_cast<double>(i / 5));
    EXPECT_DOUBLE_EQ(steady_rate(done_s, 5), 2.5) << first;
  }
  EXPECT_EQ(steady_rate({}, 1), 0.0);
  EXPECT_EQ(steady_rate(std::vector<double>{1.0, 1.0}, 1), 0.0);
}

TEST(Simulation, OneDeviceReceivesComputesAndSends) {
  HandPlan plan(1);
  plan.stage(floats_of("x", kFourKilobytes), floats_of("y", kFourKilobytes / 4), {{0, 10 * kMs}});
  DeviceRates& rates = plan->prediction->rates[0];
  rates = {2 * kMs, 0.0, 1 * kMs, 0.5e-6, kMegabyte, kMegabyte, 1 * kMs};
  // 4 on the wire (meanwhile 2 receiving bytes), 1 latency, 1 receiving, 10 computing, 2 sending, 1 on the wire, 1
  // latency
  EXPECT_NEAR(latency_s(*plan), 20 * kMs, 1e-9);
  const SimulationReport report = run(*plan, Scenario::kSingleStream, 10);
  EXPECT_NEAR(report.throughput_per_s, 1.0 / (20 * kMs), 1e-6);
  EXPECT_NEAR(report.busy[0], 15.0 / 20.0, 1e-6);
  // A processor that is slower than the wire is busy with 6 of bytes from when they begin to come.
  rates.receive_byte_s = 1.5e-6;
  EXPECT_NEAR(latency_s(*plan), 22 * kMs, 1e-9);
  rates.receive_byte_s = 0.5e-6;
  plan->window = 8;
  EXPECT_NEAR(offline_per_s(*plan), 1.0 / (15 * kMs), 1e-6);
}

TEST(Simulation, APipelinesPeriodIsItsSlowerStageAndItsLatencyTheSum) {
  HandPlan plan(2, 4);
  plan.stage(floats_of("x", 1), floats_of("a", 1), {{0, 10 * kMs}});
  plan.stage(floats_of("a", 1), floats_of("y", 1), {{1, 20 * kMs}});
  EXPECT_NEAR(latency_s(*plan), 30 * kMs, 1e-9);
  EXPECT_NEAR(offline_per_s(*plan), 50.0, 1e-6);
  plan->window = 1;
  EXPECT_NEAR(offline_per_s(*plan), 1.0 / (30 * kMs), 1e-6);
}

TEST(Simulation, ReplicasServeByTheirSchedule) {
  HandPlan plan(2, 8);
  plan.stage(floats_of("x", 1), floats_of("y", 1), {{0, 20 * kMs}, {1, 20 * kMs}});
  EXPECT_NEAR(offline_per_s(*plan), 100.0, 1e-6);
  plan->stages[0].parts[0].compute_s = {10 * kMs, 30 * kMs};
  EXPECT_NEAR(offline_per_s(*plan), 2.0 / (30 * kMs), 1e-6);
  plan->stages[0].schedule = {0, 0, 1, 0};
  EXPECT_NEAR(offline_per_s(*plan), 4.0 / (30 * kMs), 1e-6);
}

TEST(Simulation, ReplicasThatAnswerTogetherCountAsOften) {
  constexpr std::size_t kReplicas = 50;
  HandPlan plan(kReplicas, 2 * kReplicas);
  std::vector<std::pair<std::size_t, double>> replicas;
  for (std::size_t d = 0; d < kReplicas; ++d) replicas.emplace_back(d, 10 * kMs);
  plan.stage(floats_of("x", 1), floats_of("y", 1), replicas);
  for (const std::size_t requests : {330, 333, 371, 400, 777}) {
    EXPECT_NEAR(run(*plan, Scenario::kOffline, requests).throughput_per_s, 5000.0, 1e-3) << requests;
  }
}

TEST(Simulation, AQuotaGivesTheSameRateAndARestedDeviceAHeadStart) {
  HandPlan plan(1, 4);
  plan.stage(floats_of("x", 1), floats_of("y", 1), {{0, 100 * kMs}});
  plan->prediction->rates[0].quota_s = 2 * kMs;
  plan->prediction->rates[0].period_s = 20 * kMs;
  // 10 ms of the processor, 2 ms of each period: busy all the time it is no quicker, and no slower.
  EXPECT_NEAR(offline_per_s(*plan), 10.0, 0.05);
  // Now and then: 2 ms at once, a wait of up to 18 ms, three whole periods, and 2 ms of the next.
  for (const double latency : run(*plan, Scenario::kServer, 50, 0.01).latency_s) {
    EXPECT_GE(latency, 64 * kMs);
    EXPECT_LE(latency, 82 * kMs + 1e-9);
  }
  // 1 ms of the processor is there at once.
  plan->stages[0].parts[0].compute_s = {10 * kMs};
  for (const double latency : run(*plan, Scenario::kServer, 50, 0.01).latency_s) EXPECT_NEAR(latency, 1 * kMs, 1e-9);
  EXPECT_NEAR(offline_per_s(*plan), 100.0, 0.5);
}

TEST(Simulation, LinksCarryOneMessageAfterTheOtherEachWay) {
  HandPlan plan(2, 8);
  plan.stage(floats_of("x", kFourKilobytes), floats_of("a", kFourKilobytes), {{0, 1 * kMs}});
  plan.stage(floats_of("a", kFourKilobytes), floats_of("y", kFourKilobytes), {{1, 1 * kMs}});
  for (DeviceRates& rates : plan->prediction->rates) rates.up_bytes_per_s = rates.down_bytes_per_s = kMegabyte;
  EXPECT_NEAR(latency_s(*plan), 14 * kMs, 1e-9);
  EXPECT_NEAR(offline_per_s(*plan), 1.0 / (4 * kMs), 1e-6);
  // All three messages on one medium.
  plan->prediction->medium_bytes_per_s = kMegabyte;
  EXPECT_NEAR(latency_s(*plan), 14 * kMs, 1e-9);
  EXPECT_NEAR(offline_per_s(*plan), 1.0 / (12 * kMs), 1e-6);
  plan->prediction->medium_bytes_per_s = 0.0;
  // The coordinator sends and receives one of them.
  plan->prediction->coordinator_bytes_per_s = 0.5 * kMegabyte;
  EXPECT_NEAR(offline_per_s(*plan), 1.0 / (8 * kMs), 1e-6);
  plan->prediction->coordinator_bytes_per_s = 0.0;
  // A pair's own link is an exception.
  plan->prediction->links = {{0, 1, 0.1 * kMegabyte, 2 * kMs}};
  EXPECT_NEAR(latency_s(*plan), (4 + 1 + 40 + 2 + 1 + 4) * kMs, 1e-9);
  EXPECT_NEAR(offline_per_s(*plan), 1.0 / (40 * kMs), 1e-6);
}

TEST(Simulation, AMessageThatWaitsForItsSenderKeepsNobodyFromTheReceiver) {
  // Device 0 sends two large tensors, first to device 1, then to device 2; device 3 has a small one for device 2.
  HandPlan plan(4);
  plan->inputs = {"x", "z"};
  plan.stage(floats_of("x", 1), floats_of("a", 2 * kFourKilobytes), {{0, 0.0}});
  plan->stages[0].parts[0].outputs = {floats_of("a", 2 * kFourKilobytes)};
  plan.stage(floats_of("z", 1), floats_of("b", kFourKilobytes / 4), {{3, 1 * kMs}});
  plan.stage(floats_of("a", 2 * kFourKilobytes), floats_of("p", 1), {{1, 0.0}});
  plan.stage(floats_of("a", 2 * kFourKilobytes), floats_of("q", 1), {{2, 0.0}});
  plan->stages[3].parts[0].inputs.push_back(floats_of("b", kFourKilobytes / 4));
  plan->outputs = {"p", "q"};
  for (DeviceRates& rates : plan->prediction->rates) rates.up_bytes_per_s = rates.down_bytes_per_s = kMegabyte;
  // 8 ms to device 1, then 8 ms to device 2, into whose first 8 idle milliseconds the small one fits; and the answer.
  EXPECT_NEAR(latency_s(*plan), 16 * kMs, 0.1 * kMs);
}

TEST(Simulation, ReceivingTakesItsTimeFromComputing) {
  HandPlan plan(1, 4);
  plan.stage(floats_of("x", 1), floats_of("y", 1), {{0, 10 * kMs}});
  plan->prediction->rates[0].receive_message_s = 1 * kMs;
  plan->prediction->rates[0].send_message_s = 2 * kMs;
  EXPECT_NEAR(latency_s(*plan), 13 * kMs, 1e-9);
  EXPECT_NEAR(offline_per_s(*plan), 1.0 / (13 * kMs), 1e-6);
}

TEST(Simulation, PartialSumsAreAllWaitedFor) {
  HandPlan plan(3, 8);
  plan.stage(floats_of("x", 8), floats_of("s", 8, Combine::kAdd), {{0, 10 * kMs}});
  plan.part(floats_of("x", 8), floats_of("s", 8, Combine::kAdd), {{1, 8 * kMs}});
  plan.stage(floats_of("s", 8), floats_of("y", 8), {{2, 5 * kMs}});
  plan->stages[0].split = Split::kInputChannel;
  for (DeviceRates& rates : plan->prediction->rates) rates.receive_message_s = 1 * kMs;
  EXPECT_NEAR(latency_s(*plan), (1 + 10 + 1 + 5) * kMs, 1e-9);
  plan->stages[0].parts[1].compute_s = {10 * kMs};  // both sums at once
  EXPECT_NEAR(latency_s(*plan), (1 + 10 + 2 + 5) * kMs, 1e-9);
  EXPECT_NEAR(offline_per_s(*plan), 1.0 / (11 * kMs), 1e-6);
}

TEST(Simulation, ADeviceServesSeveralStages) {
  HandPlan plan(2, 4);
  plan.stage(floats_of("x", 1), floats_of("a", 1), {{0, 10 * kMs}});
  plan.stage(floats_of("a", 1), floats_of("b", 1), {{1, 5 * kMs}});
  plan.stage(floats_of("b", 1), floats_of("y", 1), {{0, 10 * kMs}});
  EXPECT_NEAR(latency_s(*plan), 25 * kMs, 1e-9);
  EXPECT_NEAR(offline_per_s(*plan), 50.0, 1e-6);
  // What stays on a device isn't sent.
  plan->stages[1].parts[0].devices = {0};
  for (DeviceRates& rates : plan->prediction->rates) rates.receive_message_s = rates.send_message_s = 1 * kMs;
  EXPECT_NEAR(latency_s(*plan), 27 * kMs, 1e-9);
}

TEST(Simulation, AtALowRateAServerAnswersAsQuicklyAsASingleStream) {
  HandPlan plan(2, 4);
  plan.stage(floats_of("x", 1), floats_of("a", 1), {{0, 10 * kMs}});
  plan.stage(floats_of("a", 1), floats_of("y", 1), {{1, 20 * kMs}});
  const SimulationReport slow = run(*plan, Scenario::kServer, 1000, 0.01);
  EXPECT_NEAR(slow.latency_s[990], 30 * kMs, 1e-6);  // a few may meet others, at most
  EXPECT_NEAR(slow.throughput_per_s, 0.01, 0.002);
  // Beyond what is possible the queue grows, and latency counts from the arrival.
  const SimulationReport fast = run(*plan, Scenario::kServer, 1000, 100.0);
  EXPECT_NEAR(fast.throughput_per_s, 50.0, 0.5);
  EXPECT_GT(fast.latency_s.back(), 5.0);
}

TEST(Simulation, JitterVariesEachPartsTimeAroundItsMean) {
  HandPlan plan(1, 4);
  plan.stage(floats_of("x", 1), floats_of("y", 1), {{0, 10 * kMs}});
  const SimulationReport report = must(simulate(*plan, {Scenario::kSingleStream, 0.0, 2000, 1, 0.2}));
  EXPECT_GE(report.latency_s.front(), 8 * kMs);
  EXPECT_LT(report.latency_s.front(), 8.1 * kMs);
  EXPECT_GT(report.latency_s.back(), 11.9 * kMs);
  EXPECT_LE(report.latency_s.back(), 12 * kMs);
  EXPECT_NEAR(report.throughput_per_s, 100.0, 2.0);
}

TEST(Simulation, ATraceTellsWhoDidWhatWhen) {
  HandPlan plan(2);
  plan.stage(floats_of("x", 1), floats_of("a", 1), {{0, 10 * kMs}});
  plan.stage(floats_of("a", 1), floats_of("y", 1), {{1, 20 * kMs}});
  for (DeviceRates& rates : plan->prediction->rates) rates = {1 * kMs, 0.0, 2 * kMs, 0.0, 0.0, 0.0, 3 * kMs};
  const Trace trace = must(trace_request(*plan));
  EXPECT_NEAR(trace.latency_s, (3 + 2 + 10 + 1 + 3 + 2 + 20 + 1 + 3) * kMs, 1e-9);
  ASSERT_EQ(trace.spans.size(), 6U);
  EXPECT_EQ(trace.spans[4].kind, TraceSpan::Kind::kCompute);
  EXPECT_EQ(trace.spans[4].device, 1U);
  EXPECT_EQ(trace.spans[4].part, (PartId{1, 0}));
  EXPECT_NEAR(trace.spans[4].begin_s, 21 * kMs, 1e-9);
  EXPECT_NEAR(trace.spans[4].end_s, 41 * kMs, 1e-9);
  ASSERT_EQ(trace.messages.size(), 3U);
  EXPECT_EQ(trace.messages[0].from, std::nullopt);
  EXPECT_EQ(trace.messages[1].from, 0U);
  EXPECT_EQ(trace.messages[1].to, 1U);
  EXPECT_EQ(trace.messages[2].to, std::nullopt);
}

// A random plan on devices that differ, with its prediction.
Plan predicted_plan(std::uint64_t seed) {
  const Graph graph = random_network(seed, 3);
  Plan plan = RandomPlan(graph, seed, {}).make();
  Random random(seed);
  Cluster cluster;
  for (const std::string& name : plan.devices) {
    Device& device = cluster.devices.emplace_back();
    device.name = name;
    device.gflops = static_cast<double>(random.integer(1, 20)) * 1e-2;  // so that the small networks take a while
  }
  cluster.link = {static_cast<double>(random.integer(1, 100)), 0.1};
  plan.window = static_cast<std::size_t>(random.integer(1, 12));
  must(predict(graph, must(make_cluster_model(graph, cluster, nullptr)), plan));
  return plan;
}

double busiest_s(const Plan& plan) {
  double busiest = 0.0;
  for (const DeviceLoad& load : plan.prediction->loads) {
    busiest = std::max({busiest, load.busy_s(), load.up_s, load.down_s});
  }
  return busiest;
}

TEST(Simulation, OfAnyPlanAnswersEachRequestOnceAndAlwaysTheSame) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const Plan plan = predicted_plan(seed);
    for (const Scenario scenario : {Scenario::kSingleStream, Scenario::kServer, Scenario::kOffline}) {
      const double rate = scenario == Scenario::kServer ? 0.7 * plan.prediction->throughput_per_s : 0.0;
      const SimulationReport report = run(plan, scenario, 60, rate);
      EXPECT_EQ(report.latency_s.size(), 60U) << seed;
      EXPECT_GT(report.latency_s.front(), 0.0) << seed;
      for (const double busy : report.busy) EXPECT_LE(busy, 1.0 + 1e-9) << seed;
      const SimulationReport again = run(plan, scenario, 60, rate);
      EXPECT_EQ(again.latency_s, report.latency_s) << seed;
      EXPECT_EQ(again.busy, report.busy) << seed;
    }
  }
}

TEST(Simulation, OfAnyPlanReachesWhatItsBusiestDeviceOrLinkAllowsAndNoMore) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Plan plan = predicted_plan(seed);
    plan.window = 64;
    const double possible_per_s = 1.0 / busiest_s(plan);
    const double found_per_s = run(plan, Scenario::kOffline, 4800).throughput_per_s;
    EXPECT_LE(found_per_s, possible_per_s * 1.002) << seed;  // the window that is measured has two ends
    EXPECT_GE(found_per_s, possible_per_s * 0.97) << seed;
  }
}

TEST(Simulation, PlansThatDontFitTogetherAreErrors) {
  HandPlan good(2, 4);
  good.stage(floats_of("x", 4), floats_of("a", 4), {{0, 10 * kMs}});
  good.stage(floats_of("a", 4), floats_of("y", 4), {{1, 20 * kMs}});
  ASSERT_TRUE(simulate(*good, {}).has_value());
  const struct {
    std::function<void(Plan&)> damage;
    const char* message;
  } cases[] = {
      {[](Plan& p) { p.prediction.reset(); }, "the plan has no prediction"},
      {[](Plan& p) { p.prediction->rates.pop_back(); },
       "prediction.rates: expected one for each of 2 devices, found 1"},
      {[](Plan& p) { p.prediction->loads.clear(); }, "prediction.loads: expected one for each of 2 devices, found 0"},
      {[](Plan& p) {
         p.prediction->links = {{0, 2, 1.0, 0.0}};
       },
       "prediction.links: from 0 to 2"},
      {[](Plan& p) { p.window = 0; }, "the plan's window is 0"},
      {[](Plan& p) { p.stages.clear(); }, "the plan has no stages"},
      {[](Plan& p) { p.outputs.clear(); }, "the plan has no outputs"},
      {[](Plan& p) { p.outputs = {"z"}; }, "no part gives the output \"z\""},
      {[](Plan& p) { p.stages[1].parts.clear(); }, "stage 1: no parts"},
      {[](Plan& p) { p.stages[1].nodes.clear(); }, "stage 1: no nodes"},
      {[](Plan& p) { p.stages[1].schedule.clear(); }, "stage 1: an empty schedule"},
      {[](Plan& p) { p.stages[1].schedule = {1}; }, "stage 1: part 0: the schedule names replica 1 of 1"},
      {[](Plan& p) { p.stages[1].parts[0].devices = {2}; }, "stage 1: part 0: device 2 of 2"},
      {[](Plan& p) { p.stages[1].parts[0].compute_s.clear(); }, "stage 1: part 0: compute_s: expected one for each"},
      {[](Plan& p) { p.stages[1].parts[0].inputs = {floats_of("a", 5)}; }, "4 of 5 elements"},
      {[](Plan& p) { p.stages[0].parts[0].inputs.clear(); }, "stage 0 part 0: no inputs"},
      {[](Plan& p) {
         p.stages[1].parts[0].inputs[0].region = Region(std::vector<Range>{{0, 2}, {0, 2}});
       },
       "rank 2"},
      {[](Plan& p) { p.stages[0].parts[0].outputs[0].region[0].end = kMaxElements + 1; }, "value \"a\""},
      {[](Plan& p) { p.stages[0].parts[0].compute_s = {1e300}; }, "take too long"},
      {[](Plan& p) { p.prediction->rates[0].down_bytes_per_s = 1e-300; }, "take too long"},
      {[](Plan& p) { p.prediction->rates[1].latency_s = 1e308; }, "take too long"}};
  for (const auto& one : cases) {
    Plan plan = *good;
    one.damage(plan);
    EXPECT_THAT(error_of(simulate(plan, {})), ::testing::HasSubstr(one.message));
    EXPECT_NE(error_of(trace_request(plan)), "(no error)");
  }
  EXPECT_THAT(error_of(simulate(*good, {Scenario::kServer, 0.0, 10, 1})), ::testing::HasSubstr("needs a rate"));
  for (const double jitter : {-0.1, 1.0, std::nan("")}) {
    EXPECT_THAT(error_of(simulate(*good, {Scenario::kOffline, 0.0, 10, 1, jitter})), ::testing::HasSubstr("a jitter"));
  }
  EXPECT_THAT(error_of(simulate(*good, {Scenario::kOffline, 0.0, 0, 1})), ::testing::HasSubstr("expected 1 to"));
  EXPECT_THAT(error_of(simulate(*good, {Scenario::kOffline, 0.0, kMostSimulatedRequests + 1, 1})),
              ::testing::HasSubstr("expected 1 to"));
}

TEST(Simulation, AHugeWindowCostsWhatItsRequestsNeed) {
  HandPlan plan(1, 1 << 16);
  plan.stage(floats_of("x", 1), floats_of("y", 1), {{0, 10 * kMs}});
  EXPECT_NEAR(run(*plan, Scenario::kOffline, 100).throughput_per_s, 100.0, 1e-6);
}

}  // namespace
}  // namespace onnx_split
