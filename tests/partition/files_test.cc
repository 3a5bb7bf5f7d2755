// Cluster and stages files: what people write by hand, so every mistake gets the file, the line and the field.
#include <gtest/gtest.h>

#include "partition/cluster.h"
#include "partition/stages_file.h"
#include "tests/support/expect.h"

namespace onnx_split {
namespace {

using testing::error_of;
using testing::must;

constexpr const char* kCluster = R"(devices:
  - name: pi1
    address: tcp://10.0.0.11:7070
    memory: 900MB
    threads: 4
    gflops: 20
  - {name: pi2, address: "tcp://10.0.0.12:7070"}
link:
  bandwidth_mbps: 94
  latency_ms: 0.5
  shared: true
links:
  - {from: pi1, to: pi2, bandwidth_mbps: 40, latency_ms: 2}
)";

TEST(ClusterFile, IsReadAsDocumented) {
  const Cluster cluster = must(parse_cluster(kCluster, "c.yaml"));
  ASSERT_EQ(cluster.devices.size(), 2U);
  EXPECT_EQ(cluster.devices[0].memory_bytes, 900'000'000U);
  EXPECT_EQ(cluster.devices[0].threads, 4U);
  EXPECT_EQ(cluster.devices[1].address, "tcp://10.0.0.12:7070");
  EXPECT_EQ(cluster.devices[1].place, "c.yaml:7: devices[1].address");
  EXPECT_TRUE(cluster.shared);
  EXPECT_EQ(cluster.links[0].link.bandwidth_mbps, 40.0);
}

TEST(ClusterFile, NamesMayHoldWhatOnlyLooksLikeAnAnchor) {
  const Cluster cluster = must(parse_cluster("devices: # & * here\n  - {name: \"a &b\", address: x&y*z}\n", "c.yaml"));
  EXPECT_EQ(cluster.devices[0].name, "a &b");
  EXPECT_EQ(cluster.devices[0].address, "x&y*z");
}

struct BadFile {
  const char* text;
  const char* message;
};

TEST(ClusterFile, EveryMistakeNamesFileLineAndField) {
  const BadFile cases[] = {
      {"devices:\n  - nam: pi1\n", "c.yaml:2: devices[0].nam: unknown field"},
      {"devices:\n  - name: a\n    address: x\n  - name: a\n    address: y\n",
       "c.yaml:4: devices[1]: name: \"a\" is given twice"},
      {"devices:\n  - name: a\n    address: x\nlink:\n  bandwidth_mbps: 0\n",
       "c.yaml:5: link.bandwidth_mbps: expected a number"},
      {"devices:\n  - name: a\n    address: x\n    memory: lots\n", "c.yaml:4: devices[0].memory: expected a size"},
      {"devices: []\n", "devices: no devices"},
      {"devices:\n  - name: a\n", "devices[0]: \"address\" is missing"},
      {"devices:\n  - name: a\n    address: x\nlinks:\n  - {from: a, to: b}\n",
       "links[0].to: no device is named \"b\""},
      {"devices: [1, 2\n", "c.yaml:2:"},
      {"a: &a [*a]\n", "anchors"},
      {"", "expected a map"},
  };
  for (const BadFile& c : cases) {
    EXPECT_NE(error_of(parse_cluster(c.text, "c.yaml")).find(c.message), std::string::npos)
        << c.message << " / " << error_of(parse_cluster(c.text, "c.yaml"));
  }
}

TEST(ClusterFile, SizesHaveUnits) {
  EXPECT_EQ(must(parse_size_bytes("900MB")), 900'000'000U);
  EXPECT_EQ(must(parse_size_bytes("1.5 GiB")), 1'610'612'736U);
  EXPECT_EQ(must(parse_size_bytes("4096")), 4096U);
  for (const char* bad : {"", "MB", "-1MB", "900 mb", "1e99GB", "nan", "0"}) EXPECT_FALSE(parse_size_bytes(bad)) << bad;
}

TEST(StagesFile, IsReadAsDocumented) {
  const auto stages = must(parse_stages(
      "stages:\n  - {until: relu5, split: whole, replicas: 2, devices: [a, b]}\n  - split: whole\n", "s.yaml"));
  ASSERT_EQ(stages.size(), 2U);
  EXPECT_EQ(stages[0].until, std::vector<std::string>{"relu5"});
  EXPECT_EQ(stages[0].devices.size(), 2U);
  EXPECT_TRUE(stages[1].until.empty());
}

TEST(StagesFile, EveryMistakeNamesFileLineAndField) {
  const BadFile cases[] = {
      {"stages:\n  - split: whole\n  - split: whole\n", "s.yaml:2: stages[0]: \"until\" is missing"},
      {"stages:\n  - split: sideways\n", "s.yaml:2: stages[0].split: unknown split \"sideways\""},
      {"stages:\n  - ways: 3\n", "a whole stage has one part"},
      {"stages:\n  - replicas: 0\n", "stages[0].replicas: expected an integer from 1"},
      {"stages:\n  - {replicas: 2, devices: [a]}\n", "expected 2 devices"},
      {"stages: {}\n", "stages: expected a list"},
  };
  for (const BadFile& c : cases) {
    EXPECT_NE(error_of(parse_stages(c.text, "s.yaml")).find(c.message), std::string::npos)
        << c.message << " / " << error_of(parse_stages(c.text, "s.yaml"));
  }
}

}  // namespace
}  // namespace onnx_split
