#include "base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <vector>

namespace onnx_split {
namespace {

class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    auto made = TemporaryDirectory::create("file-test");
    ASSERT_TRUE(made.has_value());
    directory_.emplace(std::move(*made));
  }

  std::filesystem::path path(const char* name) const { return directory_->path() / name; }

  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(directory_->path())) {
      found.push_back(entry.path().filename().string());
    }
    return found;
  }

  std::optional<TemporaryDirectory> directory_;
};

std::string text_of(const Buffer& buffer) {
  return {reinterpret_cast<const char*>(buffer.bytes().data()), buffer.size()};
}

TEST_F(FileTest, WritesThenReadsAndMaps) {
  const std::string text("a\0b\n", 4);
  ASSERT_TRUE(write_file(path("f"), text).has_value());
  EXPECT_EQ(*read_file(path("f")), text);
  const auto mapped = map_file(path("f"));
  ASSERT_TRUE(mapped.has_value());
  EXPECT_EQ(text_of(*mapped), text);
  EXPECT_EQ(names(), std::vector<std::string>{"f"});
}

TEST_F(FileTest, AMappingOutlivesTheFileAndItsParent) {
  ASSERT_TRUE(write_file(path("f"), "hello").has_value());
  Buffer part = map_file(path("f"))->sub(1, 3);
  std::filesystem::remove(path("f"));
  EXPECT_EQ(text_of(part), "ell");
}

TEST_F(FileTest, AnEmptyFileIsAnEmptyBuffer) {
  ASSERT_TRUE(write_file(path("f"), "").has_value());
  EXPECT_EQ(map_file(path("f"))->size(), 0U);
  EXPECT_EQ(*read_file(path("f")), "");
}

TEST_F(FileTest, AnAbandonedFileLeavesNothingAndTheOldOneAsItWas) {
  ASSERT_TRUE(write_file(path("f"), "old").has_value());
  {
    auto file = AtomicFile::create(path("f"));
    ASSERT_TRUE(file.has_value());
    ASSERT_TRUE(file->write("new").has_value());
    EXPECT_EQ(*read_file(path("f")), "old");
    EXPECT_EQ(names().size(), 2U);
  }
  EXPECT_EQ(names(), std::vector<std::string>{"f"});
  EXPECT_EQ(*read_file(path("f")), "old");
}

TEST_F(FileTest, AFailedCommitLeavesNothing) {
  std::filesystem::create_directory(path("taken"));
  ASSERT_TRUE(write_file(path("taken") / "inside", "x").has_value());
  const auto failed = write_file(path("taken"), "text");
  ASSERT_FALSE(failed.has_value());
  EXPECT_NE(failed.error().message.find(path("taken").string() + ": cannot create"), std::string::npos);
  EXPECT_EQ(names(), std::vector<std::string>{"taken"});
}

TEST_F(FileTest, PadsWithZeros) {
  auto file = AtomicFile::create(path("f"));
  ASSERT_TRUE(file.has_value());
  ASSERT_TRUE(file->write("a").has_value());
  ASSERT_TRUE(file->pad(10000).has_value());
  ASSERT_TRUE(file->write("b").has_value());
  ASSERT_TRUE(file->commit().has_value());
  EXPECT_EQ(*read_file(path("f")), "a" + std::string(10000, '\0') + "b");
}

TEST_F(FileTest, RefusesWhatIsNoRegularFile) {
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  EXPECT_EQ(map_file(path("pipe")).error().message, path("pipe").string() + ": not a regular file");
  EXPECT_EQ(read_file(path("pipe")).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(map_file(directory_->path()).error().message, directory_->path().string() + ": not a regular file");
  const auto missing = read_file(path("missing"));
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(missing.error().message, path("missing").string() + ": cannot open: No such file or directory");
}

TEST_F(FileTest, RefusesAFileOverTheLimitUnread) {
  ASSERT_TRUE(write_file(path("f"), "12345").has_value());
  EXPECT_EQ(*read_file(path("f"), 5), "12345");
  const auto refused = read_file(path("f"), 4);
  EXPECT_EQ(refused.error().code, ErrorCode::kExhausted);
  EXPECT_EQ(refused.error().message, path("f").string() + ": 5 bytes, at most 4 are read");
}

TEST_F(FileTest, NoFolderNoFile) {
  const auto failed = AtomicFile::create(path("nowhere") / "f");
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().code, ErrorCode::kNotFound);
}

TEST(TemporaryDirectory, DisappearsWithAllItHolds) {
  std::filesystem::path path;
  {
    auto directory = TemporaryDirectory::create("gone");
    ASSERT_TRUE(directory.has_value());
    path = directory->path();
    struct stat status {};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0700U);
    ASSERT_TRUE(write_file(path / "f", "x").has_value());
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace onnx_split
