// Graph → ONNX → the same graph; and what the files look like.

#include "onnx_import/export.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/random.h"
#include "graph/builder.h"
#include "tests/onnx_import/model_maker.h"

namespace onnx_split {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// Grows a graph by one random node after another, in the canonical form that importing gives.
class RandomGraph {
 public:
  explicit RandomGraph(std::uint64_t seed) : random_(seed), builder_("random") {}

  Graph make(int nodes) {
    // Constants first, as importing orders them.
    for (int i = 0; i < 4; ++i) {
      scale_[static_cast<std::size_t>(i)] = constant(fmt::format("scale{}", i), Shape{4, 1, 1});
      conv_[static_cast<std::size_t>(i)] = constant(fmt::format("w{}", i), Shape{4, 4, 3, 3});
    }
    values_.push_back(*builder_.add_input("x", {DataType::kFloat32, Shape{1, 4, 6, 6}}));
    for (int i = 0; i < nodes; ++i) add(i);
    // Constants that no node reads aren't imported.
    for (std::size_t i = 0; i < 4; ++i) {
      add_node("Mul", OpType::kMul, {}, {values_.back(), scale_[i]});
      add_node("Conv", OpType::kConv, conv_attributes(), {values_.back(), conv_[i]});
    }
    return *std::move(builder_).build({values_.back()});
  }

 private:
  ValueId constant(const std::string& name, const Shape& shape) {
    return *builder_.add_constant(name, Tensor::floats(shape, seeded(static_cast<std::size_t>(shape.elements()), 1)));
  }

  static Attributes conv_attributes() {
    return {{"group", std::int64_t{1}}, {"strides", Ints{1, 1}}, {"dilations", Ints{1, 1}}, {"pads", Ints{1, 1, 1, 1}}};
  }

  void add_node(const std::string& name, OpType op, Attributes attributes, std::vector<ValueId> inputs) {
    const std::string unique = builder_.unique_value_name(name);
    const Expected<ValueId> added = builder_.add(unique, op, std::move(attributes), std::move(inputs));
    ASSERT_TRUE(added.has_value()) << added.error().message;
    values_.push_back(*added);
  }

  // All keep the shape [1,4,6,6], or give it back by a second node.
  void add(int number) {
    const ValueId x =
        values_[static_cast<std::size_t>(random_.integer(0, static_cast<std::int64_t>(values_.size()) - 1))];
    const auto pick = static_cast<std::size_t>(random_.integer(0, 3));
    const std::string name = fmt::format("n{}", number);
    switch (random_.integer(0, 13)) {
      case 0: return add_node(name, OpType::kRelu, {}, {x});
      case 1: return add_node(name, OpType::kClip, {{"min", random_.uniform()}, {"max", 6.0F}}, {x});
      case 2: return add_node(name, OpType::kClip, {{"max", 6.0F}}, {x});
      case 3: return add_node(name, OpType::kConv, conv_attributes(), {x, conv_[pick]});
      case 4: return add_node(name, OpType::kMul, {}, {x, scale_[pick]});
      case 5: return add_node(name, OpType::kAdd, {}, {x, values_.back()});
      case 6:
        return add_pair(name, OpType::kReshape, {{"shape", Ints{4, 36}}}, OpType::kReshape,
                        {{"shape", Ints{1, 4, 6, 6}}}, x);
      case 7:
        return add_pair(name, OpType::kPad,
                        {{"mode", "reflect"}, {"pads", Ints{0, 0, 1, 0, 0, 0, 1, 2}}, {"value", 0.0F}}, OpType::kSlice,
                        {{"starts", Ints{1, 0}}, {"ends", Ints{-1, 6}}, {"axes", Ints{2, 3}}, {"steps", Ints{1, 1}}},
                        x);
      case 8:
        return add_pair(name, OpType::kUnsqueeze, {{"axes", Ints{0, 2}}}, OpType::kSqueeze, {{"axes", Ints{0, 2}}}, x);
      case 9:
        return add_pair(name, OpType::kTranspose, {{"perm", Ints{0, 1, 3, 2}}}, OpType::kCast, {{"to", "float32"}}, x);
      case 10:
        return add_pair(name, OpType::kReduceMean, {{"axes", Ints{2, 3}}, {"keepdims", std::int64_t{1}}},
                        OpType::kExpand, {{"shape", Ints{1, 4, 6, 6}}}, x);
      case 11:
        return add_pair(name, OpType::kReduceSum, {{"axes", Ints{1}}, {"keepdims", std::int64_t{1}}}, OpType::kExpand,
                        {{"shape", Ints{1, 4, 6, 6}}}, x);
      case 12:
        return add_pair(name, OpType::kMaxPool,
                        {{"kernel_shape", Ints{2, 2}},
                         {"strides", Ints{2, 2}},
                         {"dilations", Ints{1, 1}},
                         {"pads", Ints{0, 0, 0, 0}},
                         {"ceil_mode", std::int64_t{0}}},
                        OpType::kResize,
                        {{"mode", "nearest"},
                         {"coordinate_transformation_mode", "asymmetric"},
                         {"nearest_mode", "floor"},
                         {"scales", Floats{1, 1, 2, 2}}},
                        x);
      default: return add_split(name, x);
    }
  }

  void add_pair(const std::string& name, OpType first, Attributes first_attributes, OpType second,
                Attributes second_attributes, ValueId x) {
    add_node(name, first, std::move(first_attributes), {x});
    const ValueId between = values_.back();
    values_.pop_back();
    add_node(name + "b", second, std::move(second_attributes), {between});
  }

  void add_split(const std::string& name, ValueId x) {
    const Expected<NodeId> split = builder_.add_node(
        name, OpType::kSplit, {{"axis", std::int64_t{1}}, {"split", Ints{1, 3}}}, {x}, {name + "_0", name + "_1"});
    ASSERT_TRUE(split.has_value()) << split.error().message;
    const std::vector<ValueId> pieces = builder_.graph().node(*split).outputs;
    add_node(name + "_joined", OpType::kConcat, {{"axis", std::int64_t{1}}}, {pieces[1], pieces[0]});
  }

  Random random_;
  GraphBuilder builder_;
  std::array<ValueId, 4> scale_;
  std::array<ValueId, 4> conv_;
  std::vector<ValueId> values_;
};

class ExportTest : public testing::Test {
 protected:
  void SetUp() override {
    auto made = TemporaryDirectory::create("export-test");
    ASSERT_TRUE(made.has_value()) << made.error().message;
    folder_.emplace(std::move(*made));
  }
  fs::path path(const char* name) const { return folder_->path() / name; }

  std::optional<TemporaryDirectory> folder_;
};

TEST_F(ExportTest, RandomGraphsComeBackTheSame) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    const Graph graph = RandomGraph(seed).make(15);
    const Expected<void> exported = export_onnx_file(graph, path("model.onnx"));
    ASSERT_TRUE(exported.has_value()) << exported.error().message;
    const Expected<Graph> imported = import_onnx(path("model.onnx"), {.batch = 1, .simplify = false});
    ASSERT_TRUE(imported.has_value()) << imported.error().message;
    ASSERT_EQ(to_text(*imported), to_text(graph)) << "seed " << seed;
    for (const Value& value : graph.values()) {
      if (!value.constant) continue;
      const Value& same = imported->value(*imported->find_value(value.name));
      ASSERT_TRUE(std::ranges::equal(same.constant->view().bytes(), value.constant->view().bytes()));
    }
  }
}

TEST_F(ExportTest, OneMessageHoldsItsConstants) {
  const Graph graph = RandomGraph(1).make(15);
  const Expected<std::string> message = export_onnx_bytes(graph);
  ASSERT_TRUE(message.has_value()) << message.error().message;
  const Expected<Graph> imported =
      import_onnx_bytes(std::as_bytes(std::span(*message)), "", {.batch = 1, .simplify = false});
  ASSERT_TRUE(imported.has_value()) << imported.error().message;
  EXPECT_EQ(to_text(*imported), to_text(graph));
  for (const Value& value : graph.values()) {
    if (!value.constant) continue;
    const Value& same = imported->value(*imported->find_value(value.name));
    EXPECT_TRUE(std::ranges::equal(same.constant->view().bytes(), value.constant->view().bytes()));
  }
}

TEST_F(ExportTest, RandomGraphsComputeTheSame) {
  const std::vector<Tensor> inputs = {Tensor::floats({1, 4, 6, 6}, seeded(144, 5))};
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const Graph graph = RandomGraph(seed).make(10);
    ASSERT_TRUE(export_onnx_file(graph, path("model.onnx")).has_value());
    const Expected<Graph> imported = import_onnx(path("model.onnx"), {.batch = 1, .simplify = false});
    ASSERT_TRUE(imported.has_value()) << imported.error().message;
    const auto before = reference_run(graph, inputs);
    const auto after = reference_run(*imported, inputs);
    ASSERT_TRUE(before.has_value() && after.has_value());
    EXPECT_TRUE(std::ranges::equal((*before)[0].view().bytes(), (*after)[0].view().bytes())) << seed;
  }
}

TEST_F(ExportTest, WeightsStandAlignedAndOnce) {
  GraphBuilder builder("shared");
  const ValueId x = *builder.add_input("x", {DataType::kFloat32, Shape{3}});
  const Tensor weights = Tensor::floats({3}, counting(3));
  const ValueId a = *builder.add_constant("a", weights);
  const ValueId b = *builder.add_constant("b", weights);
  const ValueId c = *builder.add_constant("c", Tensor::floats({3}, counting(3)));
  ValueId y = *builder.add("y1", OpType::kMul, {}, {x, a});
  y = *builder.add("y2", OpType::kMul, {}, {y, b});
  y = *builder.add("y3", OpType::kMul, {}, {y, c});
  const Graph graph = *std::move(builder).build({y});
  const Expected<ExportedModel> exported = export_onnx(graph, "part0.weights");
  ASSERT_TRUE(exported.has_value()) << exported.error().message;
  ASSERT_EQ(exported->weights.size(), 2U);
  EXPECT_EQ(exported->weights[0].offset, 0U);
  EXPECT_EQ(exported->weights[1].offset, 64U);
  EXPECT_EQ(exported->weights_bytes, 76U);
  EXPECT_EQ(exported->weights[0].data.bytes().data(), weights.buffer().bytes().data());  // not a copy

  onnx::ModelProto proto;
  ASSERT_TRUE(proto.ParseFromString(exported->model));
  EXPECT_EQ(proto.ir_version(), 8);
  EXPECT_EQ(proto.opset_import(0).version(), 17);
  EXPECT_EQ(proto.producer_name(), "onnx-split");
  EXPECT_EQ(proto.graph().initializer(1).external_data(0).value(), "part0.weights");
  EXPECT_EQ(proto.graph().initializer(1).external_data(1).value(), "0");
  EXPECT_EQ(proto.graph().initializer(2).external_data(1).value(), "64");
}

TEST_F(ExportTest, IntegersAndBoolsPassThrough) {
  GraphBuilder builder("types");
  const ValueId x = *builder.add_input("x", {DataType::kInt64, Shape{2}});
  const ValueId mask = *builder.add_input("mask", {DataType::kBool, Shape{}});
  const ValueId table = *builder.add_constant("table", Tensor::floats({3, 1}, counting(3)));
  const ValueId y = *builder.add("y", OpType::kGather, {{"axis", std::int64_t{0}}}, {table, x});
  const ValueId z = *builder.add("z", OpType::kCast, {{"to", "int64"}}, {mask});
  const Graph graph = *std::move(builder).build({y, z});
  ASSERT_TRUE(export_onnx_file(graph, path("model.onnx")).has_value());
  const Expected<Graph> imported = import_onnx(path("model.onnx"), {.batch = 1, .simplify = false});
  ASSERT_TRUE(imported.has_value()) << imported.error().message;
  EXPECT_EQ(to_text(*imported), to_text(graph));
}

TEST_F(ExportTest, DilatedAveragePoolsNeedALaterOpset) {
  GraphBuilder builder("dilated");
  const ValueId x = *builder.add_input("x", {DataType::kFloat32, Shape{1, 1, 9}});
  const ValueId m = *builder.add("m", OpType::kReduceMean, {{"axes", Ints{1}}, {"keepdims", std::int64_t{1}}}, {x});
  const ValueId y = *builder.add("y", OpType::kAveragePool,
                                 {{"kernel_shape", Ints{2}},
                                  {"strides", Ints{1}},
                                  {"pads", Ints{0, 0}},
                                  {"dilations", Ints{3}},
                                  {"ceil_mode", std::int64_t{0}},
                                  {"count_include_pad", std::int64_t{0}}},
                                 {m});
  const Graph graph = *std::move(builder).build({y});
  ASSERT_TRUE(export_onnx_file(graph, path("model.onnx")).has_value());
  const Expected<Graph> imported = import_onnx(path("model.onnx"), {.batch = 1, .simplify = false});
  ASSERT_TRUE(imported.has_value()) << imported.error().message;
  EXPECT_EQ(to_text(*imported), to_text(graph));
}

TEST_F(ExportTest, AttributesThatOnnxDoesntHaveDontLeak) {
  GraphBuilder builder("leak");
  const ValueId x = *builder.add_input("x", {DataType::kFloat32, Shape{1}});
  const ValueId y = *builder.add("y", OpType::kRelu, {{"invented", std::int64_t{1}}}, {x});
  const Graph graph = *std::move(builder).build({y});
  EXPECT_THAT(export_onnx(graph, "w").error().message, HasSubstr("node \"y\" (Relu): attribute \"invented\""));
}

TEST_F(ExportTest, NothingIsLeftBehindOnFailure) {
  const Graph graph = RandomGraph(1).make(5);
  EXPECT_FALSE(export_onnx_file(graph, path("missing") / "model.onnx").has_value());
  fs::create_directory(path("model.onnx"));  // in the model's place, so that renaming fails
  EXPECT_FALSE(export_onnx_file(graph, path("model.onnx")).has_value());
  fs::remove(path("model.onnx"));
  EXPECT_TRUE(fs::is_empty(folder_->path()));
  EXPECT_FALSE(export_onnx_file(graph, path("model.weights")).has_value());
  EXPECT_FALSE(export_onnx(graph, "../weights").has_value());
  EXPECT_FALSE(export_onnx(graph, "").has_value());
}

}  // namespace
}  // namespace onnx_split
