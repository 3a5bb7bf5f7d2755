#include "graph/operators.h"

#include <set>

#include "tests/graph/helpers.h"

namespace onnx_split {
namespace {

TEST(Operators, TableIsInEnumOrderAndComplete) {
  const auto table = all_operators();
  ASSERT_EQ(table.size(), static_cast<std::size_t>(OpType::kUnsqueeze) + 1);
  for (std::size_t i = 0; i < table.size(); ++i) {
    EXPECT_EQ(static_cast<std::size_t>(table[i].type), i) << table[i].name;
    EXPECT_FALSE(table[i].name.empty());
    EXPECT_NE(table[i].infer, nullptr);
    EXPECT_NE(table[i].macs, nullptr);
    EXPECT_NE(table[i].evaluate, nullptr);
    EXPECT_GE(table[i].min_inputs, 1U);
    EXPECT_LE(table[i].min_inputs, table[i].max_inputs);
  }
}

TEST(Operators, NamesAreUniqueAndLeadBack) {
  std::set<std::string_view> names;
  for (const Operator& definition : all_operators()) {
    EXPECT_TRUE(names.insert(definition.name).second) << definition.name;
    EXPECT_EQ(op_from_name(definition.name), definition.type);
    EXPECT_EQ(op_name(definition.type), definition.name);
  }
  EXPECT_EQ(op_from_name("conv"), std::nullopt);
  EXPECT_EQ(op_name(OpType::kLrn), "LRN");
}

TEST(Operators, CostCountsMacsWeightsOnceAndActivations) {
  Random random(1);
  GraphBuilder builder("cost");
  const ValueId x = must(builder.add_input("x", {DataType::kFloat32, Shape{1, 4, 8, 8}}));
  const ValueId w = must(builder.add_constant("w", random_tensor(random, Shape{6, 2, 3, 3})));
  const ValueId b = must(builder.add_constant("b", random_tensor(random, Shape{6})));
  const ValueId y = must(builder.add("conv", OpType::kConv, {{"group", std::int64_t{2}}}, {x, w, b}));
  const ValueId z = must(builder.add("sum", OpType::kAdd, {}, {w, w}));
  const Graph graph = must(std::move(builder).build({y, z}));

  const NodeCost conv = node_cost(graph, graph.nodes()[0]);
  EXPECT_EQ(conv.macs, 6 * 6 * 6 * (2 * 3 * 3));
  EXPECT_EQ(conv.weight_bytes, 4 * (6 * 2 * 9 + 6));
  EXPECT_EQ(conv.activation_bytes, 4 * 6 * 6 * 6);
  const NodeCost sum = node_cost(graph, graph.nodes()[1]);
  EXPECT_EQ(sum.macs, 0);
  EXPECT_EQ(sum.weight_bytes, 4 * 6 * 2 * 9);
}

TEST(Operators, MacsOfMatrixProducts) {
  const auto macs = [](OpType op, const Attributes& attributes, std::vector<TensorType> inputs) {
    const OpCall call{attributes, inputs, 1};
    const auto outputs = must(operator_of(op).infer(call));
    return operator_of(op).macs(call, outputs);
  };
  const TensorType a{DataType::kFloat32, Shape{5, 3}};
  const TensorType b{DataType::kFloat32, Shape{5, 7}};
  EXPECT_EQ(macs(OpType::kGemm, {{"transA", std::int64_t{1}}}, {a, b}), 3 * 7 * 5);
  EXPECT_EQ(macs(OpType::kMatMul, {}, {{DataType::kFloat32, Shape{4, 2, 3}}, {DataType::kFloat32, Shape{3, 6}}}),
            4 * 2 * 6 * 3);
}

// Numbers beyond every bound, for whatever attribute an operator may have.
TEST(Operators, HostileAttributesGiveErrorsOrSmallOutputs) {
  constexpr std::array kNumbers = {std::numeric_limits<std::int64_t>::min(),
                                   std::numeric_limits<std::int64_t>::max(),
                                   std::int64_t{1} << 62,
                                   -(std::int64_t{1} << 40),
                                   std::int64_t{1} << 31,
                                   std::int64_t{-1},
                                   std::int64_t{0},
                                   std::int64_t{1},
                                   std::int64_t{2}};
  constexpr std::array kLists = {"strides", "dilations", "pads",  "kernel_shape", "axes", "starts",
                                 "ends",    "steps",     "shape", "sizes",        "perm", "split"};
  constexpr std::array kScalars = {"axis", "group", "size", "ceil_mode", "keepdims", "transA", "transB"};
  Random random(7);
  const auto number = [&] { return kNumbers[static_cast<std::size_t>(random.integer(0, kNumbers.size() - 1))]; };
  for (int round = 0; round < 20000; ++round) {
    Attributes attributes;
    for (const char* name : kLists) {
      Ints values(static_cast<std::size_t>(random.integer(0, 5)));
      for (std::int64_t& value : values) value = number();
      if (random.integer(0, 2) != 0) attributes.set(name, values);
    }
    for (const char* name : kScalars) {
      if (random.integer(0, 2) == 0) attributes.set(name, number());
    }
    if (random.integer(0, 1) == 0) attributes.set("scales", Floats{1.0F, 1e38F, 1e-38F, -1.0F});
    attributes.set("mode", std::string(random.integer(0, 1) == 0 ? "edge" : "linear"));
    const auto& definition = all_operators()[static_cast<std::size_t>(random.integer(0, all_operators().size() - 1))];
    std::vector<TensorType> inputs;
    for (std::int64_t i = random.integer(0, 5); i > 0; --i) {
      Shape shape(Ints(static_cast<std::size_t>(random.integer(0, 5))));
      for (std::size_t axis = 0; axis < shape.rank(); ++axis) shape[axis] = random.integer(0, 4);
      inputs.push_back({random.integer(0, 5) == 0 ? DataType::kInt64 : DataType::kFloat32, shape});
    }
    const auto outputs = definition.infer({attributes, inputs, static_cast<std::size_t>(random.integer(0, 3))});
    if (!outputs) {
      EXPECT_FALSE(outputs.error().message.empty());
      continue;
    }
    std::vector<Tensor> tensors;
    std::int64_t elements = 0;
    for (const TensorType& type : inputs) tensors.push_back(std::move(TensorBuilder(type, true)).build());
    for (const TensorType& type : *outputs) {
      ASSERT_TRUE(Shape::checked(type.shape.vector()).has_value()) << definition.name;
      elements += type.shape.elements();
    }
    EXPECT_GE(definition.macs({attributes, inputs, outputs->size()}, *outputs), 0);
    if (elements < 10000) (void)evaluate(definition.type, attributes, tensors, outputs->size());
  }
}

TEST(Operators, EvaluateRefusesAnotherNumberOfOutputs) {
  EXPECT_EQ(error_of(OpType::kRelu, {}, {Tensor::scalar(1.0F)}, 2), "Relu: gives 1 outputs, expected 2");
}

}  // namespace
}  // namespace onnx_split
