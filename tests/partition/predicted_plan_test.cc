// What a finished plan promises: limits that it keeps, counted exactly, and a window that is enough.
#include "partition/predicted_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "graph/builder.h"
#include "partition/search_methods.h"
#include "tests/support/expect.h"

namespace onnx_split {
namespace {

using testing::error_of;
using testing::must;

constexpr std::int64_t kValueBytes = 4000;
constexpr std::int64_t kIdleBytes = 100;
constexpr std::int64_t kPlenty = 1'000'000;
const std::vector<std::string> kNames = {"p", "q", "r"};

// Three nodes, one after the other, on 1000 floats.
Graph three_nodes() {
  GraphBuilder builder("three");
  const ValueId x = must(builder.add_input("x", {DataType::kFloat32, Shape{1, 1000}}));
  const ValueId a = must(builder.add("a", OpType::kRelu, {}, {x}));
  const ValueId b = must(builder.add("b", OpType::kSigmoid, {}, {a}));
  return must(std::move(builder).build({must(builder.add("c", OpType::kTanh, {}, {b}))}));
}

// 10 ms a node; messages 1 ms at each end.
ClusterModel model_of(const std::vector<std::string>& names, std::int64_t memory_bytes, double quota_s = 0.0) {
  ClusterModel model;
  const auto times = std::make_shared<const NodeTimes>(NodeTimes::from_seconds({10e-3, 10e-3, 10e-3}));
  for (const std::string& name : names) {
    DeviceModel& device = model.devices.emplace_back(
        DeviceModel{name, 0, times, {1e-3, 0.0}, {1e-3, 0.0}, 1e6, 1e6, 0.0, memory_bytes, kIdleBytes});
    device.quota_s = quota_s;
    device.period_s = 10.0 * quota_s;
  }
  return model;
}

StageRequest stage_until(const char* value, const char* device) {
  StageRequest stage;
  if (*value != '\0') stage.until = {value};
  stage.devices = {device};
  return stage;
}

// A node on each of the devices p, q and r, in whatever order these are listed.
struct ByHand {
  explicit ByHand(ClusterModel of)
      : graph(three_nodes()), model(std::move(of)), shapes(graph, model, all_cuts(graph)), cost(model, shapes) {
    for (const DeviceModel& device : model.devices) request.devices.push_back(device.name);
    request.stages = {stage_until("a", "p"), stage_until("b", "q"), stage_until("", "r")};
  }
  ByHand(const ByHand&) = delete;

  Expected<Plan> plan() const { return predicted_plan(graph, cost, request); }

  const Graph graph;
  const ClusterModel model;
  StageShapes shapes;
  const CostModel cost;
  PlanRequest request;
};

// The same, as a search has it.
const Candidate kPipeline = {{0, 1, {}, 1, {0}}, {1, 2, {}, 1, {1}}, {2, 3, {}, 1, {2}}};

// Beside the value that is computed and the one that comes of it there is room for so many that wait.
std::int64_t memory_for(std::int64_t waiting) { return kIdleBytes + (2 + waiting) * kValueBytes; }

TEST(PredictedPlan, ByHandHasAWindowThatIsEnoughOrThatThereIsRoomFor) {
  const std::size_t enough = must(ByHand(model_of(kNames, kPlenty)).plan()).window;
  EXPECT_GE(enough, 4U);
  for (const std::size_t room : {enough - 1, std::size_t{4}, std::size_t{3}, std::size_t{1}}) {
    const ByHand narrow(model_of(kNames, memory_for(static_cast<std::int64_t>(room))));
    EXPECT_EQ(must(narrow.plan()).window, room);
  }
}

// Sixty requests are on their way at once.
TEST(PredictedPlan, ByHandFarAwayHasMoreInFlightThanItsDevicesWouldTake) {
  ClusterModel model = model_of(kNames, kPlenty);
  for (DeviceModel& device : model.devices) {
    device.latency_s = 0.18;
    device.up_bytes_per_s = device.down_bytes_per_s = 1e8;
  }
  const Plan plan = must(ByHand(std::move(model)).plan());
  EXPECT_GE(plan.window, 55U);
  EXPECT_NEAR(plan.prediction->throughput_per_s, 1.0 / 12e-3, 4.0);
}

// A search sees what a plan by hand may have, too.
TEST(PredictedPlan, WhereMemoryIsShortFewerRequestsThanDevicesAreInFlight) {
  const ByHand narrow(model_of(kNames, memory_for(2)));
  const Cost cost = narrow.cost.of(kPipeline);
  EXPECT_EQ(cost.missing_bytes, 0);
  EXPECT_EQ(cost.window, 2U);
  EXPECT_EQ(cost.bottleneck.kind, Bottleneck::Kind::kWindow);
  EXPECT_EQ(must(narrow.plan()).window, 2U);
}

TEST(PredictedPlan, WhereThereIsRoomForASingleRequestPipelinesAreFound) {
  const ByHand narrow(model_of(kNames, memory_for(1)));
  SearchOptions options;
  options.space.splits = false;  // a share would have room for more
  options.space.replicas = false;
  const std::vector<Candidate> found = pipelines(narrow.cost, options);
  EXPECT_TRUE(std::any_of(found.begin(), found.end(), [&](const Candidate& plan) {
    return plan.size() > 1 && narrow.cost.of(plan).missing_bytes == 0;
  }));
}

TEST(PredictedPlan, ByHandThatDoesNotFitSaysWhere) {
  const ByHand narrow(model_of(kNames, memory_for(0)));
  EXPECT_THAT(error_of(narrow.plan()),
              ::testing::StartsWith("the plan doesn't fit in memory: device \"p\" would need 0.0 MB and has 0.0 MB"));
}

// A device with two stages holds inputs of both; a rival that costs more is made in place of what doesn't fit.
TEST(PredictedPlan, WhatDoesNotFitIsReplacedByWhatDoes) {
  const ByHand problem(model_of(kNames, memory_for(1)));
  SearchResult found;
  found.candidate = {{0, 1, {}, 1, {0}}, {1, 2, {}, 1, {1}}, {2, 3, {}, 1, {0}}};
  EXPECT_THAT(error_of(predicted_plan(problem.graph, problem.cost, found, {}, {})),
              ::testing::StartsWith("the plan doesn't fit in memory: device \"p\" "));
  for (std::vector<Candidate> SearchResult::*list : {&SearchResult::rivals, &SearchResult::others}) {
    SearchResult with = found;
    with.exact = true;
    (with.*list) = {found.candidate, kPipeline};
    const Plan plan = must(predicted_plan(problem.graph, problem.cost, with, {}, {}));
    EXPECT_EQ(plan.stages[2].parts[0].devices, std::vector<std::size_t>{2});
    EXPECT_FALSE(plan.prediction->optimal);
  }
}

// A device's quota has its periods wherever the file lists the device.
TEST(PredictedPlan, OfAChainTheOrderOfTheDevicesChangesNothing) {
  std::vector<std::string> names = kNames;
  std::optional<Plan> first;
  do {
    const ByHand problem(model_of(names, kPlenty, 2e-3));
    const Plan plan = must(problem.plan());
    if (!first) first = plan;
    EXPECT_EQ(plan.window, first->window);
    EXPECT_NEAR(plan.prediction->latency_s, first->prediction->latency_s, 1e-12);
    EXPECT_NEAR(plan.prediction->throughput_per_s, first->prediction->throughput_per_s, 1e-9);
  } while (std::next_permutation(names.begin(), names.end()));
}

// Found by averages, dismissed by what is counted exactly: a rival that keeps the limit is made in its place.
TEST(PredictedPlan, KeepsTheLatencyThatWasAskedFor) {
  const ByHand problem(model_of(kNames, kPlenty));
  const Candidate alone = {{0, 3, {}, 1, {0}}};
  SearchResult found;
  found.candidate = kPipeline;
  SearchOptions options;
  const double slow_s = must(predicted_plan(problem.graph, problem.cost, found, options, {})).prediction->latency_s;
  options.max_latency_s = 0.999 * slow_s;
  EXPECT_THAT(error_of(predicted_plan(problem.graph, problem.cost, found, options, {})),
              ::testing::HasSubstr("no plan was found with a latency of "));
  found.rivals = {alone};
  const Plan plan = must(predicted_plan(problem.graph, problem.cost, found, options, {}));
  EXPECT_EQ(plan.stages.size(), 1U);
  EXPECT_LE(plan.prediction->latency_s, options.max_latency_s);
}

}  // namespace
}  // namespace onnx_split
