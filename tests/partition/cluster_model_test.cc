// What is concluded of a cluster: which devices are of one kind, from which measurements, and which links.
#include "partition/cluster_model.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "graph/builder.h"
#include "tests/support/expect.h"

namespace onnx_split {
namespace {

using testing::error_of;
using testing::must;

constexpr double kMbps = 1e6 / 8.0;

Graph one_node() {
  GraphBuilder builder("one");
  const ValueId x = must(builder.add_input("x", {DataType::kFloat32, Shape{1, 1000}}));
  return must(std::move(builder).build({must(builder.add("a", OpType::kRelu, {}, {x}))}));
}

Device device(const std::string& name, double gflops = 0.0, std::uint64_t memory_bytes = 0) {
  Device device;
  device.name = name;
  device.gflops = gflops;
  device.memory_bytes = memory_bytes;
  return device;
}

DeviceProfile profile(const std::string& name, double ms) {
  DeviceProfile device;
  device.name = name;
  device.machine = "Pi 4";
  device.nodes["a"] = {ms, ms, ms};
  device.send = {100.0, 2.0};
  device.receive = {200.0, 4.0};
  device.idle_memory_bytes = 1000;
  return device;
}

// Devices a, b and c, and what was measured on them.
std::pair<Cluster, Profile> three_equal() {
  std::pair<Cluster, Profile> three;
  for (const char* name : {"a", "b", "c"}) {
    three.first.devices.push_back(device(name));
    three.second.devices.push_back(profile(name, 10.0));
  }
  return three;
}

ClusterModel model_of(const Cluster& cluster, const Profile* profile = nullptr) {
  return must(make_cluster_model(one_node(), cluster, profile));
}

TEST(ClusterModel, WithoutAProfileTakesGflopsMemoryAndLinksFromTheFile) {
  Cluster cluster;
  cluster.devices = {device("a", 10), device("b", 20, 1000), device("c", 20, 1000), device("d", 20, 2000)};
  cluster.link = {100.0, 2.0};
  const ClusterModel model = model_of(cluster);
  EXPECT_EQ(model.kinds, 3U);
  EXPECT_EQ(model.devices[1].kind, model.devices[2].kind);
  EXPECT_NE(model.devices[2].kind, model.devices[3].kind);
  EXPECT_NEAR(model.devices[0].times->node_s(NodeId(0)), 2.0 * model.devices[1].times->node_s(NodeId(0)), 1e-12);
  EXPECT_EQ(model.devices[0].up_bytes_per_s, 100.0 * kMbps);
  EXPECT_EQ(model.devices[0].latency_s, 2e-3);
  EXPECT_EQ(model.link(0, 1).bytes_per_s, 100.0 * kMbps);
  EXPECT_EQ(model.medium_bytes_per_s, 0.0);
  cluster.shared = true;
  cluster.coordinator.bandwidth_mbps = 50.0;
  EXPECT_EQ(model_of(cluster).medium_bytes_per_s, 100.0 * kMbps);
  EXPECT_EQ(model_of(cluster).coordinator_bytes_per_s, 50.0 * kMbps);
}

TEST(ClusterModel, ALatencyWithoutABandwidthCounts) {
  Cluster cluster;
  cluster.devices = {device("a")};
  const double bandwidth = model_of(cluster).devices[0].up_bytes_per_s;
  cluster.link.latency_ms = 20.0;
  EXPECT_EQ(model_of(cluster).devices[0].latency_s, 20e-3);
  EXPECT_EQ(model_of(cluster).devices[0].up_bytes_per_s, bandwidth);
}

// 20 are what two threads have by default, whose memory isn't faster for it.
TEST(ClusterModel, WithoutAProfileTheOrderOfTheDevicesChangesNothing) {
  Cluster cluster;
  cluster.devices = {device("a", 2.0 * ModelDefaults{}.roofline.gflops), device("b")};
  cluster.devices[1].threads = 2;
  const ClusterModel model = model_of(cluster);
  std::swap(cluster.devices[0], cluster.devices[1]);
  const ClusterModel swapped = model_of(cluster);
  EXPECT_EQ(model.kinds, 2U);
  for (std::size_t d = 0; d < 2; ++d) {
    EXPECT_EQ(model.devices[d].times->node_s(NodeId(0)), swapped.devices[1 - d].times->node_s(NodeId(0)));
  }
}

TEST(ClusterModel, ASharedMediumIsAsFastAsTheFastestLinkThatWasMeasured) {
  Cluster cluster;
  cluster.devices = {device("a"), device("b")};
  cluster.shared = true;
  Profile measured;
  measured.devices = {profile("a", 10.0), profile("b", 10.0)};
  measured.links = {{"a", "b", 1.0, 30.0}, {"b", "a", 1.0, 29.0}};
  EXPECT_EQ(model_of(cluster, &measured).medium_bytes_per_s, 30.0 * kMbps);
}

TEST(ClusterModel, LinkExceptionsHoldForTheirPairInTheirDirection) {
  Cluster cluster;
  cluster.devices = {device("a"), device("b"), device("c")};
  cluster.link = {100.0, 2.0};
  cluster.links = {{"a", "b", {40.0, 0.0}}};
  const ClusterModel model = model_of(cluster);
  EXPECT_EQ(model.link(0, 1).bytes_per_s, 40.0 * kMbps);
  EXPECT_EQ(model.link(0, 1).latency_s, 2e-3);
  EXPECT_EQ(model.link(1, 0).bytes_per_s, 100.0 * kMbps);
  // Whoever has one is unlike all others.
  EXPECT_EQ(model.kinds, 3U);
}

TEST(ClusterModel, DevicesThatMeasureAlikeHaveTheirMean) {
  Cluster cluster;
  for (const char* name : {"a", "b", "c", "d"}) cluster.devices.push_back(device(name));
  Profile measured;
  measured.devices = {profile("a", 10.0), profile("b", 11.0), profile("c", 11.6), profile("d", 10.0)};
  measured.devices[3].machine = "Pi 5";
  const ClusterModel model = model_of(cluster, &measured);
  // 15 % above a are 11.5: c is a kind of its own, and so is another machine, however alike.
  EXPECT_EQ(model.kinds, 3U);
  EXPECT_EQ(model.devices[0].kind, model.devices[1].kind);
  EXPECT_NEAR(model.devices[0].times->node_s(NodeId(0)), 10.5e-3, 1e-9);
  EXPECT_NEAR(model.devices[2].times->node_s(NodeId(0)), 11.6e-3, 1e-9);
  EXPECT_NEAR(model.devices[3].times->node_s(NodeId(0)), 10.0e-3, 1e-9);
  EXPECT_EQ(model.devices[0].idle_bytes, 1000);
}

TEST(ClusterModel, TimesAreByTheClock) {
  Cluster cluster;
  cluster.devices = {device("a")};
  Profile measured;
  measured.devices = {profile("a", 10.0)};
  measured.devices[0].slowdown = 10.0;
  const ClusterModel model = model_of(cluster, &measured);
  EXPECT_NEAR(model.devices[0].times->node_s(NodeId(0)), 0.1, 1e-9);
  EXPECT_NEAR(model.devices[0].send.message_s, 1e-3, 1e-12);
  EXPECT_NEAR(model.devices[0].send.byte_s, 20e-9, 1e-15);
  EXPECT_NEAR(model.devices[0].receive.of(2.0, 1e6), 4e-3 + 40e-3, 1e-9);
}

TEST(ClusterModel, AQuotaCountsWhereItExplainsTheSlowdown) {
  Cluster cluster;
  Profile measured;
  for (const char* name : {"slowed", "half", "unslowed", "other"}) {
    cluster.devices.push_back(device(name));
    measured.devices.push_back(profile(name, 10.0));
    measured.devices.back().quota_ms = 2.0;
    measured.devices.back().period_ms = 20.0;
  }
  measured.devices[0].slowdown = 10.5;
  measured.devices[1].slowdown = 5.0;   // something else: with this quota it would be 10
  measured.devices[2].slowdown = 1.05;  // a quota for more threads than it has
  measured.devices[3].slowdown = 8.0;
  const ClusterModel model = model_of(cluster, &measured);
  const auto quota_ms = [&](std::size_t d) { return model.devices[d].quota_s * 1e3; };
  EXPECT_NEAR(quota_ms(0), 20.0 / 10.5, 1e-9);
  EXPECT_EQ(quota_ms(1), 0.0);
  EXPECT_EQ(quota_ms(2), 0.0);
  EXPECT_NEAR(quota_ms(3), 20.0 / 8.0, 1e-9);
  EXPECT_EQ(model.devices[0].period_s, 20e-3);
  EXPECT_EQ(model.devices[1].period_s, 0.0);
}

TEST(ClusterModel, AProfileOfOneDeviceStandsForAllAndAnyOtherMustNameThem) {
  Cluster cluster;
  cluster.devices = {device("a"), device("b")};
  Profile measured;
  measured.devices = {profile("somebody", 10.0)};
  EXPECT_EQ(model_of(cluster, &measured).kinds, 1U);
  measured.devices = {profile("a", 10.0), profile("c", 10.0)};
  EXPECT_EQ(error_of(make_cluster_model(one_node(), cluster, &measured)), "devices: the profile has no device \"b\"");
}

TEST(ClusterModel, MeasuredLinksAreLevelledAndMuchSlowerPairsAreExceptions) {
  auto [cluster, measured] = three_equal();
  measured.links = {{"a", "b", 0.5, 95.0}, {"a", "c", 0.5, 94.0}, {"b", "a", 0.5, 93.0},
                    {"b", "c", 0.5, 92.0}, {"c", "a", 0.5, 40.0}, {"c", "b", 0.5, 96.0}};
  const ClusterModel model = model_of(cluster, &measured);
  EXPECT_EQ(model.pairs.size(), 1U);
  EXPECT_EQ(model.link(2, 0).bytes_per_s, 40.0 * kMbps);
  EXPECT_EQ(model.devices[0].up_bytes_per_s, model.devices[1].up_bytes_per_s);
  EXPECT_EQ(model.devices[0].up_bytes_per_s, model.devices[2].up_bytes_per_s);
  // 0.1 ms to send and 0.2 ms to receive are the processors' time, not the link's.
  EXPECT_NEAR(model.devices[0].latency_s, 0.2e-3, 1e-12);
  EXPECT_NEAR(model.link(2, 0).latency_s, 0.2e-3, 1e-12);
}

// What is left of a latency without the processors' time may be nothing: whether devices are alike shows in what was
// measured.
TEST(ClusterModel, LatenciesAreLevelledBeforeTheProcessorsTimeIsTakenOff) {
  auto [cluster, measured] = three_equal();
  measured.links = {{"a", "b", 0.30, 95.0}, {"b", "c", 0.32, 95.0}, {"c", "a", 0.38, 95.0}};
  const ClusterModel model = model_of(cluster, &measured);
  EXPECT_EQ(model.kinds, 1U);
  EXPECT_NEAR(model.devices[0].latency_s, 0.02e-3, 1e-12);
  // Nothing was measured of one alone.
  cluster.devices = {device("a")};
  EXPECT_EQ(model_of(cluster, &measured).devices[0].latency_s, ModelDefaults{}.latency_ms * 1e-3);
}

TEST(ClusterModel, OfALatencyBothEndsProcessorsAreTakenOffHoweverUnlikeTheyAre) {
  Cluster cluster;
  cluster.devices = {device("a"), device("b")};
  Profile measured;
  measured.devices = {profile("a", 10.0), profile("b", 100.0)};
  measured.devices[1].send.message_us = 1000.0;
  measured.devices[1].receive.message_us = 2000.0;
  measured.links = {{"a", "b", 2.0, 95.0}, {"b", "a", 2.0, 95.0}};
  const ClusterModel model = model_of(cluster, &measured);
  EXPECT_EQ(model.kinds, 2U);
  for (const DeviceModel& of : model.devices) EXPECT_NEAR(of.latency_s, 2e-3 - (0.3e-3 + 3e-3) / 2.0, 1e-12) << of.name;
}

TEST(ClusterModel, TheOrderOfTheDevicesChangesNothingButIndices) {
  Cluster cluster;
  Profile measured;
  const double ms[] = {10.0, 11.2, 11.6, 12.9, 25.0, 10.4};
  for (std::size_t i = 0; i < std::size(ms); ++i) {
    const std::string name(1, static_cast<char>('a' + i));
    cluster.devices.push_back(device(name, 0.0, i % 2 == 0 ? 1000 : 2000));
    measured.devices.push_back(profile(name, ms[i]));
  }
  cluster.links = {{"b", "e", {10.0, 1.0}}};
  const ClusterModel model = model_of(cluster, &measured);
  std::vector<std::size_t> order{3, 0, 5, 1, 4, 2};
  for (int turn = 0; turn < 20; ++turn) {
    std::next_permutation(order.begin(), order.end());
    Cluster other = cluster;
    Profile others = measured;
    for (std::size_t i = 0; i < order.size(); ++i) {
      other.devices[i] = cluster.devices[order[i]];
      others.devices[order.size() - 1 - i] = measured.devices[order[i]];
    }
    const ClusterModel found = model_of(other, &others);
    ASSERT_EQ(found.kinds, model.kinds);
    for (std::size_t i = 0; i < order.size(); ++i) {
      const DeviceModel& a = found.devices[i];
      const DeviceModel& b = model.devices[order[i]];
      EXPECT_EQ(a.name, b.name);
      EXPECT_EQ(a.kind, b.kind);
      EXPECT_EQ(a.times->node_s(NodeId(0)), b.times->node_s(NodeId(0)));
      EXPECT_TRUE(a.send == b.send && a.receive == b.receive);
      for (std::size_t j = 0; j < order.size(); ++j) {
        EXPECT_EQ(found.link(i, j).bytes_per_s, model.link(order[i], order[j]).bytes_per_s);
      }
    }
  }
}

}  // namespace
}  // namespace onnx_split
