#include "partition/plan.h"

#include <gtest/gtest.h>

#include <functional>

#include "graph/builder.h"
#include "partition/extract.h"
#include "partition/manifest.h"
#include "partition/plan_json.h"
#include "partition/planner.h"
#include "partition/routing.h"
#include "tests/partition/split_cases.h"
#include "tests/support/expect.h"
#include "tests/support/random_network.h"

namespace onnx_split {
namespace {

using testing::devices;
using testing::error_of;
using testing::must;
using testing::random_network;

Plan plan_of(const Graph& graph, std::size_t count) {
  PlanRequest request;
  request.devices = devices(count);
  request.engine = {2, "SkylakeX", [](const Graph&) { return NodeChoices{{"Conv_0", "im2col tile=8"}}; }};
  return must(make_plan(graph, request));
}

TEST(Plan, SurvivesJson) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const Plan plan = plan_of(random_network(seed, 4), 1 + seed % 4);
    EXPECT_EQ(must(plan_from_json(must(parse_json(plan_to_json(plan).dump())))), plan);
  }
}

TEST(Plan, ManifestSurvivesJson) {
  const Graph graph = random_network(5, 5);
  const Manifest manifest = make_manifest(graph, plan_of(graph, 3));
  const Json json = manifest_to_json(manifest);
  EXPECT_EQ(manifest_to_json(must(manifest_from_json(json))).dump(), json.dump());
}

TEST(Plan, HasTheContractsFieldsInItsManifest) {
  const Graph graph = random_network(5, 5);
  const Json json = manifest_to_json(make_manifest(graph, plan_of(graph, 2)));
  for (const char* key : {"model", "values", "parts", "inputs", "outputs"}) EXPECT_TRUE(json.contains(key)) << key;
  const Json& part = json["parts"][0];
  EXPECT_EQ(part["file"], "stage0_part0.onnx");
  for (const char* key : {"tensor", "value", "offset", "shape", "combine"}) {
    EXPECT_TRUE(part["inputs"][0].contains(key)) << key;
  }
}

TEST(Plan, EveryDamagedFieldIsRefusedWithItsPath) {
  const Graph graph = random_network(5, 5);
  const Json good = plan_to_json(plan_of(graph, 2));
  struct Case {
    const char* name;
    std::function<void(Json&)> damage;
    std::string message;
  };
  const std::vector<Case> cases = {
      {"window", [](Json& j) { j["window"] = 0; }, "window: expected an integer from 1 to 65536, found 0"},
      {"split", [](Json& j) { j["stages"][1]["split"] = "diagonal"; }, "unknown split \"diagonal\""},
      {"missing", [](Json& j) { j["stages"][0].erase("nodes"); }, "stages[0].nodes: missing"},
      {"type", [](Json& j) { j["devices"] = "pi1"; }, "devices: expected a list, found \"pi1\""},
      {"rank", [](Json& j) { j["stages"][0]["parts"][0]["inputs"][0]["offset"] = {0}; },
       "stages[0].parts[0].inputs[0].offset: expected 4 numbers"},
      {"shape",
       [](Json& j) {
         j["stages"][0]["parts"][0]["inputs"][0]["shape"] = {1, -1, 1, 1};
       },
       "negative"},
      {"format", [](Json& j) { j["format"] = 99; }, "format: expected an integer from 4 to 4, found 99"},
  };
  for (const Case& c : cases) {
    Json json = good;
    c.damage(json);
    EXPECT_NE(error_of(plan_from_json(json)).find(c.message), std::string::npos)
        << c.name << ": " << error_of(plan_from_json(json));
  }
}

TEST(Plan, IsRefusedForAnotherModel) {
  const Plan plan = plan_of(random_network(5, 5), 2);
  EXPECT_NE(error_of(check_plan(plan, random_network(6, 5))).find("made for another model"), std::string::npos);
}

TEST(Plan, EveryContradictionIsRefused) {
  const Graph graph = random_network(5, 5);
  const Plan good = plan_of(graph, 2);
  must(check_plan(good, graph));
  struct Case {
    std::function<void(Plan&)> damage;
    std::string message;
  };
  const std::vector<Case> cases = {
      {[](Plan& p) { p.stages[0].nodes.pop_back(); }, "isn't computed by this stage's nodes"},
      {[](Plan& p) { p.stages[1].nodes.push_back(p.stages[0].nodes[0]); }, "is in the plan twice"},
      {[](Plan& p) { p.stages[1].nodes.push_back("ghost"); }, "no node \"ghost\""},
      {[](Plan& p) { std::swap(p.stages[0], p.stages[1]); }, "isn't computed by an earlier stage"},
      {[](Plan& p) { p.stages[0].parts[0].devices = {7}; }, "device 7 of 2"},
      {[](Plan& p) { p.stages[0].schedule = {3}; }, "the schedule names replica 3 of 1"},
      {[](Plan& p) { p.stages[0].schedule.clear(); }, "an empty schedule"},
      {[](Plan& p) { p.stages[0].parts[0].inputs[0].region[1].end += 1; }, "isn't inside its shape"},
      {[](Plan& p) { p.stages.clear(); }, "no stages"},
      {[](Plan& p) { p.stages[0].weights = {std::int64_t{1} << 62}; }, "expected a weight from 1 to 1000000"},
  };
  for (const Case& c : cases) {
    Plan plan = good;
    c.damage(plan);
    EXPECT_NE(error_of(check_plan(plan, graph)).find(c.message), std::string::npos)
        << c.message << " / " << error_of(check_plan(plan, graph));
  }
}

TEST(Plan, PartsHoldEveryWeightOnceAndAllMacs) {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    const Graph graph = random_network(seed, 5);
    const Plan whole = plan_of(graph, 1);
    const Plan plan = plan_of(graph, 3);
    std::int64_t macs = 0;
    std::int64_t weight_bytes = 0;
    for (const Stage& stage : plan.stages) {
      macs += stage.parts[0].macs;
      weight_bytes += stage.parts[0].weight_bytes;
    }
    EXPECT_EQ(macs, whole.stages[0].parts[0].macs);
    EXPECT_EQ(weight_bytes, whole.stages[0].parts[0].weight_bytes);
  }
}

TEST(Plan, ReplicasTakeTurns) {
  const Graph graph = random_network(2, 4);
  PlanRequest request;
  request.devices = devices(3);
  StageRequest first;
  first.until = {graph.value(graph.nodes()[1].outputs[0]).name};
  first.replicas = 2;
  request.stages = {first, StageRequest{}};
  const Plan plan = must(make_plan(graph, request));
  EXPECT_EQ(device_for(plan, {0, 0}, 4), 0U);
  EXPECT_EQ(device_for(plan, {0, 0}, 5), 1U);
  EXPECT_EQ(device_for(plan, {1, 0}, 5), 2U);
  request.devices = devices(2);  // the devices begin again
  EXPECT_EQ(device_for(must(make_plan(graph, request)), {1, 0}, 5), 0U);
  request.devices = devices(1);
  EXPECT_NE(error_of(make_plan(graph, request))
                .find("1 parts of 2 replicas want 2 devices, and 1 is not named by other stages"),
            std::string::npos);
}

TEST(Plan, AnOutputThatIsAnInputIsRefused) {
  GraphBuilder builder("echo");
  const ValueId x = must(builder.add_input("x", {DataType::kFloat32, {2}}));
  const ValueId y = must(builder.add("y", OpType::kRelu, {}, {x}));
  const Graph graph = must(std::move(builder).build({y, x}));
  PlanRequest request;
  request.devices = devices(1);
  EXPECT_EQ(error_of(make_plan(graph, request)), "the network's output \"x\" is its input: no stage gives it");
}

TEST(Plan, AValueWithoutElementsThatWouldTravelIsRefused) {
  GraphBuilder builder("nothing");
  const ValueId x = must(builder.add_input("x", {DataType::kFloat32, {2}}));
  const Attributes none{{"starts", Ints{2}}, {"ends", Ints{2}}};
  const ValueId empty = must(builder.add("empty", OpType::kSlice, none, {x}));
  const ValueId y = must(builder.add("y", OpType::kConcat, {{"axis", std::int64_t{0}}}, {empty, x}));
  const Graph inside = must(GraphBuilder(builder).build({y})), outside = must(std::move(builder).build({y, empty}));
  PlanRequest request;
  request.devices = devices(1);
  must(check_plan(must(make_plan(inside, request)), inside));
  EXPECT_EQ(error_of(make_plan(outside, request)),
            "value \"empty\" has no elements [0:0]: it can't go from stage to stage");
}

// 128 owners of a column each, and thousands of parts that each need more rows of all of them than the one before.
TEST(Routing, TooManyDifferentNeedsAreRefusedInTime) {
  constexpr std::int64_t owners = 128, readers = 3000;
  Plan plan;
  for (std::int64_t d = 0; d < readers; ++d) plan.devices.push_back(fmt::format("d{}", d));
  plan.stages.resize(2);
  for (Stage& stage : plan.stages) stage.schedule = {0};
  const auto add = [](Stage& stage, std::size_t device, ValueRegion input, ValueRegion output) {
    stage.parts.emplace_back();
    stage.parts.back().devices = {device};
    stage.parts.back().inputs = {std::move(input)};
    stage.parts.back().outputs = {std::move(output)};
  };
  for (std::int64_t i = 0; i < owners; ++i) {
    add(plan.stages[0], 0, {"x", Region({{0, 1}})}, {"v", Region({{i, i + 1}, {0, readers}})});
  }
  for (std::int64_t i = 0; i < readers; ++i) {
    add(plan.stages[1], static_cast<std::size_t>(i), {"v", Region({{0, owners}, {0, i + 1}})},
        {"y", Region({{i, i + 1}})});
  }
  EXPECT_EQ(error_of(make_routing(plan, {"x"}, {"y"})), "its parts need too many different regions of what others own");
}

TEST(Routing, AValueNeededBySeveralStagesGoesStraightToEach) {
  const Graph graph = random_network(11, 6);
  const Plan plan = plan_of(graph, 4);
  const Manifest manifest = make_manifest(graph, plan);
  const Routing routing = must(make_routing(plan, manifest.inputs, manifest.outputs));
  // Each part's input is fed by exactly one transfer of the whole value; no value is sent twice from one source.
  for (const PartId id : part_ids(plan)) {
    for (const ValueRegion& input : plan.stages[id.stage].parts[id.part].inputs) {
      ASSERT_EQ(routing.pieces_of(id, input).size(), 1U);
      EXPECT_EQ(routing.transfers[routing.pieces_of(id, input)[0]].what.region, input.region);
    }
    for (const std::size_t transfer : routing.from(id)) {
      EXPECT_LE(receiving_devices(plan, routing.transfers[transfer], 0).size(), plan.devices.size());
    }
  }
}

}  // namespace
}  // namespace onnx_split
