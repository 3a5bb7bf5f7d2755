// The splits of the zoo's networks as a user has them: plan, verify, run --local, with real processes over tcp.
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/hash.h"
#include "base/json.h"
#include "cli/npy.h"
#include "fleet/verify.h"
#include "tests/cli/program.h"
#include "tests/support/expect.h"

namespace onnx_split::testing {
namespace {

constexpr double kTolerance = 1e-4;

// A network, and how it is split: every layer by itself ("each layer"), or as tests/data/mixed_stages says.
class SplitMatrix : public ::testing::TestWithParam<std::tuple<const char*, const char*>> {
 protected:
  void SetUp() override {
    const std::string name = std::get<0>(GetParam());
    full_ = std::getenv("ONNX_SPLIT_FULL") != nullptr;
    const bool sampled = name == "mobilenet_v1" || name == "mobilenet_v2" || name == "resnet18";
    if (!full_ && !sampled) GTEST_SKIP() << "only in the full matrix: set ONNX_SPLIT_FULL=1";
    model_ = place_ / "model.onnx";
    expect_done(place_.run({"onnx-split", "zoo", name, "-o", model_}));
    expect_done(place_.run(
        {"onnx-split", "run", model_, "--threads", "2", "--input", "random:5", "--output", place_ / "uncut.npy"}));
  }

  // Plans with the stages file, for as many devices, and compares parts and fleet with the uncut network.
  void expect_uncut_answer(const std::string& stages, const std::string& devices) {
    const std::string plan = place_ / "plan.json";
    const Outcome planned =
        place_.run({"onnx-split", "plan", model_, "--devices", devices, "--stages", stages, "-o", plan, "--json"});
    expect_done(planned);
    bool is_divided = false;
    const Json parts = must(parse_json(planned.out))["parts"];
    for (const Json& part : parts) is_divided = is_divided || part["part"] > 0;
    EXPECT_TRUE(is_divided);
    const Outcome verified =
        place_.run({"onnx-split", "verify", model_, "--plan", plan, "--input", "random:5", "--json"});
    expect_done(verified);
    EXPECT_LE(must(parse_json(verified.out))["relative_error"].get<double>(), kTolerance);
    expect_done(place_.run({"onnx-split", "run", model_, "--local", devices, "--plan", plan, "--input", "random:5",
                            "--output", place_ / "cut.npy"}));
    const Tensor cut = must(read_npy(place_ / "cut.npy"));
    EXPECT_LE(compare("", cut, must(read_npy(place_ / "uncut.npy"))).relative(), kTolerance);
  }

  bool full_ = false;
  Workplace place_;
  std::string model_;
};

TEST_P(SplitMatrix, GivesTheUncutAnswer) {
  const auto [network, split] = GetParam();
  if (std::string_view(split) == "mixed") {
    return expect_uncut_answer(fmt::format("{}/mixed_stages/{}.yaml", ONNX_SPLIT_TEST_DATA, network), "4");
  }
  const std::vector<int> all_ways{2, 3, 4, 8};
  const int sampled = all_ways[hash64(fmt::format("{} {}", network, split)) % all_ways.size()];
  for (const int ways : all_ways) {
    if (!full_ && ways != sampled) continue;
    SCOPED_TRACE(fmt::format("{} ways", ways));
    const std::string stages = place_ / "stages.yaml";
    must(write_file(stages, fmt::format("stages:\n  - {{each: layer, split: {}, ways: {}}}\n", split, ways)));
    expect_uncut_answer(stages, std::to_string(ways));
  }
  EXPECT_TRUE(place_.left_behind().empty());
}

INSTANTIATE_TEST_SUITE_P(
    Zoo, SplitMatrix,
    ::testing::Combine(::testing::Values("alexnet", "vgg16", "resnet18", "resnet50", "mobilenet_v1", "mobilenet_v2",
                                         "xception", "c3d"),
                       ::testing::Values("spatial", "output_channel", "input_channel", "channel_pair", "mixed")),
    [](const auto& tested) { return fmt::format("{}_{}", std::get<0>(tested.param), std::get<1>(tested.param)); });

}  // namespace
}  // namespace onnx_split::testing
