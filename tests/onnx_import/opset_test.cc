// Operators whose form or meaning depends on the opset, in forms that libonnx-testdata (opset 16) doesn't have.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/onnx_import/model_maker.h"

namespace onnx_split {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::FloatNear;
using testing::HasSubstr;
using testing::Pointwise;

constexpr int kInt64 = onnx::TensorProto::INT64;

// Imports the model, computes it for `x` and gives its outputs; fails the test where it can't.
std::vector<Tensor> run(const ModelMaker& model, const Dims& dims, const std::vector<float>& x) {
  const Expected<Graph> graph = model.import();
  EXPECT_TRUE(graph.has_value()) << graph.error().message;
  if (!graph) return {};
  const std::vector<Tensor> inputs = {Tensor::floats(Shape(dims), x)};
  Expected<std::vector<Tensor>> outputs = reference_run(*graph, inputs);
  EXPECT_TRUE(outputs.has_value()) << outputs.error().message;
  return outputs ? *outputs : std::vector<Tensor>{};
}

Tensor run_one(const ModelMaker& model, const Dims& dims, const std::vector<float>& x) {
  const std::vector<Tensor> outputs = run(model, dims, x);
  EXPECT_EQ(outputs.size(), 1U);
  return outputs.empty() ? Tensor::scalar(0) : outputs.front();
}

class EveryLateOpset : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Opsets, EveryLateOpset, testing::Range(17, 22));

TEST_P(EveryLateOpset, ReduceMeanTakesAxesWhereTheOpsetPutsThem) {
  ModelMaker model(GetParam());
  model.input("x", {2, 3}).output("y");
  if (GetParam() < 18) {
    model.node("ReduceMean", {"x"}, {"y"}).attribute("axes", Dims{-1}).attribute("keepdims", std::int64_t{0});
  } else {
    model.ints("axes", {-1}).node("ReduceMean", {"x", "axes"}, {"y"}).attribute("keepdims", std::int64_t{0});
  }
  const Tensor y = run_one(model, {2, 3}, counting(6));
  EXPECT_EQ(y.shape(), (Shape{2}));
  EXPECT_THAT(y.as<float>(), ElementsAre(1.0F, 4.0F));
}

TEST_P(EveryLateOpset, SplitGivesEqualPieces) {
  ModelMaker model(GetParam());
  model.input("x", {4}).output("a").output("b");
  NodeMaker split = model.node("Split", {"x"}, {"a", "b"});
  if (GetParam() >= 18) split.attribute("num_outputs", std::int64_t{2});
  const std::vector<Tensor> outputs = run(model, {4}, counting(4));
  ASSERT_EQ(outputs.size(), 2U);
  EXPECT_THAT(outputs[1].as<float>(), ElementsAre(2.0F, 3.0F));
}

TEST_P(EveryLateOpset, PadFillsWithItsValue) {
  ModelMaker model(GetParam());
  model.input("x", {1, 2}).output("y").ints("pads", {0, 1, 0, 2}).floats("value", {}, {9.0F});
  model.node("Pad", {"x", "pads", "value"}, {"y"});
  EXPECT_THAT(run_one(model, {1, 2}, {1, 2}).as<float>(), ElementsAre(9, 1, 2, 9, 9));
}

TEST_P(EveryLateOpset, ResizeToSizes) {
  ModelMaker model(GetParam());
  model.input("x", {1, 1, 1, 2}).output("y").ints("sizes", {1, 1, 1, 4});
  model.node("Resize", {"x", "", "", "sizes"}, {"y"})
      .attribute("mode", "linear")
      .attribute("coordinate_transformation_mode", "half_pixel");
  EXPECT_THAT(run_one(model, {1, 1, 1, 2}, {0, 4}).as<float>(), ElementsAre(0, 1, 3, 4));
}

TEST_P(EveryLateOpset, CastToIntegersTruncates) {
  ModelMaker model(GetParam());
  model.input("x", {3}).output("y", kInt64);
  model.node("Cast", {"x"}, {"y"}).attribute("to", std::int64_t{kInt64});
  EXPECT_THAT(run_one(model, {3}, {1.5F, -1.5F, 2}).as<std::int64_t>(), ElementsAre(1, -1, 2));
}

TEST_P(EveryLateOpset, ReshapeCopiesAndInfers) {
  ModelMaker model(GetParam());
  model.input("x", {2, 3, 4}).output("y").ints("shape", {0, -1});
  model.node("Reshape", {"x", "shape"}, {"y"}).attribute("allowzero", std::int64_t{0});
  EXPECT_EQ(run_one(model, {2, 3, 4}, counting(24)).shape(), (Shape{2, 12}));
}

TEST_P(EveryLateOpset, ConvolutionNetworkComputes) {
  ModelMaker model(GetParam());
  model.input("x", {1, 1, 3, 3}).output("y").floats("w", {1, 1, 2, 2}, {1, 1, 1, 1}).floats("b", {1}, {0.5F});
  model.node("Conv", {"x", "w", "b"}, {"c"});
  model.node("Relu", {"c"}, {"r"});
  model.node("GlobalAveragePool", {"r"}, {"g"});
  model.node("Flatten", {"g"}, {"y"});
  EXPECT_THAT(run_one(model, {1, 1, 3, 3}, counting(9)).as<float>(), ElementsAre(16.5F));
}

TEST(Opset18, ReduceWithoutAxesReducesAllOrNone) {
  for (const bool noop : {false, true}) {
    ModelMaker model(18);
    model.input("x", {2, 2}).output("y");
    model.node("ReduceMax", {"x"}, {"y"}).attribute("noop_with_empty_axes", std::int64_t{noop});
    EXPECT_EQ(run_one(model, {2, 2}, counting(4)).shape(), noop ? (Shape{2, 2}) : (Shape{1, 1}));
  }
}

TEST(Opset18, SplitsLastPieceMayBeSmaller) {
  ModelMaker model(18);
  model.input("x", {5}).output("a").output("b");
  model.node("Split", {"x"}, {"a", "b"}).attribute("num_outputs", std::int64_t{2});
  const std::vector<Tensor> outputs = run(model, {5}, counting(5));
  ASSERT_EQ(outputs.size(), 2U);
  EXPECT_EQ(outputs[0].shape(), (Shape{3}));
  EXPECT_EQ(outputs[1].shape(), (Shape{2}));
}

TEST(Opset18, PadsOnlyTheAxesNamed) {
  ModelMaker model(18);
  model.input("x", {1, 1, 2}).output("y").ints("pads", {1, 2}).ints("axes", {-1});
  model.node("Pad", {"x", "pads", "", "axes"}, {"y"}).attribute("mode", "edge");
  EXPECT_THAT(run_one(model, {1, 1, 2}, {1, 2}).as<float>(), ElementsAre(1, 1, 2, 2, 2));
}

TEST(Opset18, ResizesOnlyTheAxesNamed) {
  ModelMaker model(18);
  model.input("x", {1, 2, 2}).output("y").floats("scales", {1}, {2.0F});
  model.node("Resize", {"x", "", "scales"}, {"y"})
      .attribute("axes", Dims{2})
      .attribute("coordinate_transformation_mode", "asymmetric")
      .attribute("nearest_mode", "floor");
  const Tensor y = run_one(model, {1, 2, 2}, counting(4));
  EXPECT_EQ(y.shape(), (Shape{1, 2, 4}));
  EXPECT_THAT(y.as<float>(), ElementsAre(0, 0, 1, 1, 2, 2, 3, 3));
}

TEST(Opset18, RefusesResizesThatItCantCompute) {
  for (const char* attribute : {"antialias", "exclude_outside"}) {
    ModelMaker model(18);
    model.input("x", {1, 2}).output("y").floats("scales", {2}, {1, 2});
    model.node("Resize", {"x", "", "scales"}, {"y"}).attribute(attribute, std::int64_t{1});
    EXPECT_THAT(model.import().error().message, HasSubstr(attribute));
  }
  ModelMaker model(18);
  model.input("x", {1, 2}).output("y").ints("sizes", {1, 4});
  model.node("Resize", {"x", "", "", "sizes"}, {"y"}).attribute("keep_aspect_ratio_policy", "not_larger");
  EXPECT_THAT(model.import().error().message, HasSubstr("keep_aspect_ratio_policy=not_larger"));
}

TEST(Opset19, AveragePoolDilates) {
  ModelMaker model(19);
  model.input("x", {1, 1, 5}).output("y");
  model.node("AveragePool", {"x"}, {"y"}).attribute("kernel_shape", Dims{2}).attribute("dilations", Dims{2});
  EXPECT_THAT(run_one(model, {1, 1, 5}, counting(5)).as<float>(), ElementsAre(1, 2, 3));
}

TEST(Opset19, WrapPaddingIsRefused) {
  ModelMaker model(19);
  model.input("x", {2}).output("y").ints("pads", {1, 1});
  model.node("Pad", {"x", "pads"}, {"y"}).attribute("mode", "wrap");
  EXPECT_THAT(model.import().error().message, HasSubstr("mode=wrap"));
}

TEST(Opset19, SaturateDoesntMatterToOurTypes) {
  ModelMaker model(19);
  model.input("x", {1}).output("y", onnx::TensorProto::BOOL);
  model.node("Cast", {"x"}, {"y"})
      .attribute("to", std::int64_t{onnx::TensorProto::BOOL})
      .attribute("saturate", std::int64_t{0});
  EXPECT_TRUE(run_one(model, {1}, {2.0F}).as<bool>()[0]);
}

// Before opset 13 a softmax ran over all axes from `axis` on.
TEST(Opset7, SoftmaxCoercesToTwoAxes) {
  for (const std::int64_t opset : {7, 11, 12, 13}) {
    ModelMaker model(opset);
    model.input("x", {1, 2, 2}).output("y");
    model.node("Softmax", {"x"}, {"y"}).attribute("axis", std::int64_t{1});
    const float each = opset < 13 ? 0.25F : 0.5F;
    EXPECT_THAT(run_one(model, {1, 2, 2}, {3, 3, 3, 3}).as<float>(),
                Pointwise(FloatNear(1e-6F), std::vector<float>(4, each)));
  }
}

TEST(Opset7, UpsampleIsAResize) {
  for (const std::int64_t opset : {7, 9}) {
    ModelMaker model(opset);
    model.input("x", {1, 1, 1, 2}).output("y");
    if (opset < 9) {
      model.node("Upsample", {"x"}, {"y"}).attribute("scales", std::vector<float>{1, 1, 1, 2});
    } else {
      model.floats("scales", {4}, {1, 1, 1, 2}).node("Upsample", {"x", "scales"}, {"y"});
    }
    EXPECT_THAT(run_one(model, {1, 1, 1, 2}, {1, 2}).as<float>(), ElementsAre(1, 1, 2, 2));
  }
}

TEST(Opset10, ResizeRoundsDown) {
  ModelMaker model(10);
  model.input("x", {1, 1, 1, 4}).output("y").floats("scales", {4}, {1, 1, 1, 0.5F});
  model.node("Resize", {"x", "scales"}, {"y"}).attribute("mode", "nearest");
  EXPECT_THAT(run_one(model, {1, 1, 1, 4}, counting(4)).as<float>(), ElementsAre(0, 2));
}

TEST(Opset9, SliceHasItsNumbersAsAttributes) {
  ModelMaker model(9);
  model.input("x", {4, 4}).output("y");
  model.node("Slice", {"x"}, {"y"})
      .attribute("starts", Dims{1, -2})
      .attribute("ends", Dims{2, 1000})
      .attribute("axes", Dims{0, 1});
  EXPECT_THAT(run_one(model, {4, 4}, counting(16)).as<float>(), ElementsAre(6, 7));
}

TEST(Opset6, ClipHasItsLimitsAsAttributesUntilOpset11) {
  for (const std::int64_t opset : {6, 10, 11, 12}) {
    ModelMaker model(opset);
    model.input("x", {3}).output("y");
    if (opset < 11) {
      model.node("Clip", {"x"}, {"y"}).attribute("min", 0.0F).attribute("max", 6.0F);
    } else {
      model.floats("min", {}, {0}).floats("max", {}, {6}).node("Clip", {"x", "min", "max"}, {"y"});
    }
    EXPECT_THAT(run_one(model, {3}, {-1, 3, 9}).as<float>(), ElementsAre(0, 3, 6));
  }
}

TEST(Opset6, BroadcastPutsTheSecondOperandAtTheAxis) {
  ModelMaker model(6);
  model.input("x", {1, 2, 2}).output("y").floats("b", {2}, {10, 20});
  model.node("Add", {"x", "b"}, {"y"}).attribute("broadcast", std::int64_t{1}).attribute("axis", std::int64_t{1});
  EXPECT_THAT(run_one(model, {1, 2, 2}, counting(4)).as<float>(), ElementsAre(10, 11, 22, 23));
}

TEST(Opset6, ShapesMustBeEqualWithoutBroadcast) {
  ModelMaker model(6);
  model.input("x", {2, 2}).output("y").floats("b", {2}, {10, 20});
  model.node("Add", {"x", "b"}, {"y"});
  EXPECT_THAT(model.import().error().message, HasSubstr("node \"y\" (Add): expected equal shapes"));
}

TEST(Opset6, TrainingFormsAreRefused) {
  ModelMaker model(6);
  model.input("x", {2, 2}).output("y");
  model.node("Dropout", {"x"}, {"y"}).attribute("ratio", 0.5F);
  EXPECT_THAT(model.import().error().message, HasSubstr("is_test must be 1"));
}

TEST(Opset12, DropoutsMaskIsAllTrueAtInference) {
  ModelMaker model(12);
  model.input("x", {2}).output("y").output("mask", onnx::TensorProto::BOOL).floats("ratio", {}, {0.5F});
  model.node("Dropout", {"x", "ratio"}, {"y", "mask"});
  const std::vector<Tensor> outputs = run(model, {2}, {1, 2});
  ASSERT_EQ(outputs.size(), 2U);
  EXPECT_THAT(outputs[0].as<float>(), ElementsAre(1, 2));
  EXPECT_THAT(outputs[1].as<bool>(), ElementsAre(true, true));
}

TEST(Opset12, DropoutsMaskCostsNothingWhereNothingReadsIt) {
  ModelMaker model(12);
  model.input("x", {1 << 30}).output("y").floats("ratio", {}, {0.5F});
  model.node("Dropout", {"x", "ratio"}, {"y", "mask"});
  EXPECT_TRUE(model.import().has_value());
  model.output("mask", onnx::TensorProto::BOOL);
  EXPECT_THAT(model.import().error().message,
              HasSubstr("node \"y\" (Dropout): the mask, bool[1073741824], is too large"));
}

// What it holds at inference isn't said before opset 12.
TEST(Opset11, DropoutsMaskIsRefusedWhereItIsRead) {
  for (const bool mask : {false, true}) {
    ModelMaker model(11);
    model.input("x", {2}).output("y");
    if (mask) model.output("mask", onnx::TensorProto::BOOL);
    model.node("Dropout", {"x"}, {"y", "mask"});
    if (mask) {
      EXPECT_THAT(model.import().error().message, HasSubstr("output \"mask\""));
    } else {
      EXPECT_THAT(run_one(model, {2}, {1, 2}).as<float>(), ElementsAre(1, 2));
    }
  }
}

TEST(Opset15, ShapeGivesARange) {
  ModelMaker model(15);
  model.input("x", {2, 3, 4}).output("y", kInt64);
  model.node("Shape", {"x"}, {"y"}).attribute("start", std::int64_t{-2}).attribute("end", std::int64_t{99});
  EXPECT_THAT(run_one(model, {2, 3, 4}, counting(24)).as<std::int64_t>(), ElementsAre(3, 4));
}

TEST(Opset14, BatchNormInTrainingModeIsRefused) {
  ModelMaker model(14);
  model.input("x", {1, 1, 2}).output("y");
  for (const char* name : {"scale", "bias", "mean", "var"}) model.floats(name, {1}, {1});
  model.node("BatchNormalization", {"x", "scale", "bias", "mean", "var"}, {"y"})
      .attribute("training_mode", std::int64_t{1});
  EXPECT_THAT(model.import().error().message, HasSubstr("training_mode=1"));
}

TEST(Window, AutoPadIsResolvedWithTheInputsShape) {
  struct Row {
    const char* auto_pad;
    std::vector<float> expected;
  };
  // Windows of 2 over 0 1 2 3 4, stride 2.
  for (const Row& row : {Row{"SAME_UPPER", {1, 3, 4}}, Row{"SAME_LOWER", {0, 2, 4}}, Row{"VALID", {1, 3}}}) {
    ModelMaker model(17);
    model.input("x", {1, 1, 5}).output("y");
    model.node("MaxPool", {"x"}, {"y"})
        .attribute("kernel_shape", Dims{2})
        .attribute("strides", Dims{2})
        .attribute("auto_pad", row.auto_pad);
    EXPECT_THAT(run_one(model, {1, 1, 5}, counting(5)).as<float>(), ElementsAreArray(row.expected)) << row.auto_pad;
  }
}

TEST(Window, KernelShapeMustBeTheWeights) {
  ModelMaker model(17);
  model.input("x", {1, 1, 5}).output("y").floats("w", {1, 1, 2}, {1, 1});
  model.node("Conv", {"x", "w"}, {"y"}).attribute("kernel_shape", Dims{3});
  EXPECT_THAT(model.import().error().message, HasSubstr("node \"y\" (Conv): kernel_shape is [3]"));
}

}  // namespace
}  // namespace onnx_split
