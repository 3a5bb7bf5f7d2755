#include "graph/passes/passes.h"

#include <set>

#include "tests/graph/helpers.h"

namespace onnx_split {
namespace {

std::size_t count(const Graph& graph, OpType op) {
  std::size_t found = 0;
  for (const Node& node : graph.nodes()) found += node.op == op ? 1 : 0;
  return found;
}

std::set<std::string> output_names(const Graph& graph) {
  std::set<std::string> names;
  for (const ValueId id : graph.outputs()) names.insert(graph.value(id).name);
  return names;
}

// Same interface, and the same answer to random inputs.
void expect_equivalent(const Graph& found, const Graph& expected, Random& random, double tolerance) {
  ASSERT_EQ(found.inputs().size(), expected.inputs().size());
  std::vector<Tensor> inputs;
  for (std::size_t i = 0; i < expected.inputs().size(); ++i) {
    EXPECT_EQ(found.value(found.inputs()[i]).name, expected.value(expected.inputs()[i]).name);
    inputs.push_back(random_tensor(random, expected.value(expected.inputs()[i]).shape()));
  }
  ASSERT_EQ(found.outputs().size(), expected.outputs().size());
  const auto a = compute(found, inputs);
  const auto b = compute(expected, inputs);
  for (std::size_t i = 0; i < b.size(); ++i) {
    EXPECT_EQ(found.value(found.outputs()[i]).name, expected.value(expected.outputs()[i]).name);
    expect_near(a[i], b[i], tolerance);
  }
}

// Constant parameters of a batch norm of `channels` channels behind `x`.
ValueId add_norm(GraphBuilder& builder, Random& random, const std::string& name, ValueId x, std::int64_t channels) {
  std::vector<ValueId> inputs{x};
  for (const char* parameter : {"scale", "shift", "mean", "var"}) {
    const Tensor data = random_tensor(random, Shape{channels});
    const bool positive = std::string_view(parameter) == "var";
    inputs.push_back(
        must(builder.add_constant(name + "." + parameter, positive ? apply(OpType::kAbs, {}, {data}) : data)));
  }
  return must(builder.add(name, OpType::kBatchNormalization, {{"epsilon", 0.01F}}, inputs));
}

// A random chain with branches: convolutions (sometimes sharing their weights), batch norms, identities, constant
// arithmetic, and nodes that nothing needs.
Graph random_graph(Random& random) {
  GraphBuilder builder("random");
  std::vector<ValueId> values{must(builder.add_input("x", {DataType::kFloat32, Shape{1, 4, 5, 5}}))};
  const ValueId shared = must(builder.add_constant("shared", random_tensor(random, Shape{4, 4, 3, 3})));
  const ValueId half = must(builder.add_constant("half", Tensor::scalar(0.5F)));
  for (int i = 0; i < 14; ++i) {
    const std::string name = fmt::format("n{}", i);
    const auto pick = [&] {
      const auto last = static_cast<std::int64_t>(values.size()) - 1;
      return values[static_cast<std::size_t>(random.integer(std::max<std::int64_t>(0, last - 2), last))];
    };
    const Attributes same{{"pads", Ints{1, 1, 1, 1}}};
    switch (random.integer(0, 5)) {
      case 0: values.push_back(must(builder.add(name, OpType::kConv, same, {pick(), shared}))); break;
      case 1: {
        const ValueId w = must(builder.add_constant(name + ".w", random_tensor(random, Shape{4, 4, 3, 3})));
        const ValueId b = must(builder.add_constant(name + ".b", random_tensor(random, Shape{4})));
        values.push_back(must(builder.add(name, OpType::kConv, same, {pick(), w, b})));
        break;
      }
      case 2: values.push_back(add_norm(builder, random, name, pick(), 4)); break;
      case 3: values.push_back(must(builder.add(name, OpType::kIdentity, {}, {pick()}))); break;
      case 4: {
        const ValueId c = must(builder.add(name + ".c", OpType::kMul, {}, {half, half}));
        values.push_back(must(builder.add(name, OpType::kAdd, {}, {pick(), c})));
        break;
      }
      default: values.push_back(must(builder.add(name, OpType::kAdd, {}, {pick(), pick()}))); break;
    }
  }
  std::vector<ValueId> outputs{values.back()};
  if (random.integer(0, 1) == 1) outputs.push_back(values[values.size() - 2]);
  if (random.integer(0, 3) == 0) outputs.push_back(values[0]);
  return must(std::move(builder).build(outputs));
}

TEST(Passes, KeepTheAnswersOfRandomGraphs) {
  Random random(91);
  for (int round = 0; round < 100; ++round) {
    const Graph graph = random_graph(random);
    const Graph simple = must(simplify(graph));
    expect_equivalent(must(remove_unused(graph)), graph, random, 0);
    expect_equivalent(must(fold_constants(graph)), graph, random, 0);
    expect_equivalent(must(drop_identities(graph)), graph, random, 0);
    expect_equivalent(must(fold_batch_norm(graph)), graph, random, 1e-5);
    expect_equivalent(simple, graph, random, 1e-5);
    EXPECT_LE(simple.node_count(), graph.node_count());
    EXPECT_EQ(to_text(must(simplify(simple))), to_text(simple));
  }
}

TEST(FoldBatchNorm, GoesIntoTheConvolutionUnderItsOwnName) {
  Random random(92);
  GraphBuilder builder("g");
  const ValueId x = must(builder.add_input("x", {DataType::kFloat32, Shape{1, 4, 3, 3}}));
  const ValueId w = must(builder.add_constant("w", random_tensor(random, Shape{6, 2, 2, 2})));
  const ValueId conv = must(builder.add("conv", OpType::kConv, {{"group", std::int64_t{2}}}, {x, w}));
  const ValueId norm = add_norm(builder, random, "norm", conv, 6);
  // Another use of the weight must still see it as it was.
  const ValueId other = must(builder.add("other", OpType::kAbs, {}, {w}));
  const Graph graph = must(std::move(builder).build({norm, other}));
  const Graph folded = must(fold_batch_norm(graph));
  EXPECT_EQ(count(folded, OpType::kBatchNormalization), 0U);
  ASSERT_TRUE(folded.find_node("conv").has_value());
  EXPECT_EQ(folded.value(folded.node(*folded.find_node("conv")).outputs[0]).name, "norm");
  EXPECT_EQ(folded.find_value("norm.mean"), std::nullopt);
  EXPECT_NE(folded.find_value("w"), std::nullopt);
  expect_equivalent(folded, graph, random, 1e-5);
}

TEST(FoldBatchNorm, GoesIntoEveryFormOfGemm) {
  Random random(93);
  const std::vector<std::optional<Shape>> addends{std::nullopt, Shape{}, Shape{5}, Shape{3, 1}, Shape{3, 5}};
  for (int form = 0; form < 20; ++form) {
    const std::optional<Shape>& addend = addends[static_cast<std::size_t>(form) % addends.size()];
    const bool transposed = form / 5 % 2 == 1;
    GraphBuilder builder("g");
    std::vector<ValueId> inputs{must(builder.add_input("x", {DataType::kFloat32, Shape{3, 4}}))};
    inputs.push_back(must(builder.add_constant("w", random_tensor(random, transposed ? Shape{5, 4} : Shape{4, 5}))));
    if (addend) inputs.push_back(must(builder.add_constant("c", random_tensor(random, *addend))));
    const Attributes attributes{
        {"transB", std::int64_t{transposed}}, {"alpha", 1.5F}, {"beta", form < 10 ? -2.0F : 0.0F}};
    const ValueId y = add_norm(builder, random, "norm", must(builder.add("fc", OpType::kGemm, attributes, inputs)), 5);
    const Graph graph = must(std::move(builder).build({y}));
    const Graph folded = must(fold_batch_norm(graph));
    EXPECT_EQ(folded.node_count(), 1U);
    expect_equivalent(folded, graph, random, 1e-5);
  }
}

TEST(FoldBatchNorm, LeavesWhatSomebodyElseReadsOrWhatMakesNoNumbers) {
  Random random(94);
  const auto nodes_after = [&](bool second_reader, bool is_output, float variance) {
    GraphBuilder builder("g");
    const ValueId x = must(builder.add_input("x", {DataType::kFloat32, Shape{1, 2, 3}}));
    const ValueId w = must(builder.add_constant("w", random_tensor(random, Shape{2, 2, 1})));
    const ValueId conv = must(builder.add("conv", OpType::kConv, {}, {x, w}));
    const ValueId p = must(builder.add_constant("p", floats(Shape{2}, {1, 1})));
    const ValueId v = must(builder.add_constant("v", floats(Shape{2}, {variance, variance})));
    std::vector<ValueId> outputs{must(builder.add("norm", OpType::kBatchNormalization, {}, {conv, p, p, p, v}))};
    if (second_reader) outputs.push_back(must(builder.add("relu", OpType::kRelu, {}, {conv})));
    if (is_output) outputs.push_back(conv);
    return count(must(fold_batch_norm(must(std::move(builder).build(outputs)))), OpType::kBatchNormalization);
  };
  EXPECT_EQ(nodes_after(false, false, 1), 0U);
  EXPECT_EQ(nodes_after(true, false, 1), 1U);
  EXPECT_EQ(nodes_after(false, true, 1), 1U);
  EXPECT_EQ(nodes_after(false, false, -1), 1U);
}

TEST(FoldBatchNorm, TakesAWholeChainAtOnce) {
  Random random(8);
  GraphBuilder builder("g");
  const ValueId x = must(builder.add_input("x", {DataType::kFloat32, Shape{1, 2, 5, 5}}));
  const ValueId weight = must(builder.add_constant("weight", random_tensor(random, Shape{3, 2, 3, 3})));
  ValueId value = must(builder.add("conv", OpType::kConv, {}, {x, weight}));
  for (const char* name : {"a", "b", "c"}) value = add_norm(builder, random, name, value, 3);
  const Graph graph = must(std::move(builder).build({value}));
  const Graph folded = must(fold_batch_norm(graph));
  EXPECT_EQ(folded.node_count(), 1U);
  expect_equivalent(folded, graph, random, 1e-4);
}

// The file may repeat such a node; each alone would be allowed.
TEST(FoldConstants, BoundsTheWorkOfAllNodesTogether) {
  Random random(9);
  GraphBuilder builder("g");
  const ValueId x = must(builder.add_input("x", {DataType::kFloat32, Shape{1}}));
  const ValueId a = must(builder.add_constant("a", random_tensor(random, Shape{384, 1024})));
  const ValueId b = must(builder.add_constant("b", random_tensor(random, Shape{1024, 512})));
  std::vector<ValueId> sum{x};
  for (const char* name : {"first", "second"}) sum.push_back(must(builder.add(name, OpType::kMatMul, {}, {a, b})));
  const ValueId y = must(builder.add("y", OpType::kSum, {}, sum));
  const Graph folded = must(fold_constants(must(std::move(builder).build({y}))));
  EXPECT_EQ(count(folded, OpType::kMatMul), 1U);
}

TEST(FoldConstants, ComputesWhatIsKnownAndReportsWhatCannotBe) {
  GraphBuilder builder("g");
  const ValueId x = must(builder.add_input("x", {DataType::kFloat32, Shape{2}}));
  const ValueId two = must(builder.add_constant("two", Tensor::scalar(2)));
  const ValueId four = must(builder.add("four", OpType::kMul, {}, {two, two}));
  const ValueId eight = must(builder.add("eight", OpType::kMul, {}, {four, two}));
  const ValueId y = must(builder.add("y", OpType::kAdd, {}, {x, eight}));
  const Graph graph = must(fold_constants(must(std::move(builder).build({y}))));
  EXPECT_EQ(to_text(graph),
            "graph g\ninput x: float32[2]\nconstant eight: float32[]\ny: float32[2] = Add(x, eight) {}\noutput y\n");

  GraphBuilder wrong("g");
  const ValueId one = must(wrong.add_constant("one", ints(Shape{}, {1})));
  const ValueId zero = must(wrong.add_constant("zero", ints(Shape{}, {0})));
  const ValueId quotient = must(wrong.add("quotient", OpType::kDiv, {}, {one, zero}));
  const ValueId z = must(wrong.add("z", OpType::kNeg, {}, {quotient}));
  const auto failed = fold_constants(must(std::move(wrong).build({z})));
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().message, "node \"quotient\" (Div): an integer is divided by zero");
}

TEST(FoldConstants, LeavesGiantsAndOutputsToBeComputed) {
  GraphBuilder builder("g");
  const ValueId one = must(builder.add_constant("one", Tensor::scalar(1)));
  const ValueId giant = must(builder.add("giant", OpType::kExpand, {{"shape", Ints{kMaxElements}}}, {one}));
  const ValueId sum = must(builder.add("sum", OpType::kReduceSum, {}, {giant}));
  const ValueId two = must(builder.add("two", OpType::kAdd, {}, {one, one}));
  const Graph graph = must(fold_constants(must(std::move(builder).build({sum, two}))));
  EXPECT_EQ(graph.node_count(), 3U);
}

TEST(DropIdentities, KeepsTheNamesOfOutputs) {
  GraphBuilder builder("g");
  const ValueId x = must(builder.add_input("x", {DataType::kFloat32, Shape{2}}));
  const ValueId c = must(builder.add_constant("c", Tensor::scalar(2)));
  const auto identity = [&](const char* name, ValueId of) {
    return must(builder.add(name, OpType::kIdentity, {}, {of}));
  };
  const ValueId straight = identity("straight", x);  // input to output: stays
  const ValueId constant = identity("constant", c);  // stays
  const ValueId relu = must(builder.add("relu", OpType::kRelu, {}, {x}));
  const ValueId first = identity("first", identity("middle", relu));  // relu takes this name
  const ValueId second = identity("second", relu);                    // one name is taken: stays
  const ValueId tanh = must(builder.add("tanh", OpType::kTanh, {}, {first}));
  const ValueId third = identity("third", tanh);  // tanh is an output itself: stays
  const Graph graph = must(std::move(builder).build({straight, constant, first, second, tanh, third, first}));
  const Graph dropped = must(drop_identities(graph));
  EXPECT_EQ(output_names(dropped), output_names(graph));
  EXPECT_EQ(dropped.outputs().size(), graph.outputs().size());
  EXPECT_EQ(count(dropped, OpType::kIdentity), 4U);
  EXPECT_EQ(dropped.value(dropped.node(*dropped.find_node("relu")).outputs[0]).name, "first");
  Random random(95);
  expect_equivalent(dropped, graph, random, 0);
}

TEST(RemoveUnused, KeepsInputsAndWhatOutputsNeed) {
  GraphBuilder builder("g");
  const ValueId x = must(builder.add_input("x", {DataType::kFloat32, Shape{4}}));
  must(builder.add_input("unused", {DataType::kFloat32, Shape{4}}));
  must(builder.add_constant("c", Tensor::scalar(1)));
  const NodeId split = must(builder.add_node("split", OpType::kSplit, {}, {x}, {"a", "b"}));
  const ValueId b = builder.graph().node(split).outputs[1];
  must(builder.add("dead", OpType::kRelu, {}, {must(builder.add("dying", OpType::kRelu, {}, {b}))}));
  const Graph graph = must(remove_unused(must(std::move(builder).build({b}))));
  EXPECT_EQ(graph.node_count(), 1U);
  EXPECT_EQ(graph.inputs().size(), 2U);
  EXPECT_EQ(graph.find_value("c"), std::nullopt);
  EXPECT_NE(graph.find_value("a"), std::nullopt);
}

}  // namespace
}  // namespace onnx_split
