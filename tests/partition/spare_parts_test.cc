// Parity and standby parts in plans: what they are, where they are possible, and what may be lost.
#include "partition/spare_parts.h"

#include <gtest/gtest.h>

#include "partition/extract.h"
#include "partition/manifest.h"
#include "partition/plan_json.h"
#include "partition/planner.h"
#include "partition/routing.h"
#include "partition/spares.h"
#include "tests/support/expect.h"
#include "tests/support/spare_network.h"

namespace onnx_split {
namespace {

using testing::error_of;
using testing::must;
using testing::SpareNetwork;

Plan plan_of(const Graph& graph, std::vector<StageRequest> stages, std::size_t devices = 4) {
  PlanRequest request;
  for (std::size_t i = 0; i < devices; ++i) request.devices.push_back(fmt::format("d{}", i));
  request.stages = std::move(stages);
  return must(make_plan(graph, request));
}

std::vector<StageRequest> on_devices(std::vector<StageRequest> stages, const std::vector<std::string>& middle) {
  stages[0].devices = stages[2].devices = {"d0"};
  stages[1].devices = middle;
  return stages;
}

TEST(SpareDevices, AreThoseThatComputeNothingElse) {
  const Graph graph = SpareNetwork::make(1, 8);
  const auto count = [&](Spare spare, const std::vector<std::string>& middle) {
    std::vector<StageRequest> stages = on_devices(SpareNetwork::parity_stages("b", 2), middle);
    stages[1].spare = spare;
    return count_spare_devices(plan_of(graph, stages, 5));
  };
  EXPECT_EQ(count(Spare::kNone, {"d1", "d2"}), 0U);
  EXPECT_EQ(count(Spare::kParity, {"d1", "d2", "d3"}), 1U);
  EXPECT_EQ(count(Spare::kParity, {"d1", "d2", "d0"}), 0U);  // d0 has whole stages, too
  EXPECT_EQ(count(Spare::kStandby, {"d1", "d2", "d3", "d4"}), 2U);
}

// Parts of 2, 2 and 3 channels: the sums are padded.
TEST(Parity, HasTheSumOfTheOtherPartsWeights) {
  const Graph graph = SpareNetwork::make(1, 7);
  for (const std::string layer : {"b", "c"}) {
    const Plan plan = plan_of(graph, SpareNetwork::parity_stages(layer, 3), 5);
    const Stage& stage = plan.stages[1];
    ASSERT_EQ(stage.parts.size(), 4U);
    EXPECT_EQ(stage.ways(), 3U);
    EXPECT_EQ(stage.model_of(3), 2U);
    EXPECT_EQ(stage.parts[3].repeated_macs, stage.parts[3].macs);
    EXPECT_EQ(stage.parts[3].macs, stage.parts[2].macs);
    const std::vector<PartGraph> parts = must(extract_parts(graph, plan));
    const auto constant = [&](std::size_t part, std::size_t input) {
      const Graph& of = parts[1 + part].graph;
      return *of.value(of.nodes()[0].inputs[input]).constant;
    };
    for (const std::size_t input : {1U, 2U}) {
      const Tensor sum = constant(3, input);
      EXPECT_EQ(sum.shape(), constant(2, input).shape());
      const std::size_t row = sum.as<float>().size() / 3;  // of a channel
      for (std::size_t i = 0; i < sum.as<float>().size(); ++i) {
        float expected = 0.0F;
        for (std::size_t part = 0; part < 3; ++part) {
          const Tensor own = constant(part, input);
          if (i < own.as<float>().size()) expected += own.as<float>()[i];
        }
        ASSERT_EQ(sum.as<float>()[i], expected) << layer << " channel " << i / row;
      }
    }
  }
}

TEST(Parity, IsRefusedWhereNoSumTellsWhatIsMissing) {
  const Graph graph = SpareNetwork::make(1, 8);
  const auto refused = [&](std::vector<StageRequest> stages) {
    PlanRequest request;
    request.devices = {"d0", "d1", "d2", "d3"};
    request.stages = std::move(stages);
    return error_of(make_plan(graph, request));
  };
  std::vector<StageRequest> stages = SpareNetwork::parity_stages("b", 2);
  stages[1].until = {"relu_b"};
  EXPECT_EQ(refused(stages), "stages[1]: parity: for one Conv, Gemm or MatMul by output channels: it isn't one layer");
  stages = on_devices(SpareNetwork::parity_stages("b", 2), {"d1", "d2", "d1"});
  EXPECT_EQ(refused(stages), "stages[1]: parity: parts 0 and 2 are on the same device: its loss would take both");
  stages = SpareNetwork::parity_stages("b", 4);
  EXPECT_EQ(refused(stages), "stages[1]: 5 parts of 1 replicas want 5 devices, and 4 are not named by other stages");
}

TEST(Standby, RepeatsEachPart) {
  const Graph graph = SpareNetwork::make(2, 8);
  std::vector<StageRequest> stages = SpareNetwork::parity_stages("b", 2);
  stages[1].spare = Spare::kStandby;
  stages[1].split = Split::kSpatial;
  stages[1].grid = {2, 1};
  const Plan plan = plan_of(graph, stages, 5);
  const Stage& stage = plan.stages[1];
  ASSERT_EQ(stage.parts.size(), 4U);
  EXPECT_EQ(stage.parts[2].outputs, stage.parts[0].outputs);
  EXPECT_EQ(stage.parts[3].inputs, stage.parts[1].inputs);
  // Files only of what they repeat.
  EXPECT_EQ(make_manifest(graph, plan).parts.size(), 4U);
}

TEST(SpareParts, SayWhatMayBeLost) {
  const Graph graph = SpareNetwork::make(3, 8);
  const Plan parity = plan_of(graph, on_devices(SpareNetwork::parity_stages("b", 2), {"d1", "d2", "d3"}));
  EXPECT_TRUE(can_lose(parity, {}));
  for (const std::size_t device : {1U, 2U, 3U}) EXPECT_TRUE(can_lose(parity, {device}));
  EXPECT_FALSE(can_lose(parity, {0}));
  EXPECT_FALSE(can_lose(parity, {1, 2}));
  std::vector<StageRequest> stages = on_devices(SpareNetwork::parity_stages("b", 2), {"d1", "d2", "d3", "d4"});
  stages[1].spare = Spare::kStandby;
  const Plan standby = plan_of(graph, stages, 5);
  EXPECT_TRUE(can_lose(standby, {1, 2}));
  EXPECT_TRUE(can_lose(standby, {1, 4}));
  EXPECT_FALSE(can_lose(standby, {1, 3}));
  EXPECT_FALSE(can_lose(standby, {0}));
}

TEST(SpareParts, AreAlternativesOfWhatTheyReplace) {
  const Graph graph = SpareNetwork::make(4, 7);
  std::vector<StageRequest> stages = on_devices(SpareNetwork::parity_stages("b", 2), {"d1", "d2", "d3"});
  // Rows of what follows, so that less than all of b is needed of it in one place.
  stages[2].until = {"relu_b"};
  stages[2].split = Split::kSpatial;
  stages[2].ways = 2;
  stages[2].grid = {2, 1};
  stages[2].devices = {"d0", "d1"};
  stages.emplace_back().devices = {"d0"};
  const Plan plan = plan_of(graph, stages);
  const Routing routing = must(make_routing(plan, plan.inputs, plan.outputs));
  ASSERT_EQ(routing.alternatives.size(), 1U);
  EXPECT_EQ(routing.alternatives[0].needed, 2U);
  ASSERT_EQ(routing.alternatives[0].transfers.size(), 3U);
  for (std::size_t p = 0; p < 3; ++p) {
    const Transfer& transfer = routing.transfers[routing.alternatives[0].transfers[p]];
    EXPECT_EQ(transfer.source, (PartId{1, p}));
    EXPECT_EQ(transfer.what, plan.stages[1].parts[p].outputs[0]);  // whole: the others are told from it
    EXPECT_EQ(transfer.consumers.size(), 2U);
  }
}

TEST(SpareParts, SurviveFilesAndAreChecked) {
  const Graph graph = SpareNetwork::make(5, 7);
  const Plan plan = plan_of(graph, on_devices(SpareNetwork::parity_stages("c", 2), {"d1", "d2", "d3"}));
  EXPECT_EQ(must(plan_from_json(plan_to_json(plan))), plan);
  must(check_plan(plan, graph));
  const Manifest manifest = must(manifest_from_json(manifest_to_json(make_manifest(graph, plan))));
  EXPECT_EQ(manifest.parts[3].outputs[0].members, (std::vector<std::size_t>{0, 1}));
  EXPECT_EQ(manifest.parts[3].outputs[0].region.combine, Combine::kParity);
  const auto damaged = [&](const std::function<void(Stage&)>& damage) {
    Plan copy = plan;
    damage(copy.stages[1]);
    return error_of(check_plan(copy, graph));
  };
  EXPECT_NE(damaged([](Stage& stage) { stage.spare = Spare::kNone; }), "");
  EXPECT_NE(damaged([](Stage& stage) { stage.spare = Spare::kStandby; }), "");
  EXPECT_EQ(damaged([](Stage& stage) { stage.parts[2].outputs[0].combine = Combine::kPlace; }),
            "stage 1: the parity part gives something else than parity");
  EXPECT_EQ(damaged([](Stage& stage) { stage.parts[0].outputs[0].combine = Combine::kParity; }),
            "stage 1: value \"c\": only a spare part gives parity");
  EXPECT_EQ(damaged([](Stage& stage) {
              stage.parts[2].outputs[0].region[1] = {1, 5};
            }),
            "stage 1: value \"c\": a parity of [0:1,1:5]");
  Json json = manifest_to_json(make_manifest(graph, plan));
  json["parts"][3]["outputs"][0]["members"] = {0, 7};
  EXPECT_NE(error_of(manifest_from_json(json)).find("expected parts of the same stage"), std::string::npos);
}

}  // namespace
}  // namespace onnx_split
