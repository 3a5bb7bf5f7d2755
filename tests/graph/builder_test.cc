#include "graph/builder.h"

#include "graph/order.h"
#include "tests/graph/helpers.h"

namespace onnx_split {
namespace {

const TensorType kFour{DataType::kFloat32, Shape{4}};

TEST(Builder, LinksValuesAndNodes) {
  GraphBuilder builder("g");
  const ValueId x = must(builder.add_input("x", kFour));
  const ValueId c = must(builder.add_constant("c", Tensor::scalar(2)));
  const NodeId split = must(builder.add_node("", OpType::kSplit, {}, {x}, {"a", "b"}));
  const ValueId a = builder.graph().node(split).outputs[0];
  const ValueId y = must(builder.add("y", OpType::kAdd, {}, {a, a}));
  const ValueId z = must(builder.add("z", OpType::kMul, {}, {y, c}));
  const Graph graph = must(std::move(builder).build({z}));

  EXPECT_EQ(graph.node(split).name, "a");
  EXPECT_EQ(graph.value(a).consumers.size(), 1U);  // one node, though it reads it twice
  EXPECT_EQ(graph.value(a).producer, split);
  EXPECT_FALSE(graph.value(x).producer.valid());
  EXPECT_EQ(graph.value(z).shape(), Shape{2});
  EXPECT_TRUE(graph.is_output(z));
  EXPECT_FALSE(graph.is_output(y));
  EXPECT_EQ(graph.find_value("b"), graph.node(split).outputs[1]);
  EXPECT_EQ(graph.find_value("nothing"), std::nullopt);
  EXPECT_EQ(graph.find_node("z"), graph.value(z).producer);
  EXPECT_EQ(to_text(graph),
            "graph g\ninput x: float32[4]\nconstant c: float32[]\na: float32[2], b: float32[2] = Split(x) {}\n"
            "y: float32[2] = Add(a, a) {}\nz: float32[2] = Mul(y, c) {}\noutput z\n");
}

TEST(Builder, ErrorsNameTheNodeAndLeaveNothingBehind) {
  GraphBuilder builder("g");
  const ValueId x = must(builder.add_input("x", kFour));
  const auto message = [](const auto& result) { return result ? "" : result.error().message; };
  EXPECT_EQ(message(builder.add_input("x", kFour)), "value \"x\" is defined twice");
  EXPECT_EQ(message(builder.add_input("", kFour)), "a value has no name");
  EXPECT_EQ(message(builder.add_input("n", {DataType::kFloat32, Shape{-1}})),
            "input \"n\": shape [-1] has a negative extent");
  EXPECT_EQ(message(builder.add("y", OpType::kAdd, {}, {x})), "node \"y\" (Add): expected 2 inputs, found 1");
  EXPECT_EQ(message(builder.add("y", OpType::kFlatten, {{"axis", std::int64_t{2}}}, {x})),
            "node \"y\" (Flatten): axis expects -1 to 1, found 2");
  EXPECT_EQ(message(builder.add("x", OpType::kRelu, {}, {x})),
            "node \"x\" (Relu): value \"x\" is empty or defined twice");
  EXPECT_EQ(message(builder.add_node("s", OpType::kRelu, {}, {x}, {"a", "b"})),
            "node \"s\" (Relu): gives 1 outputs, 2 are named");
  EXPECT_EQ(builder.graph().value_count(), 1U);
  EXPECT_EQ(builder.graph().node_count(), 0U);
  must(builder.add("y", OpType::kRelu, {}, {x}));
  EXPECT_EQ(message(builder.add_node("y", OpType::kRelu, {}, {x}, {"w"})), "node \"y\" (Relu): defined twice");
  EXPECT_EQ(builder.unique_value_name("y"), "y_1");
  EXPECT_EQ(message(std::move(builder).build({})), "graph \"g\" has no outputs");
}

TEST(Builder, RefusesWorkAndMemoryWhoseSumsWouldOverflow) {
  const auto products = [](std::int64_t side) {
    GraphBuilder builder("large");
    const ValueId w = must(builder.add_input("w", {DataType::kFloat32, Shape{side, side}}));
    ValueId x = must(builder.add_input("x", {DataType::kFloat32, Shape{side, side}}));
    for (int i = 0; i < 9; ++i) x = must(builder.add(fmt::format("m{}", i), OpType::kMatMul, {}, {x, w}));
    return std::move(builder).build({x});
  };
  EXPECT_TRUE(products(1 << 15).has_value());
  EXPECT_EQ(products(1 << 20).error().message,
            "graph \"large\": more than 1125899906842624 multiply-accumulates or 70368744177664 bytes of activations");

  GraphBuilder builder("wide");
  ValueId x = must(builder.add_input("x", {DataType::kFloat32, Shape{kMaxElements}}));
  for (int i = 0; i < 17; ++i) x = must(builder.add(fmt::format("r{}", i), OpType::kRelu, {}, {x}));
  EXPECT_FALSE(std::move(builder).build({x}).has_value());
}

TEST(Order, LifetimesReachFromProducerToLastConsumer) {
  GraphBuilder builder("g");
  const ValueId x = must(builder.add_input("x", kFour));
  const ValueId a = must(builder.add("a", OpType::kRelu, {}, {x}));
  const ValueId b = must(builder.add("b", OpType::kRelu, {}, {a}));
  const ValueId c = must(builder.add("c", OpType::kRelu, {}, {b}));
  const ValueId d = must(builder.add("d", OpType::kAdd, {}, {c, a}));
  const Graph graph = must(std::move(builder).build({b, d}));
  const auto alive = lifetimes(graph);
  const auto range = [&](ValueId id) { return std::pair(alive[id.index()].first, alive[id.index()].last); };
  EXPECT_EQ(range(x), (std::pair<std::size_t, std::size_t>(0, 0)));
  EXPECT_EQ(range(a), (std::pair<std::size_t, std::size_t>(0, 3)));
  EXPECT_EQ(range(b), (std::pair<std::size_t, std::size_t>(1, 3)));
  EXPECT_EQ(range(c), (std::pair<std::size_t, std::size_t>(2, 3)));
  EXPECT_EQ(range(d), (std::pair<std::size_t, std::size_t>(3, 3)));
  EXPECT_EQ(peak_activation_bytes(graph), 4U * 16U);
}

}  // namespace
}  // namespace onnx_split
