// Coordinator and runners together: threads of this process for speed, real processes for the ends of things.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <condition_variable>
#include <deque>
#include <thread>

#include "engine/evaluate.h"
#include "fleet/coordinator.h"
#include "fleet/local_fleet.h"
#include "fleet/runner.h"
#include "fleet/verify.h"
#include "partition/extract.h"
#include "tests/fleet/plans.h"
#include "tests/fleet/runners.h"
#include "tests/support/expect.h"
#include "tests/support/log_capture.h"
#include "tests/support/random_network.h"
#include "transport/request_reply.h"

namespace onnx_split {
namespace {

using testing::error_of;
using testing::LogCapture;
using testing::must;
using testing::plan_of;
using testing::random_inputs;
using testing::random_network;
using testing::Runners;

// What a coordinator announces of a plan for one device.
const Json kOnePart = Json::array({{{"stage", 0}, {"part", 0}, {"hash", std::string(64, 'a')}}});

bool same_bits(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!compare("", a[i], b[i]).bitwise_equal) return false;
  }
  return true;
}

// Streams `count` different requests through and compares each with the uncut answer, bit for bit.
void expect_right_answers(const Graph& graph, Coordinator& coordinator, std::size_t count) {
  std::deque<std::pair<std::uint64_t, std::future<Result>>> pending;
  const auto take = [&] {
    auto [seed, future] = std::move(pending.front());
    pending.pop_front();
    const std::vector<Tensor> outputs = must(future.get());
    const std::vector<Tensor> inputs = random_inputs(graph, seed);
    EXPECT_TRUE(same_bits(outputs, must(evaluate_once(graph, inputs)))) << "request " << seed;
  };
  for (std::uint64_t seed = 0; seed < count; ++seed) {
    pending.emplace_back(seed, coordinator.submit(random_inputs(graph, seed)));
    if (pending.size() > coordinator.window()) take();
  }
  while (!pending.empty()) take();
}

TEST(Fleet, PipelinesOfRandomNetworksGiveTheUncutBits) {
  const Runners runners(4);
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    const Graph graph = random_network(seed, 3 + static_cast<std::int64_t>(seed % 5));
    const std::size_t devices = 1 + seed % 4;
    std::vector<std::string> urls = runners.urls();
    urls.resize(devices);
    const auto coordinator = must(Coordinator::deploy(graph, plan_of(graph, devices), urls));
    expect_right_answers(graph, *coordinator, 20);
  }
  for (const auto& entry : std::filesystem::directory_iterator(runners.folder())) {
    EXPECT_TRUE(std::filesystem::is_empty(entry.path())) << entry.path();
  }
}

TEST(Fleet, ReplicasGiveTheUncutBitsInTheOrderOfSubmission) {
  const Graph graph = random_network(21, 5);
  const Runners runners(3);
  StageRequest first;
  first.until = {graph.value(graph.nodes()[graph.node_count() / 2].outputs[0]).name};
  first.replicas = 2;
  const auto coordinator = must(Coordinator::deploy(graph, plan_of(graph, 3, {first, StageRequest{}}), runners.urls()));
  expect_right_answers(graph, *coordinator, 60);
}

TEST(Fleet, ADeviceMayHoldSeveralStages) {
  const Graph graph = random_network(23, 6);
  const Runners runners(2);
  std::vector<StageRequest> stages(3);
  stages[0].until = {graph.value(graph.nodes()[2].outputs[0]).name};
  stages[1].until = {graph.value(graph.nodes()[graph.node_count() - 4].outputs[0]).name};
  stages[0].devices = stages[2].devices = {"d0"};
  stages[1].devices = {"d1"};
  const auto coordinator = must(Coordinator::deploy(graph, plan_of(graph, 2, stages), runners.urls()));
  expect_right_answers(graph, *coordinator, 30);
}

TEST(Fleet, TheWindowBoundsWhatIsInFlight) {
  const Graph graph = random_network(2, 4);
  const Runners runners(2);
  const auto coordinator = must(Coordinator::deploy(graph, plan_of(graph, 2, {}, 2), runners.urls()));
  std::vector<std::future<Result>> accepted;
  bool refused = false;
  for (std::uint64_t i = 0; i < 2000 && !refused; ++i) {
    auto submitted = coordinator->try_submit(random_inputs(graph, i));
    if (submitted) {
      accepted.push_back(std::move(*submitted));
    } else {
      EXPECT_EQ(submitted.error().code, ErrorCode::kExhausted);
      refused = true;
    }
  }
  EXPECT_TRUE(refused);
  for (std::size_t i = 0; i < accepted.size(); ++i) must(accepted[i].get());
}

TEST(Fleet, WrongInputsAreRefusedAtTheDoor) {
  const Graph graph = random_network(2, 4);
  const Runners runners(1);
  const auto coordinator = must(Coordinator::deploy(graph, plan_of(graph, 1), runners.urls()));
  EXPECT_NE(error_of(coordinator->submit({}).get()).find("the model has 1 inputs, 0 are given"), std::string::npos);
  const std::vector<Tensor> wrong{Tensor::scalar(1.0F)};
  EXPECT_NE(error_of(coordinator->submit(wrong).get()).find("input \"input\": expected float32"), std::string::npos);
}

TEST(Fleet, ASecondCoordinatorIsKeptOut) {
  const Graph graph = random_network(2, 4);
  const Runners runners(1);
  const auto first = must(Coordinator::deploy(graph, plan_of(graph, 1), runners.urls()));
  EXPECT_NE(error_of(Coordinator::deploy(graph, plan_of(graph, 1), runners.urls())).find("another coordinator"),
            std::string::npos);
  expect_right_answers(graph, *first, 3);
}

TEST(Fleet, AMemoryLimitIsHeld) {
  const Graph graph = random_network(2, 4);
  const Runners runners(1, 64);
  for (int i = 0; i < 2; ++i) {  // who refuses is free again at once
    const std::string error = error_of(Coordinator::deploy(graph, plan_of(graph, 1), runners.urls()));
    EXPECT_NE(error.find("memory limit"), std::string::npos) << error;
  }
}

TEST(Fleet, CancelEndsEveryWaitingRequest) {
  const Graph graph = random_network(2, 4);
  const Runners runners(1);
  const auto coordinator = must(Coordinator::deploy(graph, plan_of(graph, 1), runners.urls()));
  std::vector<std::future<Result>> waiting;
  for (std::size_t i = 0; i < coordinator->window(); ++i)
    waiting.push_back(coordinator->submit(random_inputs(graph, i)));
  coordinator->cancel({ErrorCode::kCancelled, "interrupted"});
  for (std::future<Result>& future : waiting) {
    const Result result = future.get();  // an answer that was there already, or the cancellation; never a hang
    EXPECT_EQ(result ? "interrupted" : result.error().message, "interrupted");
  }
  EXPECT_EQ(error_of(coordinator->submit(random_inputs(graph, 0)).get()), "interrupted");
}

TEST(Fleet, AnUnreachableDeviceIsNamed) {
  const Graph graph = random_network(2, 4);
  CoordinatorOptions options;
  options.watch.connect_timeout = std::chrono::milliseconds(300);
  const std::string error = error_of(Coordinator::deploy(graph, plan_of(graph, 1), {"tcp://127.0.0.1:1"}, options));
  EXPECT_EQ(error, "device \"d0\": tcp://127.0.0.1:1: connection refused");
}

TEST(Fleet, ARunnerThatWaitsForAnotherDeploymentKeepsItsLease) {
  const Graph graph = random_network(2, 4);
  const Runners runners(3, 0, std::chrono::milliseconds(600));
  CoordinatorOptions options;
  options.watch.heartbeat_period = std::chrono::milliseconds(50);
  // Sending takes several leases.
  options.watch.progress = [](std::uint64_t, std::uint64_t) {
    std::this_thread::sleep_for(std::chrono::milliseconds(400));
  };
  const auto coordinator = must(Coordinator::deploy(graph, plan_of(graph, 3), runners.urls(), options));
  expect_right_answers(graph, *coordinator, 5);
}

TEST(Fleet, AVanishedCoordinatorFreesItsRunnersWithinTheLeaseWhoeverElseAsks) {
  const Graph graph = random_network(2, 4);
  const Runners runners(1, 0, std::chrono::milliseconds(300));
  ControlClient client = must(ControlClient::connect("d0", runners.urls()[0], std::chrono::seconds(5)));
  const Plan plan = plan_of(graph, 1);
  const Manifest manifest = make_manifest(graph, plan);
  const Deployment deployment = must(make_deployment(77, plan, manifest.values, manifest.inputs, manifest.outputs));
  must(client.call("deploy", {{"device", 0}, {"deployment", deployment_to_json(deployment)}, {"parts", kOnePart}}));
  std::string state;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (state != "idle" && std::chrono::steady_clock::now() < end) {
    state = must(client.call("status", Json::object()))["state"].get<std::string>();
  }
  EXPECT_EQ(state, "idle");
}

TEST(Fleet, AnInterruptEndsADeploymentThatHasNotStarted) {
  const Graph graph = random_network(2, 4);
  const Runners runners(2);
  CoordinatorOptions options;
  std::stop_source give_up;
  give_up.request_stop();
  options.watch.stop = give_up.get_token();
  EXPECT_EQ(error_of(Coordinator::deploy(graph, plan_of(graph, 2), runners.urls(), options)), "interrupted");
  options.watch.stop = {};
  std::string error = "not tried";
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!error.empty() && std::chrono::steady_clock::now() < end) {
    const auto again = Coordinator::deploy(graph, plan_of(graph, 2), runners.urls(), options);
    error = again ? "" : again.error().message;
  }
  EXPECT_EQ(error, "");  // the runners are free again, at the latest after their lease
}

TEST(Fleet, NodesOfConstantsAloneAreComputedWhereTheyAreNeeded) {
  GraphBuilder builder("constants");
  const std::vector<float> data{1.0F, -2.0F};
  const ValueId x = must(builder.add_input("x", {DataType::kFloat32, {2}}));
  const ValueId c = must(builder.add_constant("c", Tensor::floats({2}, data)));
  const ValueId k = must(builder.add("k", OpType::kNeg, {}, {c}));
  const ValueId y = must(builder.add("y", OpType::kRelu, {}, {x}));
  const ValueId z = must(builder.add("z", OpType::kAdd, {}, {y, k}));
  const Graph graph = must(std::move(builder).build({z, k}));
  for (std::size_t devices = 1; devices <= 3; ++devices) {
    const Runners runners(devices);
    const auto coordinator = must(Coordinator::deploy(graph, plan_of(graph, devices), runners.urls()));
    expect_right_answers(graph, *coordinator, 3);
  }
}

// What a hostile or confused peer may send to a control port: an error each time, and the runner goes on.
TEST(Runner, SurvivesDeploymentsAndCommandsThatMakeNoSense) {
  const Graph graph = random_network(2, 4);
  const Runners runners(1);
  ControlClient client = must(ControlClient::connect("d0", runners.urls()[0], std::chrono::seconds(5)));
  const Plan plan = plan_of(graph, 1);
  const Manifest manifest = make_manifest(graph, plan);
  const Json good =
      deployment_to_json(must(make_deployment(77, plan, manifest.values, manifest.inputs, manifest.outputs)));
  const auto refused = [&](const std::function<void(Json&)>& damage, const std::string& message) {
    Json json = good;
    damage(json);
    const std::string error =
        error_of(client.call("deploy", {{"device", 0}, {"deployment", json}, {"parts", kOnePart}}));
    EXPECT_NE(error.find(message), std::string::npos) << message << " / " << error;
  };
  refused([](Json& j) { j["plan"]["stages"][0]["parts"][0]["devices"] = {0, 900000}; }, "device 900000 of 1");
  refused(
      [](Json& j) {
        j["plan"]["stages"][0]["parts"][0]["inputs"][0]["offset"] = {0};
        j["plan"]["stages"][0]["parts"][0]["inputs"][0]["shape"] = {1};
      },
      "isn't inside its shape");
  refused([](Json& j) { j["plan"]["stages"][0]["parts"][0]["inputs"] = Json::array(); }, "no inputs");
  const auto outputs_of = [](Json& j) -> Json& { return j["plan"]["stages"][0]["parts"][0]["outputs"]; };
  refused([&](Json& j) { outputs_of(j).push_back(outputs_of(j)[0]); }, "two regions of value");
  refused(
      [&](Json& j) {
        j["values"].push_back({{"name", "n"}, {"dtype", "int64"}, {"shape", {4}}});
        outputs_of(j).push_back({{"value", "n"}, {"offset", {0}}, {"shape", {4}}, {"combine", "add"}});
      },
      "only all of a float32 value can be added");
  refused(
      [&](Json& j) {
        j["values"].push_back({{"name", "n"}, {"dtype", "float32"}, {"shape", {4}}});
        outputs_of(j).push_back({{"value", "n"}, {"offset", {0}}, {"shape", {3}}, {"combine", "place"}});
      },
      "the parts own 3 elements of 4");
  refused(
      [&](Json& j) {
        const Json stage = j["plan"]["stages"][0];
        j["plan"]["stages"].push_back(stage);
      },
      "is there already");
  refused([](Json& j) { j["plan"]["window"] = 1 << 30; }, "window");
  refused([](Json& j) { j["values"] = Json::array(); }, "isn't listed");
  const auto announced = [&](const Json& parts) {
    return error_of(client.call("deploy", {{"device", 0}, {"deployment", good}, {"parts", parts}}));
  };
  Json twice = kOnePart;
  twice.push_back(kOnePart[0]);
  Json path = kOnePart;
  path[0]["hash"] = "../../etc/passwd";
  EXPECT_NE(announced(Json::array()).find("aren't those of device 0"), std::string::npos);
  EXPECT_NE(announced(twice).find("announced twice"), std::string::npos);
  EXPECT_NE(announced(path).find("isn't a hash"), std::string::npos);

  must(client.call("deploy", {{"device", 0}, {"deployment", good}, {"parts", kOnePart}}));
  const Json piece = {{"epoch", 77}, {"stage", 0}, {"part", 0}, {"file", "model"}, {"offset", 0}, {"total", 5}};
  const std::vector<std::byte> bytes(5, std::byte{1});
  // There are no models here: nothing comes of it.
  EXPECT_NE(error_of(client.call("cut", {{"epoch", 77}, {"nodes", Json::array()}})).find("nodes of 0 stages"),
            std::string::npos);
  must(client.call("cut", {{"epoch", 77}, {"nodes", Json::array({Json::array({"nonsense"})})}}));
  while (must(client.call("ping", {{"epoch", 77}}))["state"] == "cutting") continue;
  must(client.call("put", piece, bytes));
  EXPECT_FALSE(client.call("put", piece, bytes));
  EXPECT_NE(error_of(client.call("start", {{"epoch", 77}, {"data_urls", {""}}})).find("isn't prepared"),
            std::string::npos);
  // It is loaded in the background; what is wrong with it is told when it is asked for.
  must(client.call("prepare", {{"epoch", 77}}));
  EXPECT_NE(error_of(client.call("prepare", {{"epoch", 77}})).find("is prepared already"), std::string::npos);
  EXPECT_NE(error_of(client.call("cut", {{"epoch", 77}, {"nodes", {{"x"}}}})).find("is prepared already"),
            std::string::npos);
  Json pong;
  do {
    pong = must(client.call("ping", {{"epoch", 77}}));
  } while (pong["state"] == "preparing");
  EXPECT_EQ(pong["state"], "failed");
  EXPECT_EQ(pong["blames"], "d0");
  EXPECT_NE(pong["failure"].get<std::string>().find("stage 0 part 0"), std::string::npos) << pong["failure"];
  must(client.call("end", {{"epoch", 77}}));

  const auto coordinator = must(Coordinator::deploy(graph, plan_of(graph, 1), runners.urls()));
  const std::vector<Json> status = must(coordinator->runner_status());
  EXPECT_NE(
      error_of(client.call("start", {{"epoch", status[0]["epoch"]}, {"data_urls", {""}}})).find("started already"),
      std::string::npos);
  expect_right_answers(graph, *coordinator, 3);
}

TEST(Runner, BeyondLoopbackNeedsInsecure) {
  RunnerOptions options;
  options.listen = "tcp://0.0.0.0:0";
  EXPECT_NE(error_of(Runner::create(options)).find("--insecure"), std::string::npos);
}

TEST(Runner, AnswersNonsenseWithAnErrorAndLogsIt) {
  const LogCapture log;
  const Runners runners(1);
  ControlClient client = must(ControlClient::connect("d0", runners.urls()[0], std::chrono::seconds(5)));
  EXPECT_NE(error_of(client.call("dance", Json::object())).find("unknown request \"dance\""), std::string::npos);
  EXPECT_NE(error_of(client.call("ping", {{"epoch", 3}})).find("nothing is deployed here"), std::string::npos);
  EXPECT_NE(error_of(client.call("hello", {{"protocol", 99}})).find("speaks protocol 99"), std::string::npos);
  EXPECT_NE(error_of(client.call("deploy", {{"device", 0}, {"deployment", 7}})).find("expected an object"),
            std::string::npos);
  transport::RequestSocket raw = must(transport::RequestSocket::open());
  must(raw.dial(runners.urls()[0], {.connect_timeout = std::chrono::seconds(5)}));
  must(raw.call(must(transport::Message::allocate(3)), std::chrono::seconds(5)));
  EXPECT_EQ(log.count("refused: "), 5U) << ::testing::PrintToString(log.lines());
}

LocalFleetOptions local_options() {
  LocalFleetOptions options;
  options.runner = std::filesystem::path(ONNX_SPLIT_BIN) / "onnx-split-runner";
  options.log_level = "off";
  return options;
}

TEST(LocalFleet, StartsRunsAndLeavesNoProcessBehind) {
  const Graph graph = random_network(31, 6);
  std::vector<pid_t> pids;
  {
    const LocalFleet fleet = must(LocalFleet::start(3, local_options()));
    for (std::size_t i = 0; i < fleet.size(); ++i) pids.push_back(fleet.pid(i));
    const auto coordinator = must(Coordinator::deploy(graph, plan_of(graph, 3), fleet.urls()));
    expect_right_answers(graph, *coordinator, 25);
  }
  for (const pid_t pid : pids) EXPECT_EQ(::kill(pid, 0), -1);
}

TEST(LocalFleet, ARunnerThatDiesAtStartIsReported) {
  LocalFleetOptions options = local_options();
  options.runner = "/bin/false";
  EXPECT_EQ(error_of(LocalFleet::start(2, options)), "runner \"local0\": it ended with exit status 1");
  options.runner = "/nowhere/runner";
  EXPECT_EQ(error_of(LocalFleet::start(2, options)), "cannot start /nowhere/runner: No such file or directory");
}

TEST(LocalFleet, AKilledRunnerFailsEveryRequestThatWaitsForIt) {
  const Graph graph = random_network(31, 6);
  const LocalFleet fleet = must(LocalFleet::start(2, local_options()));
  const auto coordinator = must(Coordinator::deploy(graph, plan_of(graph, 2), fleet.urls()));
  must(coordinator->submit(random_inputs(graph, 0)).get());
  ::kill(fleet.pid(1), SIGKILL);
  // Requests fail once the loss is noticed; none may hang.
  std::string error;
  for (int i = 0; i < 100000 && error.empty(); ++i) {
    auto result = coordinator->submit(random_inputs(graph, 0)).get();
    if (!result) error = result.error().message;
  }
  EXPECT_NE(error.find("device \"d1\""), std::string::npos) << error;
}

TEST(Composer, PartsOfRandomNetworksGiveEveryCutValueBitForBit) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const Graph graph = random_network(seed, 4);
    const Plan plan = plan_of(graph, 1 + seed % 5);
    SessionOptions options;
    options.choices = plan.choices;
    Composer composer = must(Composer::create(graph, plan, options));
    const VerifyReport report = must(verify(graph, composer, random_inputs(graph, seed), options));
    EXPECT_TRUE(report.bitwise_equal()) << "seed " << seed << ": " << report.worst().value;
    EXPECT_GE(report.values.size(), plan.stages.size());
  }
}

TEST(Verify, SeesAWrongValue) {
  const std::vector<float> right{1.0F, -4.0F};
  const std::vector<float> wrong{1.0F, -4.002F};
  const ValueError error = compare("x", Tensor::floats({2}, wrong), Tensor::floats({2}, right));
  EXPECT_FALSE(error.bitwise_equal);
  EXPECT_NEAR(error.relative(), 0.0005, 1e-6);
  const std::vector<float> nan{1.0F, NAN};
  EXPECT_TRUE(std::isinf(compare("x", Tensor::floats({2}, nan), Tensor::floats({2}, right)).relative()));
}

}  // namespace
}  // namespace onnx_split
