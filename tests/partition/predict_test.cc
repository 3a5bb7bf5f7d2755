// What a finished plan is said to do, who serves which request, and the prediction as JSON.
#include "partition/predict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <functional>

#include "graph/builder.h"
#include "partition/plan_json.h"
#include "partition/simulate.h"
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

Graph two_slow_nodes() {
  GraphBuilder builder("two");
  const ValueId x = must(builder.add_input("x", {DataType::kFloat32, Shape{1, 1000}}));
  const ValueId a = must(builder.add("a", OpType::kRelu, {}, {x}));
  return must(std::move(builder).build({must(builder.add("b", OpType::kAbs, {}, {a}))}));
}

// a takes 10 ms and b 20, on devices of any name; messages 1 ms to send and 2 to receive; 1 MB/s.
ClusterModel model_of(std::size_t devices) {
  ClusterModel model;
  const auto times = std::make_shared<const NodeTimes>(NodeTimes::from_seconds({10e-3, 20e-3}));
  for (std::size_t d = 0; d < devices; ++d) {
    model.devices.push_back({fmt::format("d{}", d), 0, times, {1e-3, 0.0}, {2e-3, 0.0}, 1e6, 1e6, 0.0, 1'000'000, 100});
  }
  return model;
}

Plan plan_of(const Graph& graph, std::size_t devices, std::size_t window) {
  PlanRequest request;
  for (std::size_t d = 0; d < devices; ++d) request.devices.push_back(fmt::format("d{}", d));
  request.window = window;
  return must(make_plan(graph, request));
}

TEST(Prediction, OfAPipelineIsWhatItsStagesAndMessagesTake) {
  const Graph graph = two_slow_nodes();
  Plan plan = plan_of(graph, 2, 6);
  must(predict(graph, model_of(2), plan));
  const Prediction& prediction = *plan.prediction;
  EXPECT_EQ(plan.stages[0].parts[0].compute_s, std::vector<double>{10e-3});
  EXPECT_NEAR(prediction.loads[0].busy_s(), 13e-3, 1e-12);
  EXPECT_NEAR(prediction.loads[1].busy_s(), 23e-3, 1e-12);
  EXPECT_NEAR(prediction.loads[1].down_s, 4e-3, 1e-12);
  EXPECT_NEAR(prediction.throughput_per_s, 1.0 / 23e-3, 1e-6);
  EXPECT_EQ(prediction.bottleneck, "device \"d1\"'s processor");
  EXPECT_NEAR(prediction.latency_s, (3 * (4 + 2 + 1) - 0 + 30 - 3) * 1e-3, 1e-9);  // the coordinator's ends are free
  // 6 waiting inputs of 4000 B, input and output alive at once, the runner
  EXPECT_EQ(prediction.loads[0].memory_bytes, 6 * 4000 + plan.stages[0].parts[0].activation_bytes + 100);
  EXPECT_EQ(prediction.loads[0].memory_limit_bytes, 1'000'000);
}

// a, whole; b, halves; c, whole.
TEST(Prediction, APartTakesTheTimeToCutOutWhatItGivesAndToPutTogetherWhatItNeeds) {
  GraphBuilder builder("three");
  ValueId now = must(builder.add_input("x", {DataType::kFloat32, Shape{1, 32, 6, 6}}));
  for (const char* name : {"a", "b", "c"}) now = must(builder.add(name, OpType::kRelu, {}, {now}));
  const Graph graph = must(std::move(builder).build({now}));
  DeviceProfile device;
  for (const char* name : {"a", "b", "c"}) device.nodes[name] = {10.0, 10.0, 10.0};
  device.reorder_byte_ns = 1000.0;
  ClusterModel model = model_of(4);
  const std::array<const DeviceProfile*, 1> devices{&device};
  for (DeviceModel& at : model.devices) {
    at.times = std::make_shared<const NodeTimes>(NodeTimes::from_profiles(graph, devices));
  }
  PlanRequest request;
  request.devices = {"d0", "d1", "d2", "d3"};
  StageRequest a, b, c;
  a.until = {"a"};
  b.until = {"b"};
  b.split = Split::kSpatial;
  b.ways = 2;
  b.grid = {2, 1};
  request.stages = {a, b, c};
  Plan plan = must(make_plan(graph, request));
  must(predict(graph, model, plan));
  const auto compute_ms = [&](std::size_t stage) { return 1e3 * plan.stages[stage].parts[0].compute_s[0]; };
  EXPECT_NEAR(compute_ms(0), 10.0 + 4.608, 1e-9);  // 32 channels of 6×6 floats, in two pieces
  EXPECT_NEAR(compute_ms(1), 5.0, 1e-9);
  EXPECT_NEAR(compute_ms(2), 10.0 + 4.608, 1e-9);
}

TEST(Prediction, AWindowThatIsTooSmallIsTheBottleneck) {
  const Graph graph = two_slow_nodes();
  Plan plan = plan_of(graph, 2, 1);
  must(predict(graph, model_of(2), plan));
  EXPECT_NEAR(plan.prediction->throughput_per_s * plan.prediction->latency_s, 1.0, 0.02);  // times vary by up to 10 %
  EXPECT_THAT(plan.prediction->bottleneck, ::testing::HasSubstr("the window of 1 requests"));
}

TEST(Prediction, LinksCanBeTheBottleneck) {
  const Graph graph = two_slow_nodes();
  Plan plan = plan_of(graph, 2, 12);
  ClusterModel model = model_of(2);
  model.pairs[{0, 1}] = {1e5, 0.0};  // 40 ms
  must(predict(graph, model, plan));
  EXPECT_NEAR(plan.prediction->throughput_per_s, 25.0, 1e-6);
  EXPECT_EQ(plan.prediction->bottleneck, "device \"d0\"'s link, sending");
  model.medium_bytes_per_s = 1e5;
  must(predict(graph, model, plan));
  EXPECT_NEAR(plan.prediction->throughput_per_s, 1.0 / 120e-3, 1e-6);
  EXPECT_EQ(plan.prediction->bottleneck, "the shared medium");
}

TEST(Prediction, APlanForOtherDevicesIsRefused) {
  const Graph graph = two_slow_nodes();
  Plan plan = plan_of(graph, 2, 2);
  EXPECT_EQ(error_of(predict(graph, model_of(3), plan)), "the plan is for 2 devices, the cluster has 3");
}

TEST(Schedule, SharesRequestsOutInProportionAndEvenlyMixed) {
  EXPECT_EQ(make_schedule(std::vector<double>{1.0}), std::vector<std::size_t>{0});
  EXPECT_EQ(make_schedule(std::vector<double>{0.5, 0.5}).size(), 2U);
  const std::vector<std::size_t> schedule = make_schedule(std::vector<double>{0.75, 0.25});
  EXPECT_EQ(schedule.size(), 4U);
  EXPECT_EQ(std::count(schedule.begin(), schedule.end(), 0U), 3);
}

TEST(Schedule, OfAnySharesComesWithinHalfAPercentOrIsAsLongAsItMay) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    Random random(seed);
    std::vector<double> shares(static_cast<std::size_t>(random.integer(1, 40)));
    double sum = 0.0;
    for (double& share : shares) sum += share = 0.05 + static_cast<double>(random.uniform());
    for (double& share : shares) share /= sum;
    const std::vector<std::size_t> schedule = make_schedule(shares);
    ASSERT_FALSE(schedule.empty());
    ASSERT_LE(schedule.size(), 64 * shares.size());
    const auto length = static_cast<double>(schedule.size());
    double excess = 0.0;
    for (std::size_t r = 0; r < shares.size(); ++r) {
      const auto served = static_cast<double>(std::count(schedule.begin(), schedule.end(), r));
      excess = std::max(excess, served / length / shares[r]);
    }
    EXPECT_LE(excess, schedule.size() == shares.size() * 64 ? 1.1 : 1.05) << seed;
  }
}

TEST(MostServed, IsTheMostOfAnyWindow) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    Random random(seed);
    HandPlan plan(3);
    plan.stage(floats_of("x", 1), floats_of("y", 1), {{0, 1.0}, {1, 1.0}, {0, 1.0}, {2, 1.0}});
    std::vector<std::size_t>& schedule = plan->stages[0].schedule;
    schedule.resize(static_cast<std::size_t>(random.integer(1, 9)));
    for (std::size_t& replica : schedule) replica = static_cast<std::size_t>(random.integer(0, 3));
    for (std::size_t window = 1; window <= 20; ++window) {
      for (std::size_t device = 0; device < 3; ++device) {
        std::size_t most = 0;
        for (std::size_t first = 0; first < schedule.size(); ++first) {
          std::size_t served = 0;
          for (std::size_t r = first; r < first + window; ++r) served += device_for(*plan, {0, 0}, r) == device ? 1 : 0;
          most = std::max(most, served);
        }
        EXPECT_EQ(most_served(*plan, {0, 0}, device, window), most) << seed << " " << window << " " << device;
      }
    }
  }
}

Plan predicted() {
  const Graph graph = two_slow_nodes();
  Plan plan = plan_of(graph, 2, 3);
  ClusterModel model = model_of(2);
  model.pairs[{0, 1}] = {1e5, 0.25};
  must(predict(graph, model, plan));
  plan.prediction->single_device = "d1";
  plan.prediction->single_fits = false;
  plan.prediction->optimal = true;
  plan.prediction->bound_per_s = 1.0 / 3.0;
  return plan;
}

TEST(PredictionJson, IsReadAsItWasWritten) {
  const Plan plan = predicted();
  EXPECT_EQ(must(plan_from_json(plan_to_json(plan))), plan);
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const Graph graph = random_network(seed, 3);
    Plan other = RandomPlan(graph, seed, {}).make();
    Cluster cluster;
    for (const std::string& name : other.devices) cluster.devices.emplace_back().name = name;
    must(predict(graph, must(make_cluster_model(graph, cluster, nullptr)), other));
    EXPECT_EQ(must(plan_from_json(plan_to_json(other))), other);
  }
}

TEST(PredictionJson, EveryDamagedFieldIsRefusedByName) {
  const struct {
    std::function<void(Json&)> damage;
    const char* message;
  } cases[] = {
      {[](Json& j) { j["prediction"] = 1; }, "prediction: expected an object, found 1"},
      {[](Json& j) { j["prediction"]["latency_s"] = -1.0; }, "prediction.latency_s: expected a number that isn't"},
      {[](Json& j) { j["prediction"]["bound_per_s"] = "1"; }, "prediction.bound_per_s: expected a number"},
      {[](Json& j) { j["prediction"]["bottleneck"] = 1; }, "prediction.bottleneck: expected a string"},
      {[](Json& j) { j["prediction"]["optimal"] = 1; }, "prediction.optimal: expected"},
      {[](Json& j) { j["prediction"].erase("single_fits"); }, "prediction.single_fits: missing"},
      {[](Json& j) { j["prediction"]["rates"][1]["latency_s"] = nullptr; }, "prediction.rates[1].latency_s: expected"},
      {[](Json& j) { j["prediction"]["loads"][0]["memory_bytes"] = -1; }, "prediction.loads[0].memory_bytes: expected"},
      {[](Json& j) { j["prediction"]["links"][0]["from"] = -1; }, "prediction.links[0].from: expected"},
      {[](Json& j) { j["stages"][0]["parts"][0]["compute_s"] = {-1.0}; }, "stages[0].parts[0].compute_s[0]: expected"}};
  for (const auto& one : cases) {
    Json json = plan_to_json(predicted());
    one.damage(json);
    EXPECT_THAT(error_of(plan_from_json(json)), ::testing::HasSubstr(one.message));
  }
}

}  // namespace
}  // namespace onnx_split
