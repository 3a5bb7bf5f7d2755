// Files that are broken or mean harm: each gives one clear error; none crashes, hangs or allocates what it merely
// claims.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/file.h"
#include "base/random.h"
#include "tests/onnx_import/model_maker.h"

namespace onnx_split {
namespace {

using testing::HasSubstr;

// A little of everything: weights, a shape subgraph, a constant node.
ModelMaker small_network() {
  ModelMaker model(13);
  model.input("x", {1, 2, 4, 4}).output("y");
  model.floats("w", {3, 2, 3, 3}, seeded(54, 1)).floats("b", {3}, seeded(3, 2)).floats("fc", {12, 2}, seeded(24, 3));
  model.ints("zero", {0}).ints("rest", {-1});
  model.node("Conv", {"x", "w", "b"}, {"c"}).attribute("pads", Dims{1, 1, 1, 1}).name("conv1");
  model.node("Relu", {"c"}, {"r"});
  model.node("MaxPool", {"r"}, {"p"}).attribute("kernel_shape", Dims{2, 2}).attribute("strides", Dims{2, 2});
  model.node("Shape", {"p"}, {"s"});
  model.node("Gather", {"s", "zero"}, {"n"});
  model.node("Concat", {"n", "rest"}, {"to"}).attribute("axis", std::int64_t{0});
  model.node("Reshape", {"p", "to"}, {"flat"});
  model.node("MatMul", {"flat", "fc"}, {"m"});
  model.node("Constant", {}, {"half"}).attribute("value_float", 0.5F);
  model.node("Mul", {"m", "half"}, {"y"});
  return model;
}

std::string error_of(const ModelMaker& model) {
  const Expected<Graph> graph = model.import();
  EXPECT_FALSE(graph.has_value());
  return graph ? "" : graph.error().message;
}

ModelMaker one_node(const std::string& op, const Dims& dims, const Names& inputs = {"x"}) {
  ModelMaker model(13);
  model.input("x", dims).output("y");
  model.node(op, inputs, {"y"}).name("node1");
  return model;
}

TEST(HostileModel, TheNetworkItselfIsFine) { EXPECT_TRUE(small_network().import().has_value()); }

TEST(HostileModel, EveryTruncationIsAnError) {
  // Protobuf writes opset_import last, so that every prefix lacks something.
  const std::string whole = small_network().bytes();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const Expected<Graph> graph = import_string(whole.substr(0, size));
    ASSERT_FALSE(graph.has_value()) << size;
    ASSERT_FALSE(graph.error().message.empty());
  }
}

TEST(HostileModel, FlippedBitsGiveAGraphOrAnError) {
  const std::string whole = small_network().bytes();
  Random random(7);
  int imported = 0;
  for (int round = 0; round < 6000; ++round) {
    std::string bytes = whole;
    const std::int64_t flips = random.integer(1, 4);
    for (std::int64_t i = 0; i < flips; ++i) {
      const auto bit = static_cast<std::size_t>(random.integer(0, static_cast<std::int64_t>(8 * bytes.size()) - 1));
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    }
    imported += import_string(bytes).has_value() ? 1 : 0;
  }
  EXPECT_GT(imported, 0);  // a flip in a weight harms nothing
  EXPECT_LT(imported, 6000);
}

TEST(HostileModel, RandomBytesInPlaceOfRandomSpansGiveAGraphOrAnError) {
  const std::string whole = small_network().bytes();
  Random random(8);
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = whole;
    const auto at = static_cast<std::size_t>(random.integer(0, static_cast<std::int64_t>(bytes.size()) - 9));
    for (std::size_t i = 0; i < 8; ++i) bytes[at + i] = static_cast<char>(random.integer(-128, 127));
    if (random.integer(0, 1) == 0) bytes.erase(at, 3);
    import_string(bytes);
  }
}

TEST(HostileModel, WhatIsNoModelSaysSo) {
  EXPECT_THAT(import_string("").error().message, HasSubstr("not an ONNX file: it is empty"));
  EXPECT_THAT(import_string("P6\n640 480\n255\n" + std::string(1000, 'x')).error().message,
              HasSubstr("not an ONNX file"));
  EXPECT_THAT(import_string("\x89PNG\r\n\x1a\n").error().message, HasSubstr("not an ONNX file"));
  EXPECT_THAT(import_string(std::string(100, '\0')).error().message, HasSubstr("not an ONNX file"));
  onnx::TensorProto tensor;
  tensor.set_data_type(onnx::TensorProto::FLOAT);
  EXPECT_THAT(import_string(tensor.SerializeAsString()).error().message, HasSubstr("not an ONNX file"));
}

TEST(HostileModel, FilesThatArentThereOrArentFiles) {
  const auto folder = TemporaryDirectory::create("hostile-test");
  ASSERT_TRUE(folder.has_value());
  const Expected<Graph> missing = import_onnx(folder->path() / "missing.onnx");
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(missing.error().message, HasSubstr("missing.onnx: cannot open: No such file"));
  EXPECT_THAT(import_onnx(folder->path()).error().message, HasSubstr("not a regular file"));
  EXPECT_THAT(import_onnx("/dev/zero").error().message, HasSubstr("not a regular file"));
}

TEST(HostileModel, ATensorThatClaimsAGigabyteIsRefusedUnallocated) {
  ModelMaker model = one_node("Mul", {1}, {"x", "w"});
  model.floats("w", {256, 1024, 1024}, {1.0F});
  EXPECT_LT(model.bytes().size(), 120U);
  EXPECT_THAT(error_of(model), HasSubstr("initializer \"w\": shape [256,1024,1024] needs 1073741824 bytes, found 4"));

  ModelMaker typed = one_node("Mul", {1}, {"x", "w"});
  typed.ints("w", {1});
  typed.proto().mutable_graph()->mutable_initializer(0)->set_dims(0, std::int64_t{1} << 27);
  EXPECT_THAT(error_of(typed), HasSubstr("needs 134217728 elements, found 1"));

  // The wire format's length itself lies: field 9 (raw_data) of 1 GB in a message of a few bytes.
  std::string bytes = one_node("Mul", {1}, {"x", "w"}).floats("w", {1}, {1.0F}).bytes();
  const std::size_t at = bytes.find(std::string("\x4a\x04", 2));
  ASSERT_NE(at, std::string::npos);
  bytes.replace(at, 2, "\x4a\x80\x80\x80\x80\x04");
  EXPECT_THAT(import_string(bytes).error().message, HasSubstr("malformed"));
}

TEST(HostileModel, HugeAndNegativeExtentsDontOverflow) {
  for (const Dims& dims : {Dims{std::int64_t{1} << 62, 4}, Dims{1 << 30, 1 << 30, 1 << 30}, Dims{-1, 4}}) {
    ModelMaker weights = one_node("Mul", {1}, {"x", "w"});
    weights.floats("w", dims, {1.0F});
    EXPECT_THAT(error_of(weights), HasSubstr("initializer \"w\": shape"));
  }
  EXPECT_THAT(error_of(one_node("Relu", {1, std::int64_t{1} << 62})), HasSubstr("input \"x\": shape"));
  EXPECT_THAT(error_of(one_node("Relu", Dims(9, 1))), HasSubstr("rank 9"));

  ModelMaker fill = one_node("ConstantOfShape", {1}, {"huge"});
  fill.ints("huge", {1 << 20, 1 << 20});
  EXPECT_THAT(error_of(fill), HasSubstr("node \"node1\" (ConstantOfShape)"));
  ModelMaker reshape = one_node("Reshape", {4}, {"x", "to"});
  reshape.ints("to", {std::int64_t{1} << 40, std::int64_t{1} << 40, -1});
  EXPECT_THAT(error_of(reshape), HasSubstr("overflows"));
  // The reference would walk the window's 2^40 cells: nothing of the sort is computed while importing.
  ModelMaker constant = one_node("MaxPool", {4}, {"w"});
  constant.floats("w", {1, 1, 4}, counting(4));
  NodeMaker(*constant.proto().mutable_graph()->mutable_node(0))
      .attribute("kernel_shape", Dims{std::int64_t{1} << 40})
      .attribute("pads", Dims{(std::int64_t{1} << 40) - 4, 0});
  constant.import();
  ModelMaker pool = one_node("MaxPool", {1, 1, 4});
  NodeMaker(*pool.proto().mutable_graph()->mutable_node(0))
      .attribute("kernel_shape", Dims{std::int64_t{1} << 62})
      .attribute("auto_pad", "SAME_UPPER");
  EXPECT_THAT(error_of(pool), HasSubstr("node \"node1\" (MaxPool)"));
}

TEST(HostileModel, CyclesNameANodeOnThem) {
  ModelMaker model(13);
  model.input("x", {1}).output("y");
  model.node("Relu", {"b"}, {"y"}).name("behind");
  model.node("Add", {"x", "b"}, {"a"}).name("one");
  model.node("Relu", {"a"}, {"b"}).name("two");
  const std::string error = error_of(model);
  EXPECT_THAT(error, HasSubstr("depends on its own output"));
  EXPECT_TRUE(error.find("one") != std::string::npos || error.find("two") != std::string::npos) << error;
}

TEST(HostileModel, DanglingAndDoubleNamesAreNamed) {
  EXPECT_THAT(error_of(one_node("Add", {1}, {"x", "ghost"})), HasSubstr("node \"node1\" (Add): input \"ghost\""));

  ModelMaker twice = one_node("Relu", {1});
  twice.node("Abs", {"x"}, {"y"}).name("node2");
  EXPECT_THAT(error_of(twice), HasSubstr("node \"node2\" (Abs): output \"y\" is already defined"));

  ModelMaker input = one_node("Relu", {1});
  input.node("Abs", {"y"}, {"x"}).name("node2");
  EXPECT_THAT(error_of(input), HasSubstr("output \"x\" is already defined"));

  ModelMaker weights = one_node("Add", {1}, {"x", "w"});
  weights.floats("w", {1}, {1}).floats("w", {1}, {2});
  EXPECT_THAT(error_of(weights), HasSubstr("initializer \"w\" is defined twice"));

  ModelMaker inputs = one_node("Relu", {1});
  inputs.input("x", {1});
  EXPECT_THAT(error_of(inputs), HasSubstr("\"x\" is defined twice"));

  ModelMaker output = one_node("Relu", {1});
  output.output("nowhere");
  EXPECT_THAT(error_of(output), HasSubstr("output \"nowhere\" isn't computed"));
}

TEST(HostileModel, WrongRanksAndTypesNameTheNode) {
  ModelMaker channels = one_node("Conv", {1, 3, 8, 8}, {"x", "w"});
  channels.floats("w", {2, 4, 3, 3}, seeded(72, 1));
  EXPECT_THAT(error_of(channels), HasSubstr("node \"node1\" (Conv): weight expects"));

  ModelMaker rank = one_node("Conv", {3, 8}, {"x", "w"});
  rank.floats("w", {2, 3, 3, 3}, seeded(54, 1));
  EXPECT_THAT(error_of(rank), HasSubstr("node \"node1\" (Conv)"));

  ModelMaker type(13);
  type.input("x", {2}, onnx::TensorProto::BOOL).output("y").node("Relu", {"x"}, {"y"}).name("node1");
  EXPECT_THAT(error_of(type), HasSubstr("node \"node1\" (Relu)"));

  ModelMaker doubles(13);
  doubles.input("x", {2}, onnx::TensorProto::DOUBLE).output("y").node("Relu", {"x"}, {"y"});
  EXPECT_THAT(error_of(doubles), HasSubstr("input \"x\": element type double isn't supported"));

  ModelMaker declared(13);
  declared.input("x", {2}).output("y", onnx::TensorProto::INT64).node("Relu", {"x"}, {"y"});
  EXPECT_THAT(error_of(declared), HasSubstr("output \"y\" is declared int64"));

  ModelMaker kind = one_node("Flatten", {2, 3});
  NodeMaker(*kind.proto().mutable_graph()->mutable_node(0)).attribute("axis", "one");
  EXPECT_THAT(error_of(kind), HasSubstr("node \"node1\" (Flatten): attribute \"axis\": expected an integer"));

  ModelMaker axes = one_node("Unsqueeze", {2}, {"x", "axes"});
  axes.floats("axes", {1}, {0});
  EXPECT_THAT(error_of(axes), HasSubstr("node \"node1\" (Unsqueeze): axes (input \"axes\") expects int64"));

  EXPECT_THAT(error_of(one_node("Relu", {2}, {"x", "x"})), HasSubstr("node \"node1\" (Relu): expected"));
  EXPECT_THAT(error_of(one_node("Add", {2}, {"", "x"})), HasSubstr("node \"node1\" (Add): input 0 is missing"));
}

TEST(HostileModel, HeadersThatSayTooLittleOrTooMuch) {
  ModelMaker no_opset = one_node("Relu", {1});
  no_opset.proto().clear_opset_import();
  EXPECT_THAT(error_of(no_opset), HasSubstr("opset_import"));

  ModelMaker late = one_node("Relu", {1});
  late.proto().mutable_opset_import(0)->set_version(22);
  EXPECT_THAT(error_of(late), HasSubstr("opset 22 isn't supported: expected 1 to 21"));

  ModelMaker negative = one_node("Relu", {1});
  negative.proto().mutable_opset_import(0)->set_version(-5);
  EXPECT_FALSE(negative.import().has_value());

  ModelMaker no_graph(13);
  no_graph.proto().clear_graph();
  EXPECT_THAT(error_of(no_graph), HasSubstr("no graph"));

  ModelMaker no_outputs(13);
  no_outputs.input("x", {1}).node("Relu", {"x"}, {"y"});
  EXPECT_THAT(error_of(no_outputs), HasSubstr("no outputs"));
}

TEST(HostileModel, WhatThisFormatCanSayButWeDont) {
  ModelMaker sparse = one_node("Relu", {1});
  sparse.proto().mutable_graph()->add_sparse_initializer()->add_dims(1);
  EXPECT_THAT(error_of(sparse), HasSubstr("sparse initializers"));

  ModelMaker branch = one_node("If", {1});
  NodeMaker loop = branch.node("Loop", {"x"}, {"z"});
  onnx::AttributeProto& body = *loop.proto().add_attribute();
  body.set_name("body");
  body.set_type(onnx::AttributeProto::GRAPH);
  body.mutable_g()->set_name("inner");
  EXPECT_THAT(error_of(branch), testing::AllOf(HasSubstr("(If, opset 13)"), HasSubstr("(Loop, opset 13)")));

  ModelMaker sequence = one_node("Relu", {1});
  sequence.proto().mutable_graph()->mutable_input(0)->mutable_type()->mutable_sequence_type();
  EXPECT_THAT(error_of(sequence), HasSubstr("input \"x\" isn't a tensor"));

  ModelMaker shapeless = one_node("Relu", {1});
  shapeless.proto().mutable_graph()->mutable_input(0)->mutable_type()->mutable_tensor_type()->clear_shape();
  EXPECT_THAT(error_of(shapeless), HasSubstr("input \"x\": has no shape"));
}

TEST(HostileModel, DeepNestingIsRefused) {
  onnx::GraphProto graph;
  for (int depth = 0; depth < 300; ++depth) {
    onnx::GraphProto outer;
    onnx::AttributeProto& attribute = *outer.add_node()->add_attribute();
    attribute.mutable_g()->Swap(&graph);
    outer.Swap(&graph);
  }
  ModelMaker model = one_node("Relu", {1});
  model.proto().mutable_graph()->mutable_node(0)->add_attribute()->mutable_g()->Swap(&graph);
  EXPECT_THAT(error_of(model), HasSubstr("malformed"));
}

TEST(HostileModel, ALongChainOfConstantsIsNoDeepRecursion) {
  ModelMaker model = one_node("Reshape", {1}, {"x", "c20000"});
  model.ints("c0", {1});
  for (int i = 0; i < 20000; ++i) model.node("Abs", {fmt::format("c{}", i)}, {fmt::format("c{}", i + 1)});
  EXPECT_TRUE(model.import().has_value());
}

TEST(HostileModel, ManyConstantsFromASmallFileAreRefused) {
  ModelMaker model = one_node("Relu", {1});
  model.ints("large", {1 << 24});
  for (int i = 0; i < 100; ++i) model.node("ConstantOfShape", {"large"}, {fmt::format("c{}", i)});
  EXPECT_THAT(error_of(model), HasSubstr("too large for a constant"));
}

TEST(HostileModel, NamesThatAreAllTheSameDontTakeForever) {
  ModelMaker model(13);
  model.input("x", {1}).output("v50000");
  for (int i = 0; i < 50000; ++i) {
    model.node("Relu", {i == 0 ? "x" : fmt::format("v{}", i)}, {fmt::format("v{}", i + 1)}).name("same");
  }
  const Expected<Graph> graph = model.import();
  ASSERT_TRUE(graph.has_value()) << graph.error().message;
  EXPECT_TRUE(graph->find_node("same_49999").has_value());
}

}  // namespace
}  // namespace onnx_split
