// Devices that have the model already: nothing is sent that can be cut out of it, and what can't, is.
#include "fleet/held_models.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <future>
#include <optional>
#include <thread>

#include "base/random.h"
#include "fleet/assignment.h"
#include "fleet/control.h"
#include "fleet/coordinator.h"
#include "fleet/part_pieces.h"
#include "graph/builder.h"
#include "onnx_import/export.h"
#include "onnx_import/import.h"
#include "partition/extract.h"
#include "tests/fleet/plans.h"
#include "tests/fleet/processes.h"
#include "tests/fleet/runners.h"
#include "tests/fleet/streams.h"
#include "tests/support/expect.h"
#include "tests/support/random_network.h"
#include "tests/support/spare_network.h"

namespace onnx_split {
namespace {

namespace fs = std::filesystem;
using testing::device_names;
using testing::error_of;
using testing::must;
using testing::plan_of;
using testing::process_runners;
using testing::Questions;
using testing::random_inputs;
using testing::random_network;
using testing::recovering;
using testing::Runners;
using testing::SpareNetwork;
using testing::stream;
using testing::Streamed;

// Layers with BatchNormalization behind them, as they are trained.
Graph normalized_network() {
  Random random(5);
  GraphBuilder builder("normalized");
  int count = 0;
  const auto weights = [&](Shape shape) {
    TensorBuilder tensor({DataType::kFloat32, std::move(shape)});
    for (float& value : tensor.as<float>()) value = random.uniform(0.5F, 1.5F);
    return must(builder.add_constant(fmt::format("w{}", count++), std::move(tensor).build()));
  };
  ValueId x = must(builder.add_input("x", {DataType::kFloat32, {1, 8, 12, 12}}));
  for (const std::string layer : {"a", "b"}) {
    x = must(builder.add(layer, OpType::kConv, {{"pads", Ints{1, 1, 1, 1}}}, {x, weights({8, 8, 3, 3})}));
    x = must(builder.add(layer + ".norm", OpType::kBatchNormalization, {},
                         {x, weights({8}), weights({8}), weights({8}), weights({8})}));
    x = must(builder.add(layer + ".relu", OpType::kRelu, {}, {x}));
  }
  return must(std::move(builder).build({x}));
}

// A network as a file, and as everybody reads it.
struct Model {
  TemporaryDirectory folder;
  fs::path path;
  Graph graph;
};

Model model_of(const Graph& network) {
  TemporaryDirectory folder = must(TemporaryDirectory::create("held-models-test"));
  const fs::path path = folder.path() / "model.onnx";
  must(export_onnx_file(network, path));
  Graph graph = must(import_onnx(path));
  return {std::move(folder), path, std::move(graph)};
}

void give(const Model& model, const fs::path& model_dir) {
  fs::create_directories(model_dir);
  for (const fs::directory_entry& entry : fs::directory_iterator(model.folder.path())) {
    fs::copy(entry.path(), model_dir, fs::copy_options::overwrite_existing);
  }
}

std::string hash_of(const PartGraph& part) {
  return part_hash_of(must(export_onnx(part.graph, std::string(kStoredWeightsName))));
}

// Bytes that were sent until a request was answered as by the uncut network.
std::uint64_t bytes_sent(const Graph& graph, const Plan& plan, const std::vector<std::string>& urls) {
  std::uint64_t sent = 0;
  CoordinatorOptions options;
  options.watch.progress = [&](std::uint64_t, std::uint64_t total) { sent = total; };
  const auto coordinator = must(Coordinator::deploy(graph, plan, urls, options));
  const Questions questions(graph, 1e-3);
  EXPECT_TRUE(questions.right(0, must(coordinator->submit(questions.inputs(0)).get())));
  return sent;
}

StageRequest every_layer(Split split, std::size_t ways) {
  StageRequest stage;
  stage.each_layer = true;
  stage.split = split;
  stage.ways = ways;
  if (split == Split::kSpatial) stage.grid = {ways, 1};
  return stage;
}

TEST(HeldModels, WhatADeviceCanCutItselfIsNotSent) {
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    const Model model = model_of(random_network(seed, 6));
    const Runners runners(3);
    for (std::size_t i = 0; i < 3; ++i) give(model, runners.folder() / fmt::format("d{}", i));
    StageRequest replicas;
    replicas.replicas = 3;
    for (const std::vector<StageRequest>& stages : {std::vector<StageRequest>{},
                                                    {replicas},
                                                    {every_layer(Split::kSpatial, 3)},
                                                    {every_layer(Split::kOutputChannel, 3)},
                                                    {every_layer(Split::kInputChannel, 3)}}) {
      EXPECT_EQ(bytes_sent(model.graph, plan_of(model.graph, 3, stages), runners.urls()), 0U) << "seed " << seed;
    }
  }
}

TEST(HeldModels, SparePartsAreCutToo) {
  const Model model = model_of(SpareNetwork::make(7, 8));
  const Runners runners(4);
  for (std::size_t i = 0; i < 4; ++i) give(model, runners.folder() / fmt::format("d{}", i));
  EXPECT_EQ(bytes_sent(model.graph, plan_of(model.graph, 4, SpareNetwork::parity_stages("b", 2)), runners.urls()), 0U);
}

TEST(HeldModels, OnlyTheOtherDevicesGetTheirParts) {
  const Model model = model_of(random_network(31, 6));
  const Plan plan = plan_of(model.graph, 2);
  const Runners nobody_has_it(2);
  const std::uint64_t all = bytes_sent(model.graph, plan, nobody_has_it.urls());
  const Runners one_has_it(2);
  give(model, one_has_it.folder() / "d1");
  const std::uint64_t some = bytes_sent(model.graph, plan, one_has_it.urls());
  EXPECT_GT(some, 0U);
  EXPECT_LT(some, all);
}

TEST(HeldModels, WhatIsOfNoUseOnlyMeansThatPartsAreSent) {
  const Graph network = random_network(31, 6);
  const Model model = model_of(network);
  const Plan plan = plan_of(model.graph, 2);
  const Runners nobody_has_it(2);
  const std::uint64_t all = bytes_sent(model.graph, plan, nobody_has_it.urls());

  const Runners another_network(2);
  give(model_of(random_network(32, 6)), another_network.folder() / "d0");
  EXPECT_EQ(bytes_sent(model.graph, plan, another_network.urls()), all);

  const Runners damaged(2);
  give(model, damaged.folder() / "d0");
  fs::resize_file(damaged.folder() / "d0" / "model.onnx", fs::file_size(model.path) / 2);
  fs::create_directories(damaged.folder() / "d1" / "folder.onnx");
  EXPECT_EQ(bytes_sent(model.graph, plan, damaged.urls()), all);

  // The same network after another training, before the right one in the folder's order.
  const Runners other_weights(2);
  for (const std::string device : {"d0", "d1"}) {
    give(model, other_weights.folder() / device);
    const fs::path weights = other_weights.folder() / device / "model.weights";
    std::string bytes = must(read_file(weights));
    for (char& byte : bytes) byte = static_cast<char>(byte ^ 1);
    must(write_file(weights, bytes));
  }
  EXPECT_EQ(bytes_sent(model.graph, plan, other_weights.urls()), all);
  for (const std::string device : {"d0", "d1"}) {
    must(write_file(other_weights.folder() / device / "right.onnx", must(export_onnx_bytes(network))));
  }
  EXPECT_EQ(bytes_sent(model.graph, plan, other_weights.urls()), 0U);
}

// A runner that has the model, and a deployment of all of the network as its only part.
class OneWithAModel {
 public:
  OneWithAModel(const Model& model, const Plan& plan)
      : client_([&] {
          give(model, runners_.folder() / "d0");
          return must(ControlClient::connect("d0", runners_.urls()[0], std::chrono::seconds(5)));
        }()) {
    const Manifest manifest = make_manifest(model.graph, plan);
    deployment_ =
        deployment_to_json(must(make_deployment(77, plan, manifest.values, manifest.inputs, manifest.outputs)));
  }
  ~OneWithAModel() { must(client_.call("end", {{"epoch", 77}})); }

  Json& deployment() { return deployment_; }
  void deploy(const std::string& hash) {
    const Json parts = {{{"stage", 0}, {"part", 0}, {"hash", hash}}};
    must(client_.call("deploy", {{"device", 0}, {"deployment", deployment_}, {"parts", parts}}));
  }
  // How many parts are missing when it has cut.
  std::size_t cut(const std::vector<std::string>& nodes) {
    must(client_.call("cut", {{"epoch", 77}, {"nodes", Json::array({nodes})}}));
    Json pong;
    do {
      pong = must(client_.call("ping", {{"epoch", 77}}));
    } while (pong["state"] == "cutting");
    EXPECT_EQ(pong["state"], "deploying") << to_text(pong);
    return pong["missing"].size();
  }

 private:
  Runners runners_{1};
  ControlClient client_;
  Json deployment_;
};

TEST(HeldModels, OrdersToCutThatMakeNoSenseLeaveThePartsMissing) {
  const Model model = model_of(random_network(31, 6));
  const Plan plan = plan_of(model.graph, 1);
  OneWithAModel one(model, plan);
  one.deploy(std::string(64, '0'));
  const std::vector<std::string> nodes = plan.stages[0].nodes;
  std::vector<std::string> twice = nodes;
  twice.push_back(nodes.front());
  const std::vector<std::string> fewer(nodes.begin(), nodes.end() - 1);
  const std::vector<std::string> others(nodes.size(), "no such node");
  // The last ones are right, but no part has that hash.
  for (const std::vector<std::string>& names : {twice, fewer, others, {}, nodes}) EXPECT_EQ(one.cut(names), 1U);
}

// A deployment may name inputs that nobody needs; what they are like tells nothing.
TEST(HeldModels, InputsThatAreNotListedDoNotMatter) {
  const Model model = model_of(random_network(31, 6));
  const Plan plan = plan_of(model.graph, 1);
  OneWithAModel one(model, plan);
  one.deployment()["inputs"].insert(one.deployment()["inputs"].begin(), "nobody's");
  one.deploy(hash_of(must(extract_parts(model.graph, plan))[0]));
  EXPECT_EQ(one.cut(plan.stages[0].nodes), 0U);
}

// A folder with one model, and what is missing when parts were cut out of it.
class Folder {
 public:
  // `simplified`: as the coordinator has it.
  Folder(Graph simplified, Plan plan) : graph_(std::move(simplified)), plan_(std::move(plan)) {}
  explicit Folder(const Graph& simplified) : Folder(simplified, plan_of(simplified, 1)) {}

  const fs::path& path() const { return folder_.path(); }
  std::size_t missing_with(const CutOptions& options, std::uint64_t store_bytes = 0) {
    PartStore store = must(PartStore::create(path(), ++epoch_, store_bytes));
    for (const PartGraph& part : must(extract_parts(graph_, plan_))) must(store.expect(part.id, hash_of(part)));
    const auto cut = cut_from_models(models_in(path()), plan_, options, store);
    EXPECT_EQ(!cut, options.stop.stop_requested());
    if (!cut) {
      EXPECT_EQ(cut.error().code, ErrorCode::kCancelled);
    }
    return store.missing().size();
  }
  std::size_t missing_with_limit(std::uint64_t bytes) {
    CutOptions options;
    options.max_memory_bytes = bytes;
    return missing_with(options);
  }

 private:
  TemporaryDirectory folder_ = must(TemporaryDirectory::create("held-models-test"));
  Graph graph_;
  Plan plan_;
  std::uint64_t epoch_ = 0;
};

TEST(HeldModels, AModelThatTakesMoreThanTheMemoryLimitIsNotReadNorOneOfAnEndedDeployment) {
  const Graph network = random_network(31, 6);
  const std::string bytes = must(export_onnx_bytes(network));
  Folder folder(must(import_onnx_bytes(std::as_bytes(std::span(bytes)), {})));
  must(write_file(folder.path() / "inside.onnx", bytes));
  EXPECT_EQ(folder.missing_with_limit(bytes.size() - 1), 1U);
  EXPECT_EQ(folder.missing_with_limit(bytes.size()), 0U);
  CutOptions stopped;
  std::stop_source source;
  stopped.stop = source.get_token();
  source.request_stop();
  EXPECT_EQ(folder.missing_with(stopped), 1U);
}

TEST(HeldModels, WhatTheDiskOrTheLimitOfThePartsHasNoRoomForStaysMissing) {
  const Model model = model_of(random_network(31, 6));
  Folder folder(model.graph);
  give(model, folder.path());
  EXPECT_EQ(folder.missing_with({}, 1000), 1U);
  EXPECT_EQ(folder.missing_with({}), 0U);
}

TEST(HeldModels, WeightsThatBatchNormalizationIsFoldedIntoCountAsMemory) {
  const Model model = model_of(normalized_network());
  Folder folder(model.graph);
  give(model, folder.path());
  ImportOptions as_it_is;
  as_it_is.simplify = false;
  const Graph graph = must(import_onnx(model.path, as_it_is));
  ASSERT_GT(graph.node_count(), model.graph.node_count());  // something is folded
  std::uint64_t bytes = fs::file_size(model.path);
  for (const Value& value : graph.values()) bytes += value.constant ? value.type.size_bytes() : 0;
  EXPECT_EQ(folder.missing_with_limit(bytes - 1), 1U);
  EXPECT_EQ(folder.missing_with_limit(bytes), 0U);
}

TEST(HeldModels, StagesWhosePartsTakeMoreThanTheMemoryLimitStayMissing) {
  const Graph network = random_network(31, 6);
  const std::string bytes = must(export_onnx_bytes(network));
  const Graph graph = must(import_onnx_bytes(std::as_bytes(std::span(bytes)), {}));
  const Plan plan = plan_of(graph, 2, {every_layer(Split::kOutputChannel, 2)});
  std::uint64_t most = 0;
  for (std::size_t s = 0; s < plan.stages.size(); ++s) {
    most = std::max(most, must(copied_weight_bytes(graph, plan, s, channel_units(graph))));
  }
  ASSERT_GT(most, 0U);
  Folder folder(graph, plan);
  must(write_file(folder.path() / "inside.onnx", bytes));
  EXPECT_GT(folder.missing_with_limit(bytes.size() + most - 1), 0U);
  EXPECT_EQ(folder.missing_with_limit(bytes.size() + most), 0U);
}

// An assignment that would cut, but for memory that another one still has: all that may come in between, comes.
class Cutting {
 public:
  explicit Cutting(const Model& model) {
    give(model, folder_.path());
    const Plan plan = plan_of(model.graph, 1);
    const Manifest manifest = make_manifest(model.graph, plan);
    assignment_.emplace(must(make_deployment(7, plan, manifest.values, manifest.inputs, manifest.outputs)), 0);
    hash_ = hash_of(must(extract_parts(model.graph, plan))[0]);
    must(assignment_->expect_parts({{{0, 0}, hash_}}, must(PartStore::create(folder_.path(), 7, 0))));
    nodes_ = {{"epoch", 7}, {"nodes", Json::array({plan.stages[0].nodes})}};
    std::vector<std::future<void>> before;
    before.push_back(memory_is_free_.get_future());
    must(cut(before));
    EXPECT_TRUE(before.empty());
  }

  Assignment& assignment() { return *assignment_; }
  Expected<void> cut(std::vector<std::future<void>>& before) {
    return assignment_->cut(JsonReader(nodes_), models_in(folder_.path()), 0, before);
  }
  void go_on() { memory_is_free_.set_value(); }
  // As a runner releases it.
  std::vector<std::future<void>> end() {
    std::vector<std::future<void>> retiring = std::move(*assignment_).end();
    assignment_.reset();
    return retiring;
  }
  bool has_the_part() const { return fs::exists(folder_.path() / "parts" / hash_); }
  // Beside the model.
  bool leaves_files() const {
    for (const fs::directory_entry& entry : fs::directory_iterator(folder_.path())) {
      if (entry.is_directory()) return true;
    }
    return false;
  }

 private:
  TemporaryDirectory folder_ = must(TemporaryDirectory::create("held-models-test"));
  std::promise<void> memory_is_free_;
  std::optional<Assignment> assignment_;
  std::string hash_;
  Json nodes_;
};

TEST(HeldModels, WhileItCutsADeviceTakesNoOtherOrder) {
  const Model model = model_of(random_network(31, 6));
  Cutting device(model);
  EXPECT_EQ(device.assignment().progress()["state"], "cutting");
  std::promise<void> others;
  std::vector<std::future<void>> before;
  before.push_back(others.get_future());
  EXPECT_NE(error_of(device.cut(before)).find("is cutting its parts"), std::string::npos);
  EXPECT_NE(error_of(device.assignment().prepare({}, before)).find("is cutting its parts"), std::string::npos);
  const Json piece = {{"stage", 0}, {"part", 0}, {"file", "model"}, {"offset", 0}, {"total", 4}};
  EXPECT_NE(
      error_of(device.assignment().put(JsonReader(piece), std::vector<std::byte>(4))).find("is cutting its parts"),
      std::string::npos);
  EXPECT_EQ(before.size(), 1U);  // what is refused waits for nobody
  device.go_on();
  while (device.assignment().progress()["state"] == "cutting") std::this_thread::yield();
  const Json progress = device.assignment().progress();
  EXPECT_EQ(progress["state"], "deploying");
  EXPECT_TRUE(progress["missing"].empty());
}

TEST(HeldModels, ADeploymentThatEndsWhileItCutsLeavesNoFiles) {
  const Model model = model_of(random_network(31, 6));
  enum class When { kBeforeItCuts, kUnasked, kAsked };  // it has cut, and whether somebody knows
  for (const When when : {When::kBeforeItCuts, When::kUnasked, When::kAsked}) {
    Cutting device(model);
    if (when != When::kBeforeItCuts) device.go_on();
    while (when == When::kUnasked && !device.has_the_part()) std::this_thread::yield();
    if (when == When::kUnasked)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));  // then it is done, nearly always
    while (when == When::kAsked && device.assignment().progress()["state"] == "cutting") std::this_thread::yield();
    EXPECT_TRUE(device.leaves_files());
    const std::vector<std::future<void>> retiring = device.end();  // kept, as a runner does
    if (when == When::kBeforeItCuts) device.go_on();
    for (const std::future<void>& other : retiring) other.wait();
    EXPECT_FALSE(device.leaves_files());
  }
}

TEST(HeldModels, AfterALossNoWeightsTravelWhereAllHaveTheModel) {
  const Model model = model_of(random_network(31, 6));
  const Questions questions(model.graph);
  for (const bool have_the_model : {false, true}) {
    const LocalFleet fleet = process_runners(3);
    for (std::size_t i = 0; i < 3 && have_the_model; ++i) give(model, fleet.model_dir(i));
    const auto coordinator = must(
        Coordinator::deploy(model.graph, plan_of(model.graph, device_names(3)), fleet.urls(), recovering(model.graph)));
    const std::uint64_t at_first = coordinator->counts().part_bytes;
    const Streamed streamed = stream(*coordinator, questions, 300, [&](std::uint64_t number) {
      if (number == 100) ::kill(fleet.pid(1), SIGKILL);
    });
    EXPECT_EQ(streamed.right, 300U);
    EXPECT_EQ(coordinator->counts().losses, 1U);
    EXPECT_EQ(coordinator->counts().part_bytes > at_first, !have_the_model);
    EXPECT_EQ(at_first > 0, !have_the_model);
  }
}

}  // namespace
}  // namespace onnx_split
