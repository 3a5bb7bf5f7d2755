// What importing makes of a well-formed model.

#include "onnx_import/import.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "onnx_import/export.h"
#include "tests/onnx_import/model_maker.h"

namespace onnx_split {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Import, FoldsAwayTheShapeSubgraphOfAnOldExporter) {
  ModelMaker model(9);
  model.input("x", {1, 2, 3, 4}).output("y").ints("zero", {0}).ints("minus_one", {-1});
  model.node("Shape", {"x"}, {"shape"});
  model.node("Gather", {"shape", "zero"}, {"batch"}).attribute("axis", std::int64_t{0});
  model.node("Concat", {"batch", "minus_one"}, {"new_shape"}).attribute("axis", std::int64_t{0});
  model.node("Reshape", {"x", "new_shape"}, {"y"});
  const Expected<Graph> graph = model.import();
  ASSERT_TRUE(graph.has_value()) << graph.error().message;
  EXPECT_EQ(to_text(*graph),
            "graph made\n"
            "input x: float32[1,2,3,4]\n"
            "y: float32[1,24] = Reshape(x) {shape=[1,24]}\n"
            "output y\n");
}

onnx::TensorShapeProto::Dimension& dimension(ModelMaker& model, int input, int axis) {
  onnx::TypeProto& type = *model.proto().mutable_graph()->mutable_input(input)->mutable_type();
  return *type.mutable_tensor_type()->mutable_shape()->mutable_dim(axis);
}

TEST(Import, AnOpenBatchBecomesTheOptionsBatch) {
  ModelMaker model(13);
  model.input("x", {0, 2}).input("z", {2, 0}).output("y");
  dimension(model, 0, 0).set_dim_param("N");
  dimension(model, 1, 1).set_dim_param("N");  // the same number, wherever it stands
  model.node("MatMul", {"x", "z"}, {"y"});
  const Expected<Graph> graph = model.import({.batch = 3, .simplify = true});
  ASSERT_TRUE(graph.has_value()) << graph.error().message;
  EXPECT_EQ(graph->value(graph->outputs()[0]).shape(), (Shape{3, 3}));
  EXPECT_THAT(model.import({.batch = 0, .simplify = true}).error().message, HasSubstr("batch 0"));
}

TEST(Import, AnyOtherOpenDimensionIsAnError) {
  ModelMaker model(13);
  model.input("x", {1, 2}).output("y").node("Relu", {"x"}, {"y"});
  dimension(model, 0, 1).set_dim_param("width");
  EXPECT_THAT(model.import().error().message, HasSubstr("input \"x\": dimension 1 (\"width\") is open"));
}

TEST(Import, InputsThatAreInitializersAreConstants) {
  ModelMaker model(8);
  model.proto().set_ir_version(3);
  model.input("x", {1, 2}).input("w", {2, 2}).floats("w", {2, 2}, {1, 2, 3, 4}).output("y");
  model.node("MatMul", {"x", "w"}, {"y"});
  const Expected<Graph> graph = model.import();
  ASSERT_TRUE(graph.has_value()) << graph.error().message;
  EXPECT_EQ(graph->inputs().size(), 1U);
}

TEST(Import, SortsNodesAndNamesThem) {
  ModelMaker model(13);
  model.input("x", {2}).output("c");
  model.node("Relu", {"b"}, {"c"}).name("same");
  model.node("Exp", {"a"}, {"b"});
  model.node("Abs", {"x"}, {"a"}).name("same");
  const Expected<Graph> graph = model.import();
  ASSERT_TRUE(graph.has_value()) << graph.error().message;
  ASSERT_EQ(graph->node_count(), 3U);
  EXPECT_EQ(graph->nodes()[0].name, "same_1");
  EXPECT_EQ(graph->nodes()[1].name, "b");
  EXPECT_EQ(graph->nodes()[2].name, "same");
}

TEST(Import, AGraphWithoutANameIsCalledSoEverywhere) {
  ModelMaker model(13);
  model.input("x", {2}).output("y");
  model.node("Relu", {"x"}, {"y"});
  model.proto().mutable_graph()->clear_name();
  const Expected<Graph> graph = model.import();
  ASSERT_TRUE(graph.has_value()) << graph.error().message;
  const Expected<std::string> exported = export_onnx_bytes(*graph);
  ASSERT_TRUE(exported.has_value()) << exported.error().message;
  EXPECT_EQ(to_text(import_string(*exported).value()), to_text(*graph));
}

TEST(Import, InventedNamesAvoidTheModels) {
  ModelMaker model(7);
  model.input("x", {1, 2, 2}).output("y_flat");
  model.node("Softmax", {"x"}, {"y"});
  model.node("Relu", {"y"}, {"y_flat"}).name("y_flat_softmax");
  const Expected<Graph> graph = model.import();
  ASSERT_TRUE(graph.has_value()) << graph.error().message;
  EXPECT_TRUE(graph->find_value("y_flat_1").has_value());
}

TEST(Import, EveryFormOfConstantIsRead) {
  ModelMaker model(13);
  model.output("a").output("b").output("c", onnx::TensorProto::INT64).output("d", onnx::TensorProto::INT64);
  model.output("e", onnx::TensorProto::INT64).output("f", onnx::TensorProto::BOOL);
  model.node("Constant", {}, {"a"}).attribute("value_float", 1.5F);
  model.node("Constant", {}, {"b"}).attribute("value_floats", std::vector<float>{1, 2});
  model.node("Constant", {}, {"c"}).attribute("value_int", std::int64_t{7});
  model.node("Constant", {}, {"d"}).attribute("value_ints", Dims{7, 8});
  onnx::TensorProto e;
  e.set_data_type(onnx::TensorProto::INT32);
  e.add_dims(2);
  e.add_int32_data(-1);
  e.add_int32_data(5);
  onnx::TensorProto f;
  f.set_data_type(onnx::TensorProto::BOOL);
  f.add_dims(2);
  f.set_raw_data(std::string("\1\0", 2));
  for (const auto& [name, tensor] : {std::pair("e", e), std::pair("f", f)}) {
    onnx::AttributeProto& value = *model.node("Constant", {}, {name}).proto().add_attribute();
    value.set_name("value");
    value.set_type(onnx::AttributeProto::TENSOR);
    *value.mutable_t() = tensor;
  }
  const Expected<Graph> graph = model.import();
  ASSERT_TRUE(graph.has_value()) << graph.error().message;
  const Expected<std::vector<Tensor>> outputs = reference_run(*graph, {});
  ASSERT_TRUE(outputs.has_value()) << outputs.error().message;
  EXPECT_THAT((*outputs)[0].as<float>(), ElementsAre(1.5F));
  EXPECT_THAT((*outputs)[1].as<float>(), ElementsAre(1, 2));
  EXPECT_THAT((*outputs)[2].as<std::int64_t>(), ElementsAre(7));
  EXPECT_THAT((*outputs)[3].as<std::int64_t>(), ElementsAre(7, 8));
  EXPECT_THAT((*outputs)[4].as<std::int64_t>(), ElementsAre(-1, 5));
  EXPECT_THAT((*outputs)[5].as<bool>(), ElementsAre(true, false));
}

TEST(Import, TypedAndRawWeightsAreTheSame) {
  for (const bool raw : {false, true}) {
    ModelMaker model(13);
    model.input("x", {3}).output("y").floats("w", {3}, {1, 2, 3});
    if (!raw) {
      onnx::TensorProto& w = *model.proto().mutable_graph()->mutable_initializer(0);
      w.clear_raw_data();
      for (const float value : {1.0F, 2.0F, 3.0F}) w.add_float_data(value);
    }
    model.node("Mul", {"x", "w"}, {"y"});
    const Expected<Graph> graph = model.import();
    ASSERT_TRUE(graph.has_value()) << graph.error().message;
    EXPECT_THAT(graph->value(*graph->find_value("w")).constant->as<float>(), ElementsAre(1, 2, 3));
  }
}

TEST(Import, ParametersThatDependOnTheInputAreRefused) {
  ModelMaker model(13);
  model.input("x", {2, 3}).input("shape", {1}, onnx::TensorProto::INT64).output("y");
  model.node("Reshape", {"x", "shape"}, {"y"});
  const Expected<Graph> graph = model.import();
  ASSERT_FALSE(graph.has_value());
  EXPECT_EQ(graph.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(graph.error().message, HasSubstr("node \"y\" (Reshape): shape (input \"shape\") must be constant"));
}

TEST(Import, AllUnsupportedOperatorsAreListed) {
  const auto folder = TemporaryDirectory::create("import-test");
  ASSERT_TRUE(folder.has_value());
  ModelMaker model(13);
  model.input("x", {2}).output("y");
  model.node("Foo", {"x"}, {"a"}).name("first");
  model.node("Relu", {"a"}, {"b"});
  model.node("FusedConv", {"b"}, {"c"}).domain("com.microsoft").name("second");
  model.node("HardSwish", {"c"}, {"d"});
  model.node("LeakyRelu", {"d"}, {"y"}).attribute("beta", 1.0F);
  const std::filesystem::path path = folder->path() / "model.onnx";
  ASSERT_TRUE(write_file(path, model.bytes()).has_value());
  const Expected<Graph> graph = import_onnx(path);
  ASSERT_FALSE(graph.has_value());
  EXPECT_EQ(graph.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(graph.error().message,
            path.string() +
                ": 4 unsupported operators: node \"first\" (Foo, opset 13): no such operator here; node \"second\" "
                "(com.microsoft.FusedConv, opset 13): only ONNX's own operators are supported; node \"d\" (HardSwish, "
                "opset 13): not at this opset; node \"y\" (LeakyRelu, opset 13): attribute \"beta\" isn't supported");
  const auto listed = list_unsupported(path);
  ASSERT_TRUE(listed.has_value());
  ASSERT_EQ(listed->size(), 4U);
  EXPECT_EQ((*listed)[1].op, "com.microsoft.FusedConv");
}

TEST(Import, TensorFilesOfEveryTypeOrAClearError) {
  const auto folder = TemporaryDirectory::create("import-test");
  ASSERT_TRUE(folder.has_value());
  const std::filesystem::path path = folder->path() / "tensor.pb";
  onnx::TensorProto proto;
  proto.set_data_type(onnx::TensorProto::INT32);
  proto.add_dims(2);
  const std::int32_t numbers[] = {-3, 4};
  proto.set_raw_data(numbers, sizeof numbers);
  ASSERT_TRUE(write_file(path, proto.SerializeAsString()).has_value());
  const Expected<Tensor> tensor = import_tensor(path);
  ASSERT_TRUE(tensor.has_value()) << tensor.error().message;
  EXPECT_THAT(tensor->as<std::int64_t>(), ElementsAre(-3, 4));

  proto.set_data_type(onnx::TensorProto::DOUBLE);
  ASSERT_TRUE(write_file(path, proto.SerializeAsString()).has_value());
  EXPECT_THAT(import_tensor(path).error().message, HasSubstr("element type double isn't supported"));
  ASSERT_TRUE(write_file(path, "P6 640 480 255").has_value());
  EXPECT_THAT(import_tensor(path).error().message, HasSubstr("tensor.pb"));
  EXPECT_EQ(import_tensor(folder->path() / "missing.pb").error().code, ErrorCode::kNotFound);
}

TEST(Import, TheDigitsNetworkHasItsClasses) {
  const Expected<Graph> graph = import_onnx(std::filesystem::path(ONNX_SPLIT_TEST_DATA) / "digits/digits.onnx");
  ASSERT_TRUE(graph.has_value()) << graph.error().message;
  EXPECT_EQ(graph->value(graph->outputs()[0]).shape(), (Shape{1, 10}));
}

}  // namespace
}  // namespace onnx_split
