// Profiles: written and read again they are the same, and one that is damaged, or of another model, is refused with the
// field's name.
#include "partition/profile.h"

#include <gtest/gtest.h>

#include <functional>

#include "base/file.h"
#include "graph/builder.h"
#include "partition/profile_json.h"
#include "tests/support/expect.h"

namespace onnx_split {
namespace {

using testing::error_of;
using testing::must;

Graph two_nodes() {
  GraphBuilder builder("two");
  const ValueId x = must(builder.add_input("x", {DataType::kFloat32, Shape{1, 2}}));
  const ValueId a = must(builder.add("a", OpType::kRelu, {}, {x}));
  const ValueId b = must(builder.add("b", OpType::kAbs, {}, {a}));
  return must(std::move(builder).build({b}));
}

DeviceProfile device(const std::string& name) {
  DeviceProfile device;
  device.name = name;
  device.machine = "aarch64, Raspberry Pi 4 Model B Rev 1.4";
  device.core_type = "CortexA72";
  device.version = "0.1.0";
  device.threads = 4;
  device.slowdown = 1.25;
  device.quota_ms = 16.0;
  device.period_ms = 20.0;
  device.idle_memory_bytes = 15'000'000;
  device.reorder_byte_ns = 0.25;
  device.nodes = {{"a", {0.1, 0.09, 0.3}}, {"b", {}}};
  device.slices = {{"a", Split::kWhole, 1.0, {0.1, 0.1, 0.1}}, {"a", Split::kSpatial, 1.0 / 3.0, {0.04, 0.03, 0.05}}};
  device.send = {40.5, 0.7};
  device.receive = {35.25, 0.9};
  return device;
}

Profile profile_of(const Graph& graph) {
  Profile profile{graph.name(), fingerprint(graph), {device("pi1"), device("pi2")}, {}};
  profile.links = {{"pi1", "pi2", 0.3, 94.1}, {"pi2", "pi1", 0.3, 93.9}};
  return profile;
}

TEST(ProfileFile, IsReadAsItWasWritten) {
  const Profile profile = profile_of(two_nodes());
  const auto folder = must(TemporaryDirectory::create("profile-test"));
  const auto path = folder.path() / "profile.json";
  must(write_profile(profile, path));
  EXPECT_EQ(must(read_profile(path)), profile);
  must(check_profile(must(read_profile(path)), two_nodes()));
}

TEST(ProfileFile, ErrorsNameTheFileAndTheField) {
  const auto folder = must(TemporaryDirectory::create("profile-test"));
  const auto path = folder.path() / "profile.json";
  must(write_file(path, "{\"format\": 2, \"model\": 7}"));
  EXPECT_EQ(error_of(read_profile(path)), path.string() + ": model: expected a string, found 7");
  must(write_file(path, "{"));
  EXPECT_TRUE(error_of(read_profile(path)).starts_with(path.string() + ": "));
  EXPECT_TRUE(error_of(read_profile(folder.path() / "none.json")).starts_with((folder.path() / "none.json").string()));
}

TEST(ProfileFile, EveryDamagedFieldIsRefusedByName) {
  const struct {
    std::function<void(Json&)> damage;
    const char* message;
  } cases[] = {
      {[](Json& j) { j["format"] = 1; }, "format: expected 2, found 1"},
      {[](Json& j) { j.erase("fingerprint"); }, "fingerprint: missing"},
      {[](Json& j) { j["devices"] = 1; }, "devices: expected a list, found 1"},
      {[](Json& j) { j["devices"][1]["threads"] = 0; }, "devices[1].threads: expected an integer from 1"},
      {[](Json& j) { j["devices"][1]["slowdown"] = 0.5; }, "devices[1].slowdown: expected a number from 1"},
      {[](Json& j) { j["devices"][0]["idle_memory_bytes"] = -1; }, "devices[0].idle_memory_bytes: expected"},
      {[](Json& j) { j["devices"][0]["reorder_byte_ns"] = -1; }, "devices[0].reorder_byte_ns: expected"},
      {[](Json& j) { j["devices"][0]["nodes"]["a"]["median_ms"] = -0.1; }, "devices[0].nodes.a.median_ms: expected"},
      {[](Json& j) { j["devices"][0]["nodes"]["a"]["low_ms"] = 0.2; }, "devices[0].nodes.a.low_ms: expected"},
      {[](Json& j) { j["devices"][0]["nodes"]["a"]["high_ms"] = 0.05; }, "devices[0].nodes.a.high_ms: expected"},
      {[](Json& j) { j["devices"][0]["slices"][1]["split"] = "channel_pair"; }, "devices[0].slices[1].split: expected"},
      {[](Json& j) { j["devices"][0]["slices"][1]["split"] = "diagonal"; }, "devices[0].slices[1].split: expected"},
      {[](Json& j) { j["devices"][0]["slices"][1]["fraction"] = 0; }, "devices[0].slices[1].fraction: expected"},
      {[](Json& j) { j["devices"][0]["slices"][1]["fraction"] = 1.5; }, "devices[0].slices[1].fraction: expected"},
      {[](Json& j) { j["devices"][0]["send"]["byte_ns"] = nullptr; }, "devices[0].send.byte_ns: expected a number"},
      {[](Json& j) { j["links"][1]["bandwidth_mbps"] = 0; }, "links[1].bandwidth_mbps: expected a number above 0"},
      {[](Json& j) { j["links"][1]["latency_ms"] = "fast"; }, "links[1].latency_ms: expected a number"},
  };
  for (const auto& one : cases) {
    Json json = profile_to_json(profile_of(two_nodes()));
    one.damage(json);
    EXPECT_EQ(error_of(profile_from_json(json)).substr(0, std::string(one.message).size()), one.message);
  }
}

TEST(CheckProfile, RefusesWhatDoesNotFitTheModel) {
  const Graph graph = two_nodes();
  const struct {
    std::function<void(Profile&)> change;
    const char* message;
  } cases[] = {
      {[](Profile& p) { p.fingerprint = "0"; }, "fingerprint: expected "},
      {[](Profile& p) { p.devices.clear(); }, "devices: expected at least one"},
      {[](Profile& p) { p.devices[1].name = "pi1"; }, "devices[1].name: \"pi1\" is given twice"},
      {[](Profile& p) { p.devices[1].nodes.erase("b"); }, "devices[1].nodes: expected a time of node \"b\""},
      {[](Profile& p) { p.devices[0].nodes["c"] = {}; }, "devices[0].nodes: the model has no node \"c\""},
      {[](Profile& p) { p.devices[0].slices[1].node = "c"; }, "devices[0].slices[1].node: the model has no node \"c\""},
      {[](Profile& p) { p.links[0].from = "pi3"; }, "links[0].from: no device is named \"pi3\""},
      {[](Profile& p) { p.links[1].to = "pi2"; }, "links[1].to: expected another device"},
      {[](Profile& p) { p.links.push_back(p.links[0]); }, "links[2]: from \"pi1\" to \"pi2\" is given twice"},
  };
  must(check_profile(profile_of(graph), graph));
  for (const auto& one : cases) {
    Profile profile = profile_of(graph);
    one.change(profile);
    EXPECT_EQ(error_of(check_profile(profile, graph)).substr(0, std::string(one.message).size()), one.message);
  }
}

TEST(CheckProfile, SharesServeWhereTheWholeNodeDidNotFit) {
  const Graph graph = two_nodes();
  Profile profile = profile_of(graph);
  profile.devices[0].nodes.erase("a");
  must(check_profile(profile, graph));
  profile.devices[0].slices.clear();
  EXPECT_NE(error_of(check_profile(profile, graph)).find("node \"a\""), std::string::npos);
}

}  // namespace
}  // namespace onnx_split
