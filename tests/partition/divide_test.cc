// Dividing stages by hand and over the zoo: who holds which weights, what is computed twice, what is handed on, and
// what is refused with which proposal.
#include "partition/divide.h"

#include <gtest/gtest.h>

#include <map>

#include "engine/schedule.h"
#include "graph/builder.h"
#include "graph/operators.h"
#include "graph/passes/passes.h"
#include "graph/zoo/zoo.h"
#include "tests/partition/split_cases.h"
#include "tests/support/layer_weights.h"

namespace onnx_split {
namespace {

using testing::Chain;
using testing::error_of;
using testing::layer_weights;
using testing::must;
using testing::plan_stages;
using testing::stage;

class ZooSplits : public ::testing::TestWithParam<const char*> {};

TEST_P(ZooSplits, WeightsOfChannelSplitsAddUpToTheWholes) {
  const Graph graph = must(simplify(must(zoo::structure(GetParam()))));
  const std::vector<std::int64_t> units = channel_units(graph);
  const auto whole = layer_weights(graph);
  for (const Split split : {Split::kOutputChannel, Split::kInputChannel, Split::kChannelPair}) {
    for (const std::size_t ways : {2U, 3U, 4U, 8U}) {
      StageRequest request = stage({}, split, ways);
      request.each_layer = true;
      const Plan plan = must(plan_stages(graph, ways, {request}));
      std::map<std::string, std::int64_t> sum;
      std::size_t divided_stages = 0;
      for (const Stage& planned : plan.stages) {
        divided_stages += planned.split == split ? 1 : 0;
        StageNodes nodes;
        for (const std::string& name : planned.nodes) nodes.push_back(*graph.find_node(name));
        const DividedStage divided = must(divide_stage(graph, nodes, division_of(planned), units, PartWeights::kBlank));
        for (const DividedPart& part : divided.parts) {
          for (const auto& [name, elements] : layer_weights(part.graph)) sum[name] += elements;
        }
      }
      EXPECT_EQ(sum, whole) << split_name(split) << " " << ways;
      EXPECT_GE(divided_stages, split == Split::kChannelPair ? 3U : 5U) << split_name(split) << " " << ways;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Zoo, ZooSplits,
                         ::testing::Values("alexnet", "vgg16", "resnet18", "resnet50", "mobilenet_v1", "mobilenet_v2",
                                           "xception", "c3d"),
                         [](const auto& network) { return std::string(network.param); });

std::vector<std::string> names_of(const Stage& planned) { return planned.nodes; }

TEST(Divide, ARequestThatContradictsItselfIsRefused) {
  const Graph graph = must(simplify(must(zoo::structure("alexnet"))));
  StageRequest spatial = stage({}, Split::kSpatial, 4);
  spatial.grid = {};
  EXPECT_EQ(error_of(plan_stages(graph, 4, {spatial})),
            "stages[0]: spatial, 4 ways, a grid of 1×1, 0 weights: they contradict each other");
  StageRequest whole = stage({}, Split::kWhole, 2);
  EXPECT_NE(error_of(plan_stages(graph, 4, {whole})).find("whole, 2 ways"), std::string::npos);
  StageRequest weighted = stage({}, Split::kOutputChannel, 3);
  weighted.weights = {1, 2};
  EXPECT_NE(error_of(plan_stages(graph, 4, {weighted})).find("2 weights"), std::string::npos);
}

TEST(Divide, MacsOfTheHaloAreShownApart) {
  // Two fused 3×3 layers: each inner border makes both sides compute a row of the first layer twice.
  const Graph graph = Chain(Shape{1, 2, 12, 10}).conv("a", 4).conv("b", 3).graph();
  const Plan plan = must(plan_stages(graph, 3, {stage({}, Split::kSpatial, 3)}));
  constexpr std::int64_t row_of_a = 10 * 4 * 2 * 9;
  constexpr std::int64_t row_of_b = 10 * 3 * 4 * 9;
  EXPECT_EQ(plan.stages[0].parts[0].macs, 5 * row_of_a + 4 * row_of_b);
  EXPECT_EQ(plan.stages[0].parts[1].macs, 6 * row_of_a + 4 * row_of_b);
  EXPECT_EQ(plan.stages[0].parts[0].repeated_macs, 0);
  EXPECT_EQ(plan.stages[0].parts[1].repeated_macs, 2 * row_of_a);
  EXPECT_EQ(plan.stages[0].parts[2].repeated_macs, 2 * row_of_a);
}

// Rows that only the neighbours' parts add are sliced off first, so that a convolution's kernel can add the rest.
TEST(Divide, AddendsAreSlicedBeforeTheConvolution) {
  const Graph graph = must(simplify(must(zoo::structure("resnet50"))));
  const std::vector<std::int64_t> units = channel_units(graph);
  StageNodes nodes;
  for (std::size_t i = 0; i < graph.node_count() / 2; ++i) nodes.push_back(NodeId(i));
  const DividedStage divided =
      must(divide_stage(graph, nodes, {Split::kSpatial, 3, {3, 1}, {}}, units, PartWeights::kBlank));
  std::size_t sliced = 0;
  for (const DividedPart& part : divided.parts) {
    for (const Node& add : part.graph.nodes()) {
      if (add.op != OpType::kAdd) continue;
      const NodeId first = part.graph.value(add.inputs[0]).producer, second = part.graph.value(add.inputs[1]).producer;
      if (!first.valid() || !second.valid()) continue;
      const bool is_first = part.graph.node(first).op == OpType::kSlice;
      const NodeId slice = is_first ? first : second, conv = is_first ? second : first;
      if (part.graph.node(slice).op != OpType::kSlice) continue;
      EXPECT_EQ(part.graph.node(conv).op, OpType::kConv);
      EXPECT_LT(slice, conv) << describe(add);
      ++sliced;
    }
    for (const Step& step : make_schedule(part.graph, true)) {
      EXPECT_NE(part.graph.node(step.node).op, OpType::kAdd) << describe(part.graph.node(step.node));
    }
  }
  EXPECT_GE(sliced, 9U);
}

TEST(Divide, WhatMustSeeTheSumOpensTheNextStage) {
  const Graph graph = Chain(Shape{1, 8, 6, 6}).conv("a", 8).relu("r").conv("b", 4).graph();
  const Plan plan = must(plan_stages(graph, 2, {stage({"r"}, Split::kInputChannel, 2), StageRequest{}}));
  ASSERT_EQ(plan.stages.size(), 2U);
  EXPECT_EQ(names_of(plan.stages[0]), (std::vector<std::string>{"a"}));
  EXPECT_EQ(names_of(plan.stages[1]), (std::vector<std::string>{"r", "b"}));
  EXPECT_EQ(plan.stages[0].parts[1].outputs[0].combine, Combine::kAdd);
}

TEST(Divide, AnOutputOfTheNetworkThatMustSeeTheSumGetsAFinishingStage) {
  const Graph graph = Chain(Shape{1, 8}).fc("fc", 5).add("p", OpType::kSoftmax, {{"axis", std::int64_t{1}}}).graph();
  const Plan plan = must(plan_stages(graph, 2, {stage({}, Split::kInputChannel, 2)}));
  ASSERT_EQ(plan.stages.size(), 2U);
  EXPECT_EQ(plan.stages[1].split, Split::kWhole);
  EXPECT_EQ(plan.stages[1].parts[0].devices, plan.stages[0].parts[0].devices);
}

TEST(Divide, AChannelPartFeedsItsColumnsOfTheFcLayer) {
  Chain chain(Shape{1, 3, 6, 6});
  chain.conv("a", 10).relu("r").add("flat", OpType::kFlatten, {{"axis", std::int64_t{1}}}).fc("fc", 7);
  const Graph graph = chain.graph();
  const Plan plan = must(plan_stages(graph, 3, {stage({}, Split::kChannelPair, 3)}));
  // 3, 3 and 4 channels, and 36 columns for each.
  const std::vector<std::int64_t> channels{3, 3, 4};
  for (std::size_t p = 0; p < 3; ++p) {
    const std::int64_t floats = channels[p] * (27 + 1) + channels[p] * 36 * 7 + (p == 0 ? 7 : 0);
    EXPECT_EQ(plan.stages[0].parts[p].weight_bytes, floats * 4) << p;
    EXPECT_EQ(plan.stages[0].parts[p].repeated_macs, 0);
  }
}

TEST(Divide, AnAverageOverRowsIsASumOfWeightedAverages) {
  Chain chain(Shape{1, 3, 7, 7});
  chain.conv("a", 4).add("mean", OpType::kGlobalAveragePool);
  const Graph graph = chain.graph();
  const Plan plan = must(plan_stages(graph, 3, {stage({}, Split::kSpatial, 3)}));
  for (const Part& part : plan.stages[0].parts) EXPECT_EQ(part.outputs[0].combine, Combine::kAdd);
}

TEST(Divide, NothingCanNotBeDivided) {
  Chain chain(Shape{0, 8, 6, 6});
  chain.relu("a").add("b", OpType::kSigmoid);
  const Graph graph = chain.graph();
  for (const Split split : {Split::kSpatial, Split::kOutputChannel, Split::kInputChannel, Split::kChannelPair}) {
    const std::string error = error_of(plan_stages(graph, 2, {stage({}, split, 2)}));
    EXPECT_NE(error.find("value \"x\" has no elements"), std::string::npos) << error;
  }
}

TEST(Divide, NoTwoPartsHoldTheSameWeights) {
  const Graph grouped = Chain(Shape{1, 6, 5, 5}).conv("a", 12, 3, 1, 2).graph();
  EXPECT_NE(error_of(plan_stages(grouped, 3, {stage({}, Split::kOutputChannel, 3)})).find("the same weights"),
            std::string::npos);
  must(plan_stages(grouped, 4, {stage({}, Split::kOutputChannel, 4)}));
  const Graph separable = Chain(Shape{1, 6, 5, 5}).conv("dw", 6, 3, 1, 6).conv("pw", 12, 1).graph();
  const std::string error = error_of(plan_stages(separable, 2, {stage({}, Split::kOutputChannel, 2)}));
  EXPECT_NE(error.find("\"dw\" (Conv): two parts would need the same weights"), std::string::npos) << error;
  EXPECT_NE(error.find("nearest possible: until: dw"), std::string::npos) << error;
}

// Nothing nearer is looked for: it isn't the split that stands in the way.
TEST(Divide, AWholeStageOfConstantsAloneIsRefused) {
  GraphBuilder builder("constant_behind");
  const ValueId x = must(builder.add_input("x", {DataType::kFloat32, Shape{1, 7, 5}}));
  const ValueId k = must(builder.add_constant("k", Tensor::scalar(-1.0F)));
  const NodeId y = must(builder.add_node("y", OpType::kRelu, {}, {x}, {"y"}));
  const NodeId z = must(builder.add_node("z", OpType::kAbs, {}, {k}, {"z"}));
  const Graph& made = builder.graph();
  const std::vector<ValueId> outputs = {made.node(y).outputs[0], made.node(z).outputs[0]};
  const Graph graph = must(std::move(builder).build(outputs));
  StageRequest rows = stage({}, Split::kSpatial, 2);
  rows.each_layer = true;  // leaves z over
  const std::string error = error_of(plan_stages(graph, 2, {rows}));
  EXPECT_NE(error.find("stages[0]: whole: "), std::string::npos) << error;
  EXPECT_EQ(error.find("nearest"), std::string::npos) << error;
}

TEST(Divide, HugeAxesCostNothing) {
  Chain softmax(Shape{1, std::int64_t{1} << 36});
  softmax.add("p", OpType::kSoftmax, {{"axis", std::int64_t{1}}});
  must(plan_stages(softmax.graph(), 1, {StageRequest{}}));
  Chain resize(Shape{1, 2, 1, std::int64_t{1} << 37});
  resize.add("r", OpType::kResize, {{"scales", Floats{1.0F, 1.0F, 1.0F, 1.3F}}});
  EXPECT_FALSE(plan_stages(resize.graph(), 2, {stage({}, Split::kSpatial, 2, {1, 2})}));
}

TEST(Divide, GroupsStayTogether) {
  // A ResNeXt bottleneck: 1×1, grouped 3×3, 1×1.
  const Graph graph = Chain(Shape{1, 8, 5, 5})
                          .conv("in", 12, 1)
                          .relu("r1")
                          .conv("grouped", 12, 3, 1, 4)
                          .relu("r2")
                          .conv("out", 8, 1)
                          .graph();
  const Plan plan = must(plan_stages(graph, 2, {stage({}, Split::kChannelPair, 2)}));
  for (const Part& part : plan.stages[0].parts) EXPECT_EQ(part.repeated_macs, 0);
  EXPECT_EQ(plan.stages[0].parts[0].macs, plan.stages[0].parts[1].macs);
}

struct Refusal {
  const char* name;
  Graph graph;
  std::vector<StageRequest> stages;
  std::vector<std::string> texts;
};

TEST(Divide, ImpossibleRequestsAreRefusedWithTheReasonAndTheNearestChoice) {
  Chain softmax(Shape{1, 8});
  softmax.fc("fc1", 6).add("p", OpType::kSoftmax, {{"axis", std::int64_t{1}}}).fc("fc2", 4);
  Chain excite(Shape{1, 4, 6, 6});
  excite.conv("a", 8).relu("r");
  const ValueId r = excite.now();
  excite.add("mean", OpType::kGlobalAveragePool).conv("squeeze", 8, 1).add("gate", OpType::kMul, {}, {r}).conv("b", 4);
  const Graph excited = excite.graph();
  const std::vector<Refusal> cases = {
      {"softmax",
       softmax.graph(),
       {stage({"fc1"}, Split::kWhole, 1), stage({}, Split::kInputChannel, 2)},
       {"stages[1]: input_channel, 2 ways: ", "\"p\" (Softmax)", "can't be divided along axis 1: it needs all 6 of it",
        "nearest possible: a stage until: p in front of it"}},
      {"too many ways",
       Chain(Shape{1, 3, 4, 4}).conv("a", 256).graph(),
       {stage({}, Split::kOutputChannel, 300)},
       {"stages[0]: output_channel, 300 ways: ", "has 256 channels, too few for 300 parts",
        "nearest possible: ways: 256"}},
      {"a grid finer than the rows",
       Chain(Shape{1, 3, 7, 7}).conv("a", 4).graph(),
       {stage({}, Split::kSpatial, 9)},
       {"stages[0]: spatial, 9 ways as 9×1: ", "has 7 rows, too few for 9 parts", "nearest possible: grid: [7, 1]"}},
      {"three dense layers",
       Chain(Shape{1, 8, 5, 5}).conv("a", 8).relu("r1").conv("b", 8).relu("r2").conv("c", 8).graph(),
       {stage({}, Split::kChannelPair, 2)},
       {"it divides 2 dense layers on a path, and 3 follow one another: \"a\", \"b\", \"c\"",
        "nearest possible: until: "}},
      {"squeeze and excite", excited, {stage({}, Split::kChannelPair, 2)}, {"nearest possible: "}},
      {"two things at once",
       Chain(Shape{1, 8}).fc("a", 64).fc("b", 64).fc("c", 64).graph(),
       {stage({}, Split::kOutputChannel, 300)},
       {"and 3 follow one another", "nearest possible: until: a, with ways: 64"}},
      {"rows of a matrix product",
       Chain(Shape{1, 8}).fc("fc", 6).graph(),
       {stage({}, Split::kSpatial, 2)},
       {"has no rows and columns", "nearest possible: split: output_channel"}},
  };
  for (const Refusal& c : cases) {
    const std::string error = error_of(plan_stages(c.graph, 300, c.stages));
    for (const std::string& text : c.texts) EXPECT_NE(error.find(text), std::string::npos) << c.name << ": " << error;
  }
}

}  // namespace
}  // namespace onnx_split
