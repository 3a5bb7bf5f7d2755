#include "cli/input.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <numeric>

#include "base/file.h"
#include "cli/npy.h"
#include "cli/output.h"
#include "graph/builder.h"
#include "graph/zoo/zoo.h"

namespace onnx_split {
namespace {

using ::testing::ElementsAre;
using Paths = std::vector<std::string>;

// A network that gives its inputs back, each through a Relu: "x" becomes "x/y".
Graph network(const std::vector<std::pair<std::string, TensorType>>& inputs) {
  GraphBuilder builder("echo");
  std::vector<ValueId> outputs;
  for (const auto& [name, type] : inputs) {
    const auto input = builder.add_input(name, type);
    outputs.push_back(type.type == DataType::kFloat32 ? *builder.add(name + "/y", OpType::kRelu, {}, {*input})
                                                      : *input);
  }
  auto graph = std::move(builder).build(outputs);
  EXPECT_TRUE(graph);
  return *graph;
}

Graph one_input(Shape shape) { return network({{"x", {DataType::kFloat32, std::move(shape)}}}); }

Graph two_inputs() { return network({{"a", {DataType::kFloat32, {1, 2}}}, {"b=c", {DataType::kInt64, {1}}}}); }

class InFolder : public ::testing::Test {
 protected:
  std::string path(std::string_view name = "") const { return (folder_->path() / name).string(); }

  std::string write(std::string_view name, std::string_view bytes) const {
    std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
    EXPECT_TRUE(write_file(path(name), bytes));
    return path(name);
  }

  // first, first + 1, …
  std::string array(std::string_view name, const Shape& shape, float first = 0) const {
    std::vector<float> values(static_cast<std::size_t>(shape.elements()));
    std::iota(values.begin(), values.end(), first);
    write(name, "");
    EXPECT_TRUE(write_npy(path(name), Tensor::floats(shape, values).view()));
    return path(name);
  }

  std::string int_array(std::string_view name, std::vector<std::int64_t> values) const {
    EXPECT_TRUE(write_npy(path(name), Tensor::ints(values).view()));
    return path(name);
  }

  // "none", or the message with the folder's name taken out.
  std::string complaint(const Paths& specs, const Graph& graph) const {
    const auto source = InputSource::open(specs, graph);
    if (source) return "none";
    std::string message = source.error().message;
    for (const std::string& prefix = path(""); message.find(prefix) != std::string::npos;) {
      message.erase(message.find(prefix), prefix.size());
    }
    return message;
  }

 private:
  Expected<TemporaryDirectory> folder_ = TemporaryDirectory::create("input-test");
};

class Input : public InFolder {};
class Output : public InFolder {};

std::vector<std::string> labels_of(const InputSource& source) {
  std::vector<std::string> labels;
  for (std::size_t i = 0; i < source.size(); ++i) labels.push_back(source.label(i));
  return labels;
}

// A PNG of one grey pixel.
std::string_view tiny_png() {
  static constexpr unsigned char kBytes[] = {
      0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00,
      0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x00, 0x00, 0x00, 0x00, 0x3a, 0x7e, 0x9b, 0x55, 0x00,
      0x00, 0x00, 0x0a, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0x68, 0x00, 0x00, 0x00, 0x82, 0x00, 0x81,
      0x77, 0xcd, 0x72, 0xb6, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82};
  return {reinterpret_cast<const char*>(kBytes), sizeof kBytes};
}

// TensorProto {dims: shape, data_type: FLOAT, raw_data: zeros}, by hand.
std::string zeros_pb(const std::vector<char>& shape) {
  std::string bytes;
  int elements = 1;
  for (const char extent : shape) {
    bytes += {0x08, extent};
    elements *= extent;
  }
  bytes += {0x10, 0x01, 0x4a, static_cast<char>(elements * 4)};
  return bytes + std::string(static_cast<std::size_t>(elements) * 4, '\0');
}

TEST_F(Input, AnArrayOfTheNetworksShapeIsOneItem) {
  const auto source = InputSource::open(Paths{array("cat.npy", {1, 2, 2}, 5)}, one_input({1, 2, 2}));
  ASSERT_TRUE(source) << source.error().message;
  EXPECT_THAT(labels_of(*source), ElementsAre("cat"));
  const auto tensors = source->load(0);
  ASSERT_TRUE(tensors) << tensors.error().message;
  ASSERT_EQ(tensors->size(), 1U);
  EXPECT_EQ(tensors->front().shape(), (Shape{1, 2, 2}));
  EXPECT_THAT(tensors->front().as<float>(), ElementsAre(5, 6, 7, 8));
}

TEST_F(Input, TheBatchExtentMayBeLeftOut) {
  const Graph graph = one_input({1, 2, 2});
  const auto source = InputSource::open(Paths{array("cat.npy", {2, 2}), write("dog.pb", zeros_pb({2, 2}))}, graph);
  ASSERT_TRUE(source) << source.error().message;
  EXPECT_THAT(labels_of(*source), ElementsAre("cat", "dog"));
  for (std::size_t i = 0; i < 2; ++i) {
    const auto tensors = source->load(i);
    ASSERT_TRUE(tensors) << tensors.error().message;
    EXPECT_EQ(tensors->front().shape(), (Shape{1, 2, 2}));
  }
}

TEST_F(Input, ABatchIsSplitIntoItems) {
  const Paths specs{array("one.npy", {1, 2}, 100), array("cats.npy", {3, 2}), array("dogs.npy", {2, 2}, 6)};
  const auto source = InputSource::open(specs, one_input({1, 2}));
  ASSERT_TRUE(source) << source.error().message;
  EXPECT_THAT(labels_of(*source), ElementsAre("one", "cats[0]", "cats[1]", "cats[2]", "dogs[0]", "dogs[1]"));
  for (std::size_t i = 1; i < source->size(); ++i) {
    const auto tensors = source->load(i);
    ASSERT_TRUE(tensors) << tensors.error().message;
    const auto first = static_cast<float>(2 * (i - 1));
    EXPECT_THAT(tensors->front().as<float>(), ElementsAre(first, first + 1));
  }
}

TEST_F(Input, ADirectoryGivesItsFilesInOrderOfTheirNames) {
  for (const std::string_view name : {"many/b.npy", "many/a10.npy", "many/a2.npy", "many/Z.npy"}) array(name, {1, 2});
  write("many/.gitkeep", "");
  const auto source = InputSource::open(Paths{path("many")}, one_input({1, 2}));
  ASSERT_TRUE(source) << source.error().message;
  EXPECT_THAT(labels_of(*source), ElementsAre("Z", "a10", "a2", "b"));
}

TEST_F(Input, LabelsAreUnique) {
  const Paths specs{write("cat.png", tiny_png()),
                    array("cat.npy", {3, 1, 4, 4}),
                    array("x/dog.npy", {1, 4, 4}),
                    array("y/dog.npy", {1, 4, 4}),
                    array("cow[0].npy", {1, 4, 4}),
                    array("cow.npy", {2, 1, 4, 4}),
                    "random:1",
                    "random:1",
                    path("cat.png")};
  const auto source = InputSource::open(specs, one_input({1, 1, 4, 4}));
  ASSERT_TRUE(source) << source.error().message;
  EXPECT_THAT(labels_of(*source),
              ElementsAre("cat.png", "cat.npy[0]", "cat.npy[1]", "cat.npy[2]", "dog.npy", "dog.npy-2", "cow[0].npy",
                          "cow[0]", "cow[1]", "random-1", "random-1-2", "cat.png-2"));
}

TEST_F(Input, PicturesTakeTheNetworksShape) {
  const auto source =
      InputSource::open(Paths{write("cat.PNG", tiny_png())}, one_input({1, 1, 4, 6}), {{0.5F}, {0.5F}, {}});
  ASSERT_TRUE(source) << source.error().message;
  const auto tensors = source->load(0);
  ASSERT_TRUE(tensors) << tensors.error().message;
  EXPECT_EQ(tensors->front().shape(), (Shape{1, 1, 4, 6}));
}

TEST_F(Input, RandomIsTheZoosRandomInput) {
  const auto source = InputSource::open(Paths{"random", "random:7", "x=random:8"}, one_input({1, 5}));
  ASSERT_TRUE(source) << source.error().message;
  EXPECT_THAT(labels_of(*source), ElementsAre("random", "random-7", "random-8"));
  for (const auto& [item, seed] : {std::pair(0, 0), std::pair(1, 7), std::pair(2, 8)}) {
    const auto tensors = source->load(static_cast<std::size_t>(item));
    ASSERT_TRUE(tensors);
    const Tensor expected = zoo::random_input({1, 5}, static_cast<std::uint64_t>(seed));
    EXPECT_TRUE(std::ranges::equal(tensors->front().as<float>(), expected.as<float>()));
  }
}

TEST_F(Input, SeveralInputsGoTogetherInTheirOrder) {
  array("as/1.npy", {1, 2}, 10);
  array("as/2.npy", {2}, 20);
  const auto source = InputSource::open(Paths{"b=c=" + int_array("b.npy", {5, 6}), "a=" + path("as")}, two_inputs());
  ASSERT_TRUE(source) << source.error().message;
  EXPECT_THAT(labels_of(*source), ElementsAre("1", "2"));
  for (std::size_t i = 0; i < 2; ++i) {
    const auto tensors = source->load(i);
    ASSERT_TRUE(tensors) << tensors.error().message;
    ASSERT_EQ(tensors->size(), 2U);
    EXPECT_EQ((*tensors)[0].as<float>()[0], 10.0F * static_cast<float>(i + 1));
    EXPECT_EQ((*tensors)[1].as<std::int64_t>()[0], 5 + static_cast<std::int64_t>(i));
  }
}

TEST_F(Input, PlainRandomFeedsEveryInputDifferently) {
  const Graph graph = network({{"a", {DataType::kFloat32, {1, 3}}}, {"b", {DataType::kFloat32, {1, 3}}}});
  const auto source = InputSource::open(Paths{"random:4"}, graph);
  ASSERT_TRUE(source) << source.error().message;
  const auto tensors = source->load(0);
  ASSERT_TRUE(tensors);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(std::ranges::equal((*tensors)[i].as<float>(), zoo::random_input({1, 3}, 4 + i).as<float>()));
  }
}

TEST_F(Input, APathMayHoldAnEqualsSign) {
  EXPECT_EQ(complaint({array("a=b.npy", {1, 2})}, one_input({1, 2})), "none");
  EXPECT_EQ(complaint({"x=" + array("a=b.npy", {1, 2})}, one_input({1, 2})), "none");
}

TEST_F(Input, SaysWhatIsWrong) {
  const Graph picture = one_input({1, 3, 4, 4});
  const Graph row = one_input({1, 2});
  std::filesystem::create_directory(path("empty"));
  array("mixed/a.npy", {1, 2});
  write("mixed/readme.txt", "");
  array("deep/a/b.npy", {1, 2});
  struct Row {
    Paths specs;
    const Graph& graph;
    std::string complaint;
  };
  for (const Row& row_of : std::initializer_list<Row>{
           {{}, row, "nothing is given for the input \"x\""},
           {{path("missing.npy")}, row, "missing.npy: cannot open: No such file or directory"},
           {{path("none")}, row, "none: no such file"},
           {{path("empty")}, row, "empty: no files in this folder"},
           {{path("mixed")}, row, "mixed/readme.txt: not a .npy, .pb, .jpg, .jpeg or .png file"},
           {{path("deep")}, row, "deep/a: not a .npy, .pb, .jpg, .jpeg or .png file"},
           {{write("cat.gif", "GIF89a")}, picture, "cat.gif: not a JPEG or PNG picture"},
           {{write("cat.jpg", "GIF89a")}, picture, "cat.jpg: not a JPEG or PNG picture"},
           {{write("cat.png", tiny_png())},
            row,
            "cat.png: a picture is float32[1,3,H,W] or float32[1,1,H,W], the network takes float32[1,2]"},
           {{array("input.npy", {3, 4, 5})}, picture, "input.npy: expected float32[1,3,4,4], found float32[3,4,5]"},
           {{array("none.npy", {0, 3, 4, 4})}, picture, "none.npy: expected float32[1,3,4,4], found float32[0,3,4,4]"},
           {{array("rank.npy", {1, 1, 3, 4, 4})},
            picture,
            "rank.npy: expected float32[1,3,4,4], found float32[1,1,3,4,4]"},
           {{int_array("ints.npy", {1, 2})}, row, "ints.npy: expected float32[1,2], found int64[2]"},
           {{array("batch.npy", {4, 3})}, one_input({2, 3}), "batch.npy: expected float32[2,3], found float32[4,3]"},
           {{write("3.pb", zeros_pb({3}))}, row, "3.pb: expected float32[1,2], found float32[3]"},
           {{write("batch.pb", zeros_pb({3, 2}))}, row, "batch.pb: several items in one .pb file; use .npy"},
           {{write("t.pb", "?")}, row, "t.pb: not a tensor file (ONNX's TensorProto)"},
           {{"random:"}, row, "random:: expected random or random:SEED with a whole number"},
           {{"random:1x"}, row, "random:1x: expected random or random:SEED with a whole number"},
           {{"random:-1"}, row, "random:-1: expected random or random:SEED with a whole number"},
           {{"y=random"}, row, "y=random: no input \"y\"; the network has \"x\""},
           {{"x.npy"}, two_inputs(), "x.npy: expected NAME=X, because the network has the inputs \"a\", \"b=c\""},
           {{"c=random"}, two_inputs(), "c=random: no input \"c\"; the network has \"a\", \"b=c\""},
           {{"a=random"}, two_inputs(), "nothing is given for the input \"b=c\""},
           {{"random"}, two_inputs(), "random: random numbers are float32, the input \"b=c\" is int64[1]"},
           {{"a=random", "b=c=" + int_array("b.npy", {5, 6})},
            two_inputs(),
            "expected as many items for each input, found 1 for \"a\" and 2 for \"b=c\""},
       }) {
    EXPECT_EQ(complaint(row_of.specs, row_of.graph), row_of.complaint);
  }
}

TEST_F(Input, AFileThatChangedIsFoundWhenItIsLoaded) {
  const auto source = InputSource::open(Paths{array("cat.npy", {2, 2})}, one_input({1, 2}));
  ASSERT_TRUE(source) << source.error().message;
  array("cat.npy", {1, 2});
  const auto tensors = source->load(1);
  ASSERT_FALSE(tensors);
  EXPECT_EQ(tensors.error().message, path("cat.npy") + ": has changed since it was opened");
}

TEST_F(Output, OneItemOfOneOutputIsOneFile) {
  auto sink = OutputSink::open(path("y.npy"), one_input({1, 2}), 1);
  ASSERT_TRUE(sink) << sink.error().message;
  EXPECT_FALSE(std::filesystem::exists(path("y.npy")));
  const Tensor tensor = Tensor::floats({1, 2}, std::array{1.0F, 2.0F});
  ASSERT_TRUE(sink->write("cat", std::array{tensor}));
  const auto back = read_npy(path("y.npy"));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_THAT(back->as<float>(), ElementsAre(1, 2));
}

TEST_F(Output, SeveralGoToAFolderWithNamesThatStayInside) {
  const Graph graph = network({{"../a", {DataType::kFloat32, {1}}}, {"b", {DataType::kFloat32, {1}}}});
  auto sink = OutputSink::open(path("new/folder"), graph, 2);
  ASSERT_TRUE(sink) << sink.error().message;
  const std::array outputs{Tensor::floats({1}, std::array{1.0F}), Tensor::floats({1}, std::array{2.0F})};
  ASSERT_TRUE(sink->write("cat[0]", outputs));
  ASSERT_TRUE(sink->write("../dog", outputs));
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(path("new/folder"))) {
    names.push_back(entry.path().filename().string());
  }
  EXPECT_THAT(names, ::testing::UnorderedElementsAre("cat[0]..._a_y.npy", "cat[0].b_y.npy", ".._dog..._a_y.npy",
                                                     ".._dog.b_y.npy"));
  const auto again = sink->write("cat[0]", outputs);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().message, path("new/folder/cat[0]..._a_y.npy") + ": two results would have this name");
}

TEST_F(Output, APathThatCantBeWrittenIsFoundAtOnce) {
  const Graph graph = one_input({1, 2});
  const auto complaint_about = [&](const std::string& name, std::size_t items) {
    const auto sink = OutputSink::open(path(name), graph, items);
    return sink ? "none" : sink.error().message.substr(path().size());
  };
  write("file", "");
  EXPECT_EQ(complaint_about("y.npy", 3), "y.npy: 3 inputs with 1 outputs each need a folder, not one file");
  EXPECT_EQ(complaint_about("none/y.npy", 1), "none/y.npy: cannot create: No such file or directory");
  EXPECT_EQ(complaint_about("file", 1), "file: cannot create folder: Not a directory");
  std::filesystem::create_directory(path("z.npy"));
  EXPECT_EQ(complaint_about("z.npy", 3), "none");
  EXPECT_TRUE(std::filesystem::is_empty(path("z.npy")));
}

TEST_F(Output, LabelsAreLines) {
  const auto labels = read_labels(write("labels.txt", "\xef\xbb\xbfzero\r\n\r\nold cat\n\n\n"));
  ASSERT_TRUE(labels) << labels.error().message;
  EXPECT_THAT(*labels, ElementsAre("zero", "", "old cat"));
  const auto unended = read_labels(write("labels.txt", "a\nb"));
  ASSERT_TRUE(unended) << unended.error().message;
  EXPECT_THAT(*unended, ElementsAre("a", "b"));
  const auto none = read_labels(write("labels.txt", "\n"));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().message, path("labels.txt") + ": no labels in this file");
}

TEST(TopK, TheLargestComeFirst) {
  const Tensor scores = Tensor::floats({1, 5, 1}, std::array{1.0F, 3.0F, NAN, 3.0F, -2.0F});
  const std::vector<std::string> labels{"a", "b", "c", "d", "e"};
  const auto ranked = top_k(scores, 99, labels);
  ASSERT_TRUE(ranked) << ranked.error().message;
  std::vector<std::string> order;
  for (const Ranked& row : *ranked) order.push_back(row.label);
  EXPECT_THAT(order, ElementsAre("b", "d", "a", "e", "c"));
  EXPECT_EQ(ranked->front().index, 1U);
  EXPECT_EQ(ranked->front().value, 3.0F);
}

TEST(TopK, ProbabilitiesAreTheSoftmaxOfAllClasses) {
  const auto ranked = top_k(Tensor::floats({1, 3}, std::array{1000.0F, 1001.0F, 999.0F}), 2);
  ASSERT_TRUE(ranked) << ranked.error().message;
  ASSERT_EQ(ranked->size(), 2U);
  const double sum = 1 + std::exp(-1.0) + std::exp(-2.0);
  EXPECT_NEAR((*ranked)[0].probability, 1 / sum, 1e-12);
  EXPECT_NEAR((*ranked)[1].probability, std::exp(-1.0) / sum, 1e-12);
  EXPECT_EQ((*ranked)[0].label, "");
}

TEST(TopK, SaysWhatIsWrong) {
  const auto complaint = [](const Tensor& scores, const std::vector<std::string>& labels) {
    const auto ranked = top_k(scores, 1, labels);
    return ranked ? "none" : ranked.error().message;
  };
  const std::array values{1.0F, 2.0F, 3.0F, 4.0F};
  EXPECT_EQ(complaint(Tensor::floats({1, 4}, values), {"a", "b"}), "expected 4 labels, one a class, found 2");
  EXPECT_EQ(complaint(Tensor::floats({2, 2}, values), {}),
            "the largest values need one float32 a class, the output is float32[2,2]");
  EXPECT_EQ(complaint(Tensor::ints(std::array<std::int64_t, 1>{1}), {}),
            "the largest values need one float32 a class, the output is int64[1]");
  EXPECT_EQ(complaint(Tensor::floats({0}, {}), {}), "none");
}

}  // namespace
}  // namespace onnx_split
