// External data: read from the model's folder, and from nowhere else.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <optional>

#include "base/file.h"
#include "tests/onnx_import/model_maker.h"

namespace onnx_split {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class ExternalDataTest : public testing::Test {
 protected:
  void SetUp() override {
    auto made = TemporaryDirectory::create("external-test");
    ASSERT_TRUE(made.has_value()) << made.error().message;
    folder_.emplace(std::move(*made));
    model_folder_ = folder_->path() / "model";
    fs::create_directory(model_folder_);
    write(model_folder_ / "weights.bin", {0, 1, 2, 3});
    write(folder_->path() / "outside.bin", {0, 1, 2, 3});
  }

  static void write(const fs::path& path, const std::vector<float>& values) {
    const auto bytes = std::as_bytes(std::span(values));
    ASSERT_TRUE(write_file(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}).has_value());
  }

  struct Where {
    std::string location;
    std::optional<std::string> offset = std::nullopt;
    std::optional<std::string> length = std::nullopt;
    Dims dims = {2};
  };

  // y = x + w, with w where `where` says.
  Expected<Graph> import(const Where& where) {
    ModelMaker model(13);
    model.input("x", where.dims).output("y").node("Add", {"x", "w"}, {"y"});
    onnx::TensorProto& w = *model.proto().mutable_graph()->add_initializer();
    w.set_name("w");
    w.set_data_type(onnx::TensorProto::FLOAT);
    w.mutable_dims()->Add(where.dims.begin(), where.dims.end());
    w.set_data_location(onnx::TensorProto::EXTERNAL);
    const auto entry = [&](const std::string& key, const std::optional<std::string>& value) {
      if (!value) return;
      onnx::StringStringEntryProto& added = *w.add_external_data();
      added.set_key(key);
      added.set_value(*value);
    };
    entry("location", where.location);
    entry("offset", where.offset);
    entry("length", where.length);
    const fs::path path = model_folder_ / "model.onnx";
    EXPECT_TRUE(write_file(path, model.bytes()).has_value());
    return import_onnx(path);
  }

  std::string error(const Where& where) {
    const Expected<Graph> graph = import(where);
    EXPECT_FALSE(graph.has_value()) << where.location;
    return graph ? "" : graph.error().message;
  }

  static std::vector<float> weights(const Graph& graph) {
    const auto values = graph.value(*graph.find_value("w")).constant->as<float>();
    return {values.begin(), values.end()};
  }

  std::optional<TemporaryDirectory> folder_;
  fs::path model_folder_;
};

TEST_F(ExternalDataTest, IsReadAtItsOffset) {
  const Expected<Graph> graph = import({.location = "weights.bin", .offset = "4", .length = "8"});
  ASSERT_TRUE(graph.has_value()) << graph.error().message;
  EXPECT_THAT(weights(*graph), ElementsAre(1, 2));
}

TEST_F(ExternalDataTest, WithoutALengthTheShapesSizeIsRead) {
  const Expected<Graph> graph = import({.location = "./weights.bin"});
  ASSERT_TRUE(graph.has_value()) << graph.error().message;
  EXPECT_THAT(weights(*graph), ElementsAre(0, 1));
}

TEST_F(ExternalDataTest, AnUnalignedOffsetIsCopied) {
  const std::string bytes = std::string("\0\0\0\0\x80\x3f\0\0\0\x40", 10);  // 2 bytes, then 1.0F and 2.0F
  ASSERT_TRUE(write_file(model_folder_ / "odd.bin", bytes).has_value());
  const Expected<Graph> graph = import({.location = "odd.bin", .offset = "2"});
  ASSERT_TRUE(graph.has_value()) << graph.error().message;
  EXPECT_THAT(weights(*graph), ElementsAre(1, 2));
}

TEST_F(ExternalDataTest, ALinkInsideTheFolderIsFollowed) {
  fs::create_symlink("weights.bin", model_folder_ / "link.bin");
  fs::create_directory(model_folder_ / "sub");
  EXPECT_TRUE(import({.location = "link.bin"}).has_value());
  EXPECT_TRUE(import({.location = "sub/../weights.bin"}).has_value());
}

TEST_F(ExternalDataTest, NothingOutsideTheFolderIsRead) {
  fs::create_symlink(folder_->path() / "outside.bin", model_folder_ / "link.bin");
  fs::create_directory_symlink(folder_->path(), model_folder_ / "up");
  fs::create_directory(folder_->path() / "model2");
  write(folder_->path() / "model2/weights.bin", {0, 1, 2, 3});
  for (const char* location :
       {"../outside.bin", "link.bin", "up/outside.bin", "../model2/weights.bin", "../model/../outside.bin"}) {
    EXPECT_THAT(error({.location = location}), HasSubstr("lies outside the model's folder")) << location;
  }
  EXPECT_THAT(error({.location = "../../../../../../etc/passwd"}), HasSubstr("lies outside the model's folder"));
  for (const std::string& location :
       {std::string("/etc/passwd"), (model_folder_ / "weights.bin").string(), std::string()}) {
    EXPECT_THAT(error({.location = location}), HasSubstr("expected a path relative to the model's folder")) << location;
  }
  EXPECT_THAT(error({.location = "../../etc/passwd"}), HasSubstr("external data \"../../etc/passwd\""));
  EXPECT_THAT(error({.location = std::string("weights.bin\0x", 13)}), HasSubstr("relative"));
}

TEST_F(ExternalDataTest, OnlyRegularFilesAreRead) {
  ASSERT_EQ(::mkfifo((model_folder_ / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(error({.location = "pipe"}), HasSubstr("not a regular file"));
  fs::create_directory(model_folder_ / "sub");
  EXPECT_THAT(error({.location = "sub"}), HasSubstr("not a regular file"));
  EXPECT_THAT(error({.location = "."}), HasSubstr("outside the model's folder"));
  EXPECT_THAT(error({.location = "missing.bin"}), HasSubstr("missing.bin"));
  fs::create_symlink("/dev/zero", model_folder_ / "zero");
  EXPECT_THAT(error({.location = "zero"}), HasSubstr("outside the model's folder"));
}

TEST_F(ExternalDataTest, OffsetsAndLengthsAreCheckedWithoutOverflow) {
  EXPECT_THAT(error({.location = "weights.bin", .offset = "12"}), HasSubstr("beyond its end (16 bytes)"));
  EXPECT_THAT(error({.location = "weights.bin", .offset = "18446744073709551612"}), HasSubstr("beyond its end"));
  EXPECT_THAT(error({.location = "weights.bin", .offset = "18446744073709551616"}), HasSubstr("isn't a number"));
  EXPECT_THAT(error({.location = "weights.bin", .offset = "-4"}), HasSubstr("offset \"-4\" isn't a number"));
  EXPECT_THAT(error({.location = "weights.bin", .offset = "0x4"}), HasSubstr("isn't a number"));
  EXPECT_THAT(error({.location = "weights.bin", .length = "-8"}), HasSubstr("length \"-8\" isn't a number"));
  EXPECT_THAT(error({.location = "weights.bin", .length = "12"}),
              HasSubstr("its length is 12 bytes, the shape needs 8"));
  EXPECT_THAT(error({.location = "weights.bin", .dims = {1 << 30}}),
              HasSubstr("4294967296 bytes at offset 0 are beyond"));
}

TEST_F(ExternalDataTest, ModelsFromMemoryWithoutAFolderHaveNone) {
  ASSERT_TRUE(import({.location = "weights.bin"}).has_value());
  const auto bytes = read_file(model_folder_ / "model.onnx");
  ASSERT_TRUE(bytes.has_value());
  EXPECT_TRUE(import_string(*bytes, model_folder_).has_value());
  EXPECT_THAT(import_string(*bytes).error().message, HasSubstr("not allowed here"));
}

}  // namespace
}  // namespace onnx_split
