#include "fleet/part_store.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "base/random.h"
#include "fleet/assemble.h"
#include "tests/support/expect.h"

namespace onnx_split {
namespace {

using testing::error_of;
using testing::must;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::string hash_of(std::string_view model, std::string_view weights) {
  ContentHash of_model;
  of_model.update(bytes_of(model));
  ContentHash of_weights;
  of_weights.update(bytes_of(weights));
  return part_hash(of_model, of_weights);
}

// A whole part, announced and sent.
std::filesystem::path put(PartStore& store, PartId part, std::string_view model, std::string_view weights) {
  EXPECT_FALSE(must(store.expect(part, hash_of(model, weights))));
  must(store.append(part, PartFile::kModel, 0, model.size(), bytes_of(model)));
  must(store.append(part, PartFile::kWeights, 0, weights.size(), bytes_of(weights)));
  return must(store.model_path(part));
}

TEST(PartStore, PutsPiecesTogetherAndRemovesEverything) {
  const TemporaryDirectory folder = must(TemporaryDirectory::create("part-store-test"));
  {
    PartStore store = must(PartStore::create(folder.path(), 5, 0));
    EXPECT_FALSE(must(store.expect({1, 0}, hash_of("abcdef", ""))));
    must(store.append({1, 0}, PartFile::kModel, 0, 6, bytes_of("abc")));
    EXPECT_NE(error_of(store.model_path({1, 0})).find("model file hasn't come whole"), std::string::npos);
    must(store.append({1, 0}, PartFile::kModel, 3, 6, bytes_of("def")));
    must(store.append({1, 0}, PartFile::kWeights, 0, 0, {}));
    const std::filesystem::path path = must(store.model_path({1, 0}));
    EXPECT_EQ(must(read_file(path)), "abcdef");
    EXPECT_EQ(must(read_file(path.parent_path() / kStoredWeightsName)), "");
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(PartStore, RefusesPiecesThatDoNotFit) {
  const TemporaryDirectory folder = must(TemporaryDirectory::create("part-store-test"));
  PartStore store = must(PartStore::create(folder.path(), 5, 100));
  EXPECT_FALSE(store.append({0, 0}, PartFile::kModel, 0, 6, bytes_of("abc")));  // not announced
  EXPECT_FALSE(must(store.expect({0, 0}, hash_of("abcdef", "x"))));
  EXPECT_FALSE(store.expect({0, 0}, hash_of("abcdef", "x")));  // twice
  for (const std::string hash : {"", "../../x", "zz"}) EXPECT_FALSE(store.expect({0, 1}, hash)) << hash;
  must(store.append({0, 0}, PartFile::kModel, 0, 6, bytes_of("abc")));
  EXPECT_FALSE(store.append({0, 0}, PartFile::kModel, 0, 6, bytes_of("abc")));   // again
  EXPECT_FALSE(store.append({0, 0}, PartFile::kModel, 4, 6, bytes_of("e")));     // a gap
  EXPECT_FALSE(store.append({0, 0}, PartFile::kModel, 3, 7, bytes_of("def")));   // another size
  EXPECT_FALSE(store.append({0, 0}, PartFile::kModel, 3, 6, bytes_of("defg")));  // too much
  EXPECT_NE(error_of(store.append({0, 0}, PartFile::kWeights, 0, 95, bytes_of("x"))).find("the memory limit"),
            std::string::npos);
  EXPECT_FALSE(store.append({0, 0}, PartFile::kWeights, 0, 95, bytes_of("x")));  // again: refused again
}

TEST(PartStore, WhatIsForgottenMayComeAnew) {
  const TemporaryDirectory folder = must(TemporaryDirectory::create("part-store-test"));
  PartStore store = must(PartStore::create(folder.path(), 5, 12));
  EXPECT_FALSE(must(store.expect({0, 0}, hash_of("model", "weights"))));
  for (const std::string_view wrong : {"weighty", "wei"}) {  // a whole part that is another, and half of one
    must(store.append({0, 0}, PartFile::kModel, 0, 5, bytes_of("model")));
    const auto appended = store.append({0, 0}, PartFile::kWeights, 0, 7, bytes_of(wrong));
    EXPECT_EQ(appended.has_value(), wrong == "wei");
    store.discard_incomplete();
  }
  must(store.append({0, 0}, PartFile::kModel, 0, 5, bytes_of("model")));
  must(store.append({0, 0}, PartFile::kWeights, 0, 7, bytes_of("weights")));
  store.discard_incomplete();  // it is here
  EXPECT_EQ(must(read_file(must(store.model_path({0, 0})))), "model");
}

std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

TEST(PartStore, WhatAKilledProcessHasLeftIsRemoved) {
  const TemporaryDirectory folder = must(TemporaryDirectory::create("part-store-test"));
  const pid_t child = ::fork();
  if (child == 0) {
    auto store = PartStore::create(folder.path(), 6, 0);
    const bool begun = store && store->expect({0, 0}, hash_of("model", "weights")) &&
                       store->append({0, 0}, PartFile::kWeights, 0, 7, bytes_of("wei"));
    ::_exit(begun ? 0 : 1);
  }
  ASSERT_GT(child, 0);
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  std::vector<std::string> names = names_in(folder.path());
  std::erase(names, "parts");
  ASSERT_EQ(names.size(), 1U);
  const std::string left = names[0];

  // One that lives, with all that a user may have there: names like it, a link with its name to something dear.
  PartStore living = must(PartStore::create(folder.path(), 7, 0));
  for (const char* const name : {"epoch-1f-2", "epoch-1f", "dear"}) {
    std::filesystem::create_directories(folder.path() / name / "inside");
  }
  std::filesystem::create_directory_symlink(folder.path() / "dear", folder.path() / (left + "1"));
  must(write_file(folder.path() / (left + "2"), "x"));
  names = names_in(folder.path());
  PartStore::remove_leftovers(folder.path());
  std::erase(names, left);
  EXPECT_EQ(names_in(folder.path()), names);
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "dear" / "inside"));
  put(living, {0, 0}, "model", "weights");
  PartStore::remove_leftovers(folder.path() / "there is none");
}

TEST(PartStore, WhatSomebodyElseHasInItsFoldersStays) {
  const TemporaryDirectory folder = must(TemporaryDirectory::create("part-store-test"));
  std::filesystem::create_directories(folder.path() / "parts" / "of my bicycle");
  { PartStore store = must(PartStore::create(folder.path(), 7, 0)); }
  EXPECT_EQ(names_in(folder.path() / "parts"), std::vector<std::string>{"of my bicycle"});
}

TEST(PartStore, WhatIsNotWhatWasAnnouncedIsRefused) {
  const TemporaryDirectory folder = must(TemporaryDirectory::create("part-store-test"));
  PartStore store = must(PartStore::create(folder.path(), 5, 0, 1000));
  EXPECT_FALSE(must(store.expect({0, 0}, hash_of("model", "weights"))));
  must(store.append({0, 0}, PartFile::kWeights, 0, 7, bytes_of("weighty")));
  EXPECT_NE(error_of(store.append({0, 0}, PartFile::kModel, 0, 5, bytes_of("model"))).find("its hash is"),
            std::string::npos);
  EXPECT_NE(error_of(store.model_path({0, 0})).find("isn't what was announced"), std::string::npos);
}

TEST(PartStore, KeepsTheNewestPartsForLaterDeployments) {
  const TemporaryDirectory folder = must(TemporaryDirectory::create("part-store-test"));
  const std::string large(400, 'l');
  const auto store = [&](std::uint64_t epoch) { return must(PartStore::create(folder.path(), epoch, 0, 1000)); };
  const auto tick = [] { std::this_thread::sleep_for(std::chrono::milliseconds(10)); };  // of the file system's clock
  for (const std::string_view name : {"first", "second"}) {
    PartStore one = store(1);
    put(one, {0, 0}, name, large);
    tick();
  }
  {
    PartStore again = store(2);
    EXPECT_TRUE(must(again.expect({3, 1}, hash_of("first", large))));
    EXPECT_FALSE(again.append({3, 1}, PartFile::kModel, 0, 5, bytes_of("first")));  // it is here
    EXPECT_EQ(must(read_file(must(again.model_path({3, 1})))), "first");
    tick();
    put(again, {0, 0}, "third", large);  // all three are too much: "second" was unused for longest
  }
  PartStore last = store(3);
  EXPECT_FALSE(must(last.expect({0, 0}, hash_of("second", large))));
  EXPECT_TRUE(must(last.expect({0, 1}, hash_of("first", large))));
  EXPECT_TRUE(must(last.expect({0, 2}, hash_of("third", large))));
}

// The store of an ended deployment may be left in the background, loading or cutting.
TEST(PartStore, OneThatEndsLeavesWhatAnotherHas) {
  const TemporaryDirectory folder = must(TemporaryDirectory::create("part-store-test"));
  for (const std::uint64_t keep_bytes : {0, 10, 1000}) {
    auto old = std::make_unique<PartStore>(must(PartStore::create(folder.path(), 1, 0, keep_bytes)));
    put(*old, {0, 0}, "old model", "w");
    put(*old, {0, 1}, "both", "w");
    {
      PartStore next = must(PartStore::create(folder.path(), 2, 0, keep_bytes));
      EXPECT_TRUE(must(next.expect({0, 1}, hash_of("both", "w"))));
      put(next, {0, 0}, "new model", "w");
      old.reset();
      EXPECT_EQ(must(read_file(must(next.model_path({0, 0})))), "new model");
      EXPECT_EQ(must(read_file(must(next.model_path({0, 1})))), "both");
      put(next, {1, 0}, "later", "w");
    }
    std::filesystem::remove_all(folder.path() / "parts");
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  }
}

TEST(PartStore, AKeptPartThatTheDiskHasChangedIsNoticedAndRemoved) {
  const TemporaryDirectory folder = must(TemporaryDirectory::create("part-store-test"));
  std::filesystem::path path;
  {
    PartStore store = must(PartStore::create(folder.path(), 1, 0, 1000));
    path = put(store, {0, 0}, "model", "weights");
  }
  must(write_file(path.parent_path() / kStoredWeightsName, "weighty"));
  {
    PartStore store = must(PartStore::create(folder.path(), 2, 0, 1000));
    EXPECT_TRUE(must(store.expect({0, 0}, hash_of("model", "weights"))));
    EXPECT_NE(error_of(store.model_path({0, 0})).find("was changed on the disk"), std::string::npos);
  }
  PartStore store = must(PartStore::create(folder.path(), 3, 0, 1000));
  EXPECT_FALSE(must(store.expect({0, 0}, hash_of("model", "weights"))));
}

TEST(PartStore, RefusesAFolderThatIsInUse) {
  const TemporaryDirectory folder = must(TemporaryDirectory::create("part-store-test"));
  const PartStore store = must(PartStore::create(folder.path(), 5, 0));
  EXPECT_FALSE(PartStore::create(folder.path(), 5, 0));
  EXPECT_FALSE(PartStore::create("/proc/nowhere", 5, 0));
}

// Element by element: the slow reference for place and add.
TEST(Assemble, CopiesAndAddsExactlyTheCommonBox) {
  Random random(3);
  for (int i = 0; i < 300; ++i) {
    const auto rank = static_cast<std::size_t>(random.integer(0, 4));
    const auto random_region = [&] {
      std::vector<Range> ranges(rank);
      for (Range& range : ranges) {
        range.begin = random.integer(0, 4);
        range.end = range.begin + random.integer(1, 4);
      }
      return Region(std::move(ranges));
    };
    const Region from_region = random_region();
    const Region to_region = random_region();
    TensorBuilder from({DataType::kFloat32, from_region.shape()});
    TensorBuilder to({DataType::kFloat32, to_region.shape()});
    for (float& x : from.as<float>()) x = random.uniform();
    for (float& x : to.as<float>()) x = random.uniform();
    std::vector<float> expected(to.as<float>().begin(), to.as<float>().end());
    const bool adds = random.integer(0, 1) == 1;
    const auto to_strides = to_region.shape().strides();
    const auto from_strides = from_region.shape().strides();
    for (std::int64_t flat = 0; flat < to_region.shape().elements(); ++flat) {
      bool common = true;
      std::int64_t source = 0;
      for (std::size_t axis = 0; axis < rank; ++axis) {
        const std::int64_t at = flat / to_strides[axis] % to_region.shape()[axis] + to_region[axis].begin;
        common = common && at >= from_region[axis].begin && at < from_region[axis].end;
        source += (at - from_region[axis].begin) * from_strides[axis];
      }
      if (!common) continue;
      const float value = from.as<float>()[static_cast<std::size_t>(source)];
      float& target = expected[static_cast<std::size_t>(flat)];
      target = adds ? target + value : value;
    }
    (adds ? add : place)({from_region, from.view()}, {to_region, to.view()});
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), to.as<float>().begin()));
  }
}

}  // namespace
}  // namespace onnx_split
