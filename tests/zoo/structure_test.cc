// The networks have the published structure: parameters, multiply-accumulates, shapes, names.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "graph/operators.h"
#include "graph/zoo/zoo.h"

namespace onnx_split::zoo {
namespace {

std::int64_t macs_of(const Graph& graph) {
  std::int64_t macs = 0;
  for (const Node& node : graph.nodes()) macs += node_cost(graph, node).macs;
  return macs;
}

// In units of 1e9, as the papers and torchvision's documentation have them.
const std::map<std::string_view, double> kPublishedGmacs = {
    {"alexnet", 0.714},      {"vgg11", 7.61},         {"vgg16", 15.47},         {"vgg19", 19.63},   {"resnet18", 1.814},
    {"resnet34", 3.664},     {"resnet50", 4.089},     {"resnet101", 7.801},     {"xception", 8.36}, {"c3d", 38.5},
    {"mobilenet_v1", 0.569}, {"mobilenet_v2", 0.301}, {"squeezenet1_1", 0.349},
};

class ZooStructure : public testing::TestWithParam<Network> {
 protected:
  void SetUp() override {
    Expected<Graph> built = structure(GetParam().name);
    ASSERT_TRUE(built) << built.error().message;
    graph_.emplace(std::move(*built));
  }
  std::optional<Graph> graph_;
};

TEST_P(ZooStructure, HasThePublishedParameterCount) { EXPECT_EQ(count_parameters(*graph_), GetParam().parameters); }

TEST_P(ZooStructure, HasThePublishedMacsWithinOnePercent) {
  const double published = kPublishedGmacs.at(GetParam().name) * 1e9;
  EXPECT_NEAR(static_cast<double>(macs_of(*graph_)), published, 0.01 * published);
}

TEST_P(ZooStructure, GoesFromInputToLogits) {
  ASSERT_EQ(graph_->inputs().size(), 1);
  ASSERT_EQ(graph_->outputs().size(), 1);
  const Value& input = graph_->value(graph_->inputs()[0]);
  const Value& logits = graph_->value(graph_->outputs()[0]);
  EXPECT_EQ(graph_->name(), GetParam().name);
  EXPECT_EQ(input.name, "input");
  EXPECT_EQ(input.shape(), GetParam().input);
  EXPECT_EQ(logits.name, "logits");
  EXPECT_EQ(logits.shape(), (Shape{1, GetParam().name == "c3d" ? 487 : 1000}));
}

TEST_P(ZooStructure, KeepsNothingThatNoNodeReads) {
  for (const Value& value : graph_->values())
    EXPECT_TRUE(!value.consumers.empty() || value.name == "logits") << value.name;
}

INSTANTIATE_TEST_SUITE_P(All, ZooStructure, testing::ValuesIn(networks().begin(), networks().end()),
                         [](const auto& network) { return std::string(network.param.name); });

TEST(Zoo, HasThirteenNetworks) { EXPECT_EQ(networks().size(), 13); }

TEST(Zoo, NamesTheLayersAsTheOriginalsDo) {
  const std::pair<std::string_view, std::string_view> known[] = {
      {"alexnet", "features.0"},
      {"resnet50", "layer1.0.downsample.1"},
      {"mobilenet_v2", "features.2.conv.1.0"},
      {"mobilenet_v1", "conv_dw_13_bn"},
      {"xception", "block14_sepconv2_bn"},
      {"squeezenet1_1", "features.3.squeeze"},
      {"c3d", "conv5b"},
  };
  for (const auto& [network, node] : known) {
    const Expected<Graph> graph = structure(network);
    ASSERT_TRUE(graph);
    EXPECT_TRUE(graph->find_node(node)) << network << " " << node;
  }
}

TEST(Zoo, AnUnknownNameListsTheKnownOnes) {
  const auto graph = structure("resnet5000");
  ASSERT_FALSE(graph);
  EXPECT_EQ(graph.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(graph.error().message, testing::HasSubstr("resnet5000"));
  for (const Network& network : networks()) {
    EXPECT_THAT(graph.error().message, testing::HasSubstr(std::string(network.name)));
  }
}

TEST(Zoo, AFailedCalibrationNamesTheNetwork) {
  const auto failing = [](const Graph&, std::span<const Tensor>) -> Expected<std::vector<Tensor>> {
    return fail(ErrorCode::kExhausted, "no memory left");
  };
  const auto graph = build("alexnet", 1, failing);
  ASSERT_FALSE(graph);
  EXPECT_EQ(graph.error().code, ErrorCode::kExhausted);
  EXPECT_EQ(graph.error().message, "alexnet: no memory left");
}

TEST(RandomInput, IsStandardNormalAndSeeded) {
  const Shape shape{1, 3, 64, 64};
  const Tensor a = random_input(shape, 1);
  double sum = 0.0;
  double squares = 0.0;
  for (const float x : a.as<float>()) {
    sum += x;
    squares += static_cast<double>(x) * x;
  }
  const double count = static_cast<double>(shape.elements());
  EXPECT_NEAR(sum / count, 0.0, 0.03);
  EXPECT_NEAR(squares / count, 1.0, 0.05);
  EXPECT_TRUE(std::ranges::equal(a.as<float>(), random_input(shape, 1).as<float>()));
  EXPECT_FALSE(std::ranges::equal(a.as<float>(), random_input(shape, 2).as<float>()));
}

}  // namespace
}  // namespace onnx_split::zoo
