// What shares of a node take: in proportion where nothing was measured, along the measured curve where something was.
#include "partition/node_times.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "graph/builder.h"
#include "partition/stage_shapes.h"
#include "tests/support/expect.h"

namespace onnx_split {
namespace {

using testing::must;

// a: a 1×1 convolution of 8 channels on 10×10; b: a ReLU.
Graph conv_and_relu(std::int64_t channels = 4) {
  GraphBuilder builder("net");
  const ValueId x = must(builder.add_input("x", {DataType::kFloat32, Shape{1, 8, 10, 10}}));
  const ValueId w =
      must(builder.add_constant("w", Tensor::floats({channels, 8, 1, 1}, std::vector<float>(8 * channels, 1.0F))));
  const ValueId a = must(builder.add("a", OpType::kConv, {}, {x, w}));
  return must(std::move(builder).build({must(builder.add("b", OpType::kRelu, {}, {a}))}));
}

DeviceProfile profile(double a_ms, double slowdown = 1.0) {
  DeviceProfile device;
  device.slowdown = slowdown;
  device.nodes["a"] = {a_ms, a_ms, a_ms};
  device.nodes["b"] = {};  // in a's epilogue
  return device;
}

NodeTimes times_of(const std::vector<DeviceProfile>& devices) {
  std::vector<const DeviceProfile*> pointers;
  for (const DeviceProfile& device : devices) pointers.push_back(&device);
  return NodeTimes::from_profiles(conv_and_relu(), pointers);
}

const NodeId kA(0);
const NodeId kB(1);

TEST(NodeTimes, ScaledOnesAreSoManyTimesAsLong) {
  const NodeTimes times = times_of({profile(2.0)});
  const NodeTimes scaled = times.scaled(std::array{2.5, 1.0});
  EXPECT_DOUBLE_EQ(scaled.node_s(kA), 2.5 * times.node_s(kA));
  EXPECT_DOUBLE_EQ(scaled.node_s(kB), times.node_s(kB));
  EXPECT_DOUBLE_EQ(scaled.least_s(kA), 2.5 * times.least_s(kA));
  EXPECT_NEAR(scaled.share_s(kA, Split::kSpatial, 0.5), 2.5 * times.share_s(kA, Split::kSpatial, 0.5), 1e-4);
}

// What crosses a cut is brought out of the kernels' layout and into it again; the network's input and output aren't
// charged, because its nodes' times have that.
TEST(NodeTimes, AStageTakesItsReordersToo) {
  DeviceProfile device = profile(2.0, 4.0);
  device.reorder_byte_ns = 0.5;
  const Graph graph = conv_and_relu();
  ClusterModel model;
  model.devices.resize(1);
  model.devices[0].times = std::make_shared<const NodeTimes>(times_of({device}));
  StageShapes shapes(graph, model, {0, 1, 2});
  const auto seconds = [&](std::size_t begin, std::size_t end, const Division& division) {
    double sum_s = 0.0;
    for (const PartShape& part : shapes.find(begin, end, division)->parts) sum_s += part.compute_s[0];
    return sum_s;
  };
  const double border_s = 4 * 10 * 10 * 4 * 2e-9;  // a's output, floats
  EXPECT_DOUBLE_EQ(seconds(0, 2, {}), 8e-3);
  EXPECT_DOUBLE_EQ(seconds(0, 1, {}), 8e-3 + border_s);
  EXPECT_DOUBLE_EQ(seconds(1, 2, {}), border_s);
  EXPECT_NEAR(seconds(0, 1, {Split::kSpatial, 2, {2, 1}, {}}), 8e-3 + border_s, 1e-12);
}

TEST(NodeTimes, FullBlocksOfChannelsCrossACutInTheKernelsLayout) {
  DeviceProfile device = profile(2.0);
  device.reorder_byte_ns = 0.5;
  const Graph graph = conv_and_relu(48);
  ClusterModel model;
  model.devices.resize(1);
  model.devices[0].times =
      std::make_shared<const NodeTimes>(NodeTimes::from_profiles(graph, std::array<const DeviceProfile*, 1>{&device}));
  StageShapes shapes(graph, model, {0, 1, 2});
  const auto seconds = [&](std::size_t ways, std::size_t part, Split split) {
    return shapes.find(0, 1, {split, ways, {ways, 1}, {}})->parts[part].compute_s[0];
  };
  EXPECT_DOUBLE_EQ(shapes.find(1, 2, {})->parts[0].compute_s[0], 0.0);
  EXPECT_DOUBLE_EQ(seconds(2, 0, Split::kSpatial), 1e-3);
  EXPECT_DOUBLE_EQ(seconds(3, 1, Split::kOutputChannel), 2e-3 / 3.0);
  EXPECT_DOUBLE_EQ(seconds(2, 1, Split::kOutputChannel), 1e-3 + 24 * 10 * 10 * 4 * 0.5e-9);
}

// b reads a row more of a's output than the sum does.
TEST(NodeTimes, APartTakesTheTimeToSliceItsShortcut) {
  GraphBuilder builder("shortcut");
  const ValueId x = must(builder.add_input("x", {DataType::kFloat32, Shape{1, 4, 10, 10}}));
  const ValueId weights = must(builder.add_constant(
      "w", Tensor({DataType::kFloat32, Shape{4, 4, 3, 3}}, untouched_zeros(4 * 4 * 3 * 3 * sizeof(float)))));
  const ValueId a = must(builder.add("a", OpType::kConv, {{"pads", Ints(4, 1)}}, {x, weights}));
  const ValueId b = must(builder.add("b", OpType::kConv, {{"pads", Ints(4, 1)}}, {a, weights}));
  const Graph graph = must(std::move(builder).build({must(builder.add("sum", OpType::kAdd, {}, {b, a}))}));
  const auto seconds = [&](double reorder_byte_ns, const Division& division) {
    DeviceProfile device = profile(2.0);
    device.reorder_byte_ns = reorder_byte_ns;
    device.nodes["sum"] = {};
    ClusterModel model;
    model.devices.resize(1);
    model.devices[0].times = std::make_shared<const NodeTimes>(
        NodeTimes::from_profiles(graph, std::array<const DeviceProfile*, 1>{&device}));
    StageShapes shapes(graph, model, {0, 3});
    return shapes.find(0, 1, division)->parts[0].compute_s[0];
  };
  EXPECT_DOUBLE_EQ(seconds(0.5, {}), seconds(0.0, {}));
  const Division halves{Split::kSpatial, 2, {2, 1}, {}};
  EXPECT_NEAR(seconds(0.5, halves) - seconds(0.0, halves), 5 * 10 * 4 * 4 * 0.5e-9, 1e-12);
}

TEST(NodeTimes, OfARooflineAreTheSlowerOfArithmeticAndMemory) {
  Roofline roofline;
  roofline.gflops = 0.0064;  // 3200 MACs: 1 ms
  roofline.memory_bytes_per_s = 4e9;
  roofline.node_s = 1e-4;
  const NodeTimes times = NodeTimes::from_roofline(conv_and_relu(), roofline);
  EXPECT_NEAR(times.node_s(kA), 1.1e-3, 1e-9);
  // Each share pays for the node once more.
  EXPECT_NEAR(times.share_s(kA, Split::kSpatial, 0.5), 0.6e-3, 1e-9);
  // The ReLU has no arithmetic: 400 floats in and 400 out.
  EXPECT_NEAR(times.node_s(kB), 1e-4 + 3200.0 / 4e9, 1e-12);
  EXPECT_LE(times.least_s(kA), times.node_s(kA));
}

TEST(NodeTimes, OfProfilesAreTheMeanByTheClock) {
  const NodeTimes times = times_of({profile(2.0, 10.0), profile(3.0, 10.0)});
  EXPECT_NEAR(times.node_s(kA), 25e-3, 1e-9);
  EXPECT_EQ(times.node_s(kB), 0.0);
  EXPECT_NEAR(times.share_s(kA, Split::kSpatial, 0.25), 6.25e-3, 1e-9);
  EXPECT_EQ(times.share_s(kB, Split::kSpatial, 0.5), 0.0);
}

TEST(NodeTimes, OfSharesFollowTheMeasuredCurveOfTheirSplit) {
  DeviceProfile device = profile(8.0);
  // Alone it takes 10 ms, half of its rows 6, a quarter 4; halves of the output channels exactly half.
  device.slices = {{"a", Split::kWhole, 1.0, {10.0, 10.0, 10.0}},
                   {"a", Split::kSpatial, 0.5, {6.0, 6.0, 6.0}},
                   {"a", Split::kSpatial, 0.25, {4.0, 4.0, 4.0}},
                   {"a", Split::kOutputChannel, 0.5, {4.0, 4.0, 4.0}}};
  const NodeTimes times = times_of({device});
  EXPECT_NEAR(times.share_s(kA, Split::kSpatial, 1.0), 8e-3, 1e-9);
  EXPECT_NEAR(times.share_s(kA, Split::kSpatial, 0.5), 4e-3 * 1.2, 1e-9);
  EXPECT_NEAR(times.share_s(kA, Split::kSpatial, 0.25), 2e-3 * 1.6, 1e-9);
  // Between measurements linear in the logarithm of the fraction; below the smallest no better than there.
  EXPECT_NEAR(times.share_s(kA, Split::kSpatial, std::sqrt(0.125)), std::sqrt(0.125) * 8e-3 * 1.4, 1e-9);
  EXPECT_NEAR(times.share_s(kA, Split::kSpatial, 0.125), 1e-3 * 2.0, 1e-9);
  EXPECT_NEAR(times.share_s(kA, Split::kOutputChannel, 0.5), 4e-3 * 0.8, 1e-9);
  EXPECT_NEAR(times.share_s(kA, Split::kOutputChannel, 0.25), 2e-3 * 0.8, 1e-9);
  EXPECT_NEAR(times.share_s(kA, Split::kInputChannel, 0.5), 4e-3, 1e-9);
  EXPECT_NEAR(times.least_s(kA), 8e-3 * 0.8, 1e-9);
}

TEST(NodeTimes, OfANodeThatIsTooLargeComeFromItsLargestShare) {
  DeviceProfile device = profile(0.0);
  device.nodes.erase("a");
  device.slices = {{"a", Split::kOutputChannel, 0.5, {6.0, 6.0, 6.0}},
                   {"a", Split::kOutputChannel, 0.25, {4.0, 4.0, 4.0}}};
  const NodeTimes times = times_of({device});
  EXPECT_NEAR(times.node_s(kA), 12e-3, 1e-9);
  EXPECT_NEAR(times.share_s(kA, Split::kOutputChannel, 0.25), 4e-3, 1e-9);
}

}  // namespace
}  // namespace onnx_split
