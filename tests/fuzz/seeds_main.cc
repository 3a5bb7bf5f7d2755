// Writes the seeds of the corpora that no hand writes, seed_* in the folder of each target: once, and again when a
// format changes (CONTRIBUTING.md, "Fuzzing").

#include <fmt/core.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/check.h"
#include "fleet/control.h"
#include "fleet/link_probe.h"
#include "fleet/profiler.h"
#include "fleet/requests.h"
#include "onnx/onnx.pb.h"
#include "onnx_import/export.h"
#include "partition/extract.h"
#include "partition/manifest.h"
#include "partition/plan_json.h"
#include "partition/profile_json.h"
#include "tests/fuzz/deployment_example.h"
#include "tests/fuzz/mutate_model.h"
#include "tests/onnx_import/model_maker.h"

namespace onnx_split::fuzz {
namespace {

namespace fs = std::filesystem;

class Seeds {
 public:
  explicit Seeds(fs::path folder) : folder_(std::move(folder)) {}

  void write(const std::string& target, const std::string& name, std::string_view bytes) const {
    fs::create_directories(folder_ / target);
    std::ofstream file(folder_ / target / ("seed_" + name), std::ios::binary);
    file << bytes;
    CHECK(file.good());
  }
  void document(const std::string& target, const std::string& name, const Json& json) const {
    write(target, name, to_text(json));
  }
  void request(const std::string& op, Json json, std::string_view bytes = {}) const {
    json["op"] = op;
    message(op, json, bytes);
  }
  void message(const std::string& name, const Json& json, std::string_view bytes = {}) const {
    const auto encoded = encode_control(json, std::as_bytes(std::span(bytes)));
    CHECK(encoded.has_value());
    const auto body = encoded->bytes();
    write("control", name, {reinterpret_cast<const char*>(body.data()), body.size()});
  }

 private:
  fs::path folder_;
};

Profile example_profile() {
  Profile profile;
  profile.model = example_graph().name();
  profile.fingerprint = fingerprint(example_graph());
  for (const std::string& name : example_plans().front().devices) {
    DeviceProfile& device = profile.devices.emplace_back();
    device.name = name;
    device.machine = "aarch64";
    for (const Node& node : example_graph().nodes()) device.nodes[node.name] = {0.5, 0.25, 0.75};
    device.slices.push_back({"conv1", Split::kWhole, 1.0, {0.5, 0.25, 0.75}});
    device.slices.push_back({"conv1", Split::kSpatial, 0.5, {0.25, 0.25, 0.5}});
  }
  profile.links.push_back({"pi0", "pi1", 0.5, 940.0});
  return profile;
}

void write_plans(const Seeds& seeds) {
  for (std::size_t i = 0; i < example_plans().size(); ++i) {
    const Plan& plan = example_plans()[i];
    const std::string name = std::to_string(i);
    seeds.document("plan", name, plan_to_json(plan));
    seeds.document("manifest", name, manifest_to_json(make_manifest(example_graph(), plan)));
    const auto deployment = deployment_of(plan);
    CHECK(deployment.has_value());
    Json parts = Json::array();
    for (const PartId id : deployment->parts_of(1)) {
      parts.push_back({{"stage", id.stage}, {"part", id.part}, {"hash", std::string(64, 'a')}});
    }
    Json deploy = {{"device", 1}, {"deployment", deployment_to_json(*deployment)}, {"parts", std::move(parts)}};
    deploy["deployment"]["plan"].erase("prediction");
    deploy["op"] = "deploy";
    seeds.message("deploy" + name, deploy);
  }
  seeds.document("profile", "0", profile_to_json(example_profile()));
}

void write_frames(const Seeds& seeds) {
  const auto deployment = deployment_of(example_plans().back());
  CHECK(deployment.has_value());
  std::string all;
  const auto append = [&](FrameHeader header, std::size_t payload_bytes) {
    std::vector<std::byte> frame(kFrameHeaderBytes + payload_bytes);
    seal_frame(header, frame);
    const auto length = static_cast<std::uint16_t>(frame.size());
    all.append(reinterpret_cast<const char*>(&length), sizeof length);
    all.append(reinterpret_cast<const char*>(frame.data()), frame.size());
  };
  append(heartbeat_of(*deployment, 1), 0);
  seeds.write("frame", "heartbeat", all);
  for (std::size_t i = 0; i < deployment->routing.transfers.size(); ++i) {
    append(deployment->header_of(i), deployment->payload_bytes(i));
  }
  seeds.write("frame", "request", all);
  for (std::size_t i = 0; i < deployment->routing.transfers.size(); ++i) append(enough_of(*deployment, 0, i, 0), 0);
  seeds.write("frame", "enough", all);
}

void write_requests(const Seeds& seeds) {
  seeds.request("hello", {{"protocol", kProtocolVersion}});
  seeds.request("put", {{"epoch", 1}, {"stage", 0}, {"part", 0}, {"file", "weights"}, {"total", 8}, {"offset", 4}},
                "abcd");
  seeds.request("cut", {{"epoch", 1}, {"nodes", stage_nodes_to_json(fuzz::example_plans().back())}});
  seeds.request("start", {{"epoch", 1}, {"data_urls", {"tcp://127.0.0.1:1", ""}}, {"heartbeat_period_ms", 200}});
  PingPlan pings;
  pings.epoch = 1;
  pings.urls = {"tcp://127.0.0.1:1", "tcp://127.0.0.1:2"};
  pings.device = "pi1";
  pings.batches = {{0, 8, 5}, {64, 8, 5, true}, {4096, 8, 3}};
  seeds.request("link_ping", ping_plan_to_json(pings));
  PingTimes times{{0.5, 0.25}, {10.0, 20.0}, {10.0, 30.0}};
  seeds.message("ping_times", ping_times_to_json({times}));
  ProfileResult result;
  result.steps.push_back({"conv1", {0.5, 0.25, 0.75}, {0.125, 0.0625, 0.25}});
  result.passes = 3;
  seeds.message("profile_result", profile_result_to_json(result));

  auto weightless = without_weights(example_graph(), 0, 4);
  CHECK(weightless.has_value());
  const auto model = export_onnx_bytes(weightless->graph);
  CHECK(model.has_value());
  ProfileJob job{std::move(*weightless), 0, {}};
  seeds.request("profile", profile_job_to_json(job), *model);
}

// A model of every operator that takes the shape [1,2,4,4], in chains of one operator and what makes it whole again.
void write_models(const Seeds& seeds) {
  const auto model = [&](const std::string& name, ModelMaker& maker) {
    CHECK(maker.import().has_value());
    seeds.write("model_mutation", name, maker.bytes());
    seeds.write("onnx_import", name, maker.bytes());
  };
  onnx::ModelProto network;
  make_model(network);
  ModelMaker small(13);
  small.proto().Swap(&network);
  model("network", small);

  ModelMaker residual(17);
  residual.input("x", {1, 4, 6, 6}).output("y");
  residual.floats("w1", {4, 1, 3, 3}, seeded(36, 1)).floats("w2", {4, 4, 1, 1}, seeded(16, 2));
  residual.floats("scale", {4}, seeded(4, 3)).floats("variance", {4}, {1, 1, 1, 1}).floats("fc", {3, 4}, seeded(12, 4));
  residual.node("Conv", {"x", "w1"}, {"a"}).attribute("group", std::int64_t{4}).attribute("pads", Dims{1, 1, 1, 1});
  residual.node("BatchNormalization", {"a", "scale", "scale", "scale", "variance"}, {"b"});
  residual.node("Clip", {"b"}, {"c"});
  residual.node("Conv", {"c", "w2"}, {"d"});
  residual.node("Add", {"d", "x"}, {"e"});
  residual.node("GlobalAveragePool", {"e"}, {"g"});
  residual.node("Sigmoid", {"g"}, {"s"});
  residual.node("Mul", {"e", "s"}, {"m"});
  residual.node("AveragePool", {"m"}, {"p"}).attribute("kernel_shape", Dims{3, 3}).attribute("strides", Dims{2, 2});
  residual.node("ReduceMean", {"p"}, {"r"}).attribute("axes", Dims{2, 3}).attribute("keepdims", std::int64_t{0});
  residual.node("Gemm", {"r", "fc"}, {"l"}).attribute("transB", std::int64_t{1});
  residual.node("Softmax", {"l"}, {"y"}).attribute("axis", std::int64_t{1});
  model("residual", residual);

  ModelMaker movement(13);
  movement.input("x", {1, 4, 6, 6}).output("y").output("z");
  movement.ints("shuffled", {1, 2, 2, 6, 6})
      .ints("back", {1, 4, 6, 6})
      .ints("two", {2, 2})
      .ints("pads", {0, 0, 1, 0, 0, 0, 0, 1});
  movement.ints("starts", {1, 0}).ints("ends", {-1, 5}).ints("axes", {2, 3}).ints("first", {0, 2});
  movement.floats("scales", {4}, {1, 1, 2, 2}).floats("none", {0}, {});
  movement.node("Reshape", {"x", "shuffled"}, {"a"});
  movement.node("Transpose", {"a"}, {"b"}).attribute("perm", Dims{0, 2, 1, 3, 4});
  movement.node("Reshape", {"b", "back"}, {"c"});
  movement.node("Split", {"c", "two"}, {"d", "e"}).attribute("axis", std::int64_t{1});
  movement.node("Concat", {"e", "d"}, {"f"}).attribute("axis", std::int64_t{1});
  movement.node("Pad", {"f", "pads"}, {"g"}).attribute("mode", "reflect");
  movement.node("Slice", {"g", "starts", "ends", "axes"}, {"h"});
  movement.node("Resize", {"h", "none", "scales"}, {"i"})
      .attribute("mode", "nearest")
      .attribute("coordinate_transformation_mode", "asymmetric")
      .attribute("nearest_mode", "floor");
  movement.node("LRN", {"i"}, {"j"}).attribute("size", std::int64_t{3});
  movement.node("Gather", {"j", "first"}, {"k"}).attribute("axis", std::int64_t{1});
  movement.node("Flatten", {"k"}, {"y"});
  movement.node("ReduceMax", {"k"}, {"z"}).attribute("axes", Dims{1});
  model("movement", movement);

  ModelMaker shapes(13);
  shapes.input("x", {1, 3, 4}).output("y");
  shapes.ints("one", {1}).ints("axes", {0});
  shapes.node("Shape", {"x"}, {"s"});
  shapes.node("Gather", {"s", "one"}, {"n"});
  shapes.node("ConstantOfShape", {"n"}, {"filled"});
  shapes.node("Unsqueeze", {"filled", "axes"}, {"u"});
  shapes.node("Expand", {"x", "s"}, {"ex"});
  shapes.node("Transpose", {"ex"}, {"t"}).attribute("perm", Dims{0, 2, 1});
  shapes.node("Add", {"t", "u"}, {"sum"});
  shapes.node("Constant", {}, {"half"}).attribute("value_float", 0.5F);
  shapes.node("Pow", {"sum", "half"}, {"pow"});
  shapes.node("Squeeze", {"pow", "axes"}, {"y"});
  model("shapes", shapes);
}

}  // namespace
}  // namespace onnx_split::fuzz

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "Usage: fuzz_seeds FOLDER\n");
    return 2;
  }
  const onnx_split::fuzz::Seeds seeds(argv[1]);
  onnx_split::fuzz::write_plans(seeds);
  onnx_split::fuzz::write_frames(seeds);
  onnx_split::fuzz::write_requests(seeds);
  onnx_split::fuzz::write_models(seeds);
}
