// The main job as a user does it: the built programs, real networks, real processes over tcp.
#include <gtest/gtest.h>

#include <signal.h>

#include <cstdlib>
#include <fstream>
#include <thread>

#include "base/json.h"
#include "cli/npy.h"
#include "tests/cli/program.h"
#include "tests/support/expect.h"

namespace onnx_split::testing {
namespace {

bool same_bits(const std::string& a, const std::string& b) {
  const Tensor x = must(read_npy(a));
  const Tensor y = must(read_npy(b));
  const auto bytes = x.buffer().bytes();
  const auto others = y.buffer().bytes();
  return x.type() == y.type() && std::equal(bytes.begin(), bytes.end(), others.begin(), others.end());
}

// zoo alexnet → plan --devices 2 → two runner processes over tcp → bitwise equal to run --threads 1.
TEST(MainJob, AlexNetOnTwoRunnersGivesTheUncutBits) {
  const Workplace place;
  const std::string model = place / "alexnet.onnx";
  expect_done(place.run({"onnx-split", "zoo", "alexnet", "-o", model}));
  expect_done(place.run(
      {"onnx-split", "run", model, "--threads", "1", "--input", "random:3", "--output", place / "uncut.npy"}));

  Program first(place.tmp(), {"onnx-split-runner", "--listen", "tcp://127.0.0.1:0", "--name", "a"});
  Program second(place.tmp(), {"onnx-split-runner", "--listen", "tcp://127.0.0.1:0", "--name", "b"});
  std::string cluster = "devices:\n";
  for (const Program* runner : {&first, &second}) {
    runner->wait_for_output("\n");
    const std::string line = runner->out();
    ASSERT_TRUE(line.starts_with("listening on tcp://127.0.0.1:")) << line;
    cluster += fmt::format("  - {{name: {}, address: \"{}\"}}\n", runner == &first ? "a" : "b",
                           line.substr(13, line.size() - 14));
  }
  must(write_file(place / "cluster.yaml", cluster));
  expect_done(place.run({"onnx-split", "plan", model, "--cluster", place / "cluster.yaml", "-o", place / "plan.json"}));
  expect_done(place.run({"onnx-split", "verify", model, "--plan", place / "plan.json"}));
  for (int repeat = 0; repeat < 2; ++repeat) {  // the runners serve one deployment after the other
    expect_done(place.run({"onnx-split", "run", model, "--cluster", place / "cluster.yaml", "--plan",
                           place / "plan.json", "--input", "random:3", "--output", place / "cut.npy"}));
    EXPECT_TRUE(same_bits(place / "uncut.npy", place / "cut.npy"));
  }
  const Outcome status = place.run({"onnx-split", "status", "--cluster", place / "cluster.yaml", "--json"});
  expect_done(status);
  EXPECT_EQ(must(parse_json(status.out))[1]["state"], "idle");
  for (Program* runner : {&first, &second}) {
    runner->signal(SIGTERM);
    expect_done(runner->wait(std::chrono::seconds(5)));
  }
  EXPECT_TRUE(place.left_behind().empty());
}

TEST(MainJob, DigitsAreReadAsWellCutAsUncut) {
  const Workplace place;
  double accuracy = 0;
  for (const char* local : {"", "4"}) {
    std::vector<std::string> words = {"onnx-split",
                                      "run",
                                      kDigits,
                                      "--input",
                                      kDigitsFolder + "digits_images.npy",
                                      "--expect",
                                      kDigitsFolder + "digits_labels.npy",
                                      "--labels",
                                      kDigitsFolder + "labels.txt",
                                      "--top",
                                      "1",
                                      "--json"};
    if (*local != '\0') words.insert(words.end(), {"--local", local});
    const Outcome outcome = place.run(words);
    expect_done(outcome);
    const Json json = must(parse_json(outcome.out));
    EXPECT_EQ(json["results"].size(), 360U);
    EXPECT_GE(json["accuracy"].get<double>(), 0.97);
    if (accuracy > 0) {
      EXPECT_EQ(json["accuracy"].get<double>(), accuracy);
    }
    accuracy = json["accuracy"].get<double>();
  }
}

TEST(MainJob, PartsWrittenBySplitAreVerifiedFromTheirFolder) {
  const Workplace place;
  const std::string& model = kDigits;
  expect_done(place.run(
      {"onnx-split", "plan", model, "--devices", "3", "--no-replicas", "--no-splits", "-o", place / "plan.json"}));
  expect_done(place.run({"onnx-split", "split", model, "--plan", place / "plan.json", "-o", place / "parts"}));
  const Outcome verified = place.run({"onnx-split", "verify", model, "--parts", place / "parts", "--json"});
  expect_done(verified);
  const Json json = must(parse_json(verified.out));
  EXPECT_TRUE(json["bitwise_equal"].get<bool>());
  EXPECT_TRUE(json["passed"].get<bool>());
  for (const char* key : {"max_abs_error", "max_abs_reference", "relative_error"}) EXPECT_TRUE(json.contains(key));

  // Damage one weight: verify must see it.
  std::fstream weights(place / "parts/stage1_part0.weights", std::ios::in | std::ios::out | std::ios::binary);
  const float wrong = 1000.0F;
  weights.write(reinterpret_cast<const char*>(&wrong), sizeof wrong);
  weights.close();
  EXPECT_EQ(place.run({"onnx-split", "verify", model, "--parts", place / "parts"}).exit_code, 1);
}

TEST(MainJob, BenchAndInspectKeepTheirJsonContract) {
  const Workplace place;
  const std::string& model = kDigits;
  for (const char* scenario : {"single-stream", "offline", "server"}) {
    std::vector<std::string> words = {"onnx-split", "bench",  model,        "--local", "2",
                                      "--scenario", scenario, "--requests", "20",      "--json"};
    if (std::string(scenario) == "server") words.insert(words.end(), {"--rate", "200"});
    const Outcome outcome = place.run(words);
    expect_done(outcome);
    const Json json = must(parse_json(outcome.out));
    for (const char* key : {"model", "scenario", "requests", "threads", "throughput_per_s", "latency_ms"}) {
      EXPECT_TRUE(json.contains(key)) << key;
    }
    for (const char* key : {"min", "mean", "p50", "p90", "p99", "max"}) {
      EXPECT_TRUE(json["latency_ms"].contains(key)) << key;
    }
    EXPECT_EQ(json["requests"], 20);
  }
  const Outcome inspected = place.run({"onnx-split", "inspect", model, "--json"});
  expect_done(inspected);
  const Json json = must(parse_json(inspected.out));
  for (const char* key : {"macs", "weights", "weight_bytes", "nodes", "unsupported"}) EXPECT_TRUE(json.contains(key));
  for (const char* key : {"name", "op", "output", "shape", "macs", "weight_bytes", "output_bytes"}) {
    EXPECT_TRUE(json["nodes"][0].contains(key)) << key;
  }
}

// One process a device, so that processor times are each its own.
TEST(MainJob, AProfileHasEveryNodeAndLinkOfTwoRunners) {
  const Workplace place;
  const std::string& model = kDigits;
  Program first(place.tmp(), {"onnx-split-runner", "--listen", "tcp://127.0.0.1:0", "--threads", "2"});
  Program second(place.tmp(), {"onnx-split-runner", "--listen", "tcp://127.0.0.1:0", "--memory-limit", "200MB"});
  std::string cluster = "devices:\n";
  for (const Program* runner : {&first, &second}) {
    runner->wait_for_output("\n");
    cluster += fmt::format("  - {{name: {}, address: \"{}\"}}\n", runner == &first ? "a" : "b",
                           runner->out().substr(13, runner->out().size() - 14));
  }
  must(write_file(place / "cluster.yaml", cluster));
  const Outcome outcome = place.run(
      {"onnx-split", "profile", model, "--cluster", place / "cluster.yaml", "-o", place / "profile.json", "--quick"});
  expect_done(outcome);
  EXPECT_NE(outcome.out.find("bandwidth Mbit/s"), std::string::npos) << outcome.out;
  const Json json = must(parse_json(must(read_file(place / "profile.json"))));
  ASSERT_EQ(json["devices"].size(), 2U);
  EXPECT_EQ(json["links"].size(), 2U);
  EXPECT_EQ(json["devices"][0]["name"], "a");
  EXPECT_EQ(json["devices"][0]["threads"], 2);
  const Json inspected = must(parse_json(place.run({"onnx-split", "inspect", model, "--json"}).out));
  for (const Json& device : json["devices"]) {
    EXPECT_FALSE(device["version"].get<std::string>().empty());
    double sum_ms = 0.0;
    for (const Json& node : inspected["nodes"]) {
      ASSERT_TRUE(device["nodes"].contains(node["name"].get<std::string>())) << node;
      sum_ms += device["nodes"][node["name"].get<std::string>()]["median_ms"].get<double>();
    }
    EXPECT_GT(sum_ms, 0.0);
    EXPECT_GT(device["send"]["message_us"].get<double>(), 0.0);
    EXPECT_GT(device["receive"]["message_us"].get<double>(), 0.0);
    EXPECT_GT(device["idle_memory_bytes"].get<std::int64_t>(), 1'000'000);
  }
  const Outcome status = place.run({"onnx-split", "status", "--cluster", place / "cluster.yaml", "--json"});
  EXPECT_EQ(must(parse_json(status.out))[1]["state"], "idle");
}

// Without a cluster file: this machine, by a runner of its own.
TEST(MainJob, AProfileOfThisMachine) {
  const Workplace place;
  expect_done(place.run({"onnx-split", "profile", kDigits, "-o", place / "profile.json", "--quick"}));
  const Json json = must(parse_json(must(read_file(place / "profile.json"))));
  ASSERT_EQ(json["devices"].size(), 1U);
  EXPECT_EQ(json["devices"][0]["name"], "local0");
  EXPECT_TRUE(json["links"].empty());
  EXPECT_TRUE(place.left_behind().empty());
}

TEST(MainJob, InputsThatMissTheirDeadlineAreToldOfAndTheRestGoesOn) {
  const Workplace place;
  for (const char* local : {"0", "2"}) {
    std::vector<std::string> words = {"onnx-split", "run",           kDigits,  "--input",
                                      "random:3",   "--deadline-ms", "0.0001", "--json"};
    if (local[0] != '0') words.insert(words.end(), {"--local", local});
    const Outcome outcome = place.run(words);
    EXPECT_EQ(outcome.exit_code, 1) << outcome.out;
    EXPECT_NE(outcome.err.find("1 of 1 inputs missed their deadline"), std::string::npos) << outcome.err;
    EXPECT_NE(must(parse_json(outcome.out))["results"][0]["error"].get<std::string>().find("deadline"),
              std::string::npos);
  }
  const Outcome bench = place.run({"onnx-split", "bench", kDigits, "--local", "2", "--scenario", "server", "--rate",
                                   "100000", "--requests", "2000", "--refuse", "--deadline-ms", "10000", "--json"});
  expect_done(bench);
  const Json report = must(parse_json(bench.out));
  EXPECT_GT(report["refused"], 0);
  EXPECT_EQ(report["refused"].get<int>() + report["late"].get<int>() + report["requests"].get<int>(), 2000);
  EXPECT_EQ(place.run({"onnx-split", "bench", kDigits, "--refuse"}).exit_code, 2);
}

// Every network of the zoo over 1 to 6 runners; a sample unless ONNX_SPLIT_FULL is set.
class ZooMatrix : public ::testing::TestWithParam<const char*> {};

TEST_P(ZooMatrix, EveryNumberOfRunnersGivesTheUncutBits) {
  const bool full = std::getenv("ONNX_SPLIT_FULL") != nullptr;
  const std::string name = GetParam();
  const bool sampled = name == "squeezenet1_1" || name == "mobilenet_v2" || name == "resnet18";
  if (!full && !sampled) GTEST_SKIP() << "only in the full matrix: set ONNX_SPLIT_FULL=1";
  const Workplace place;
  const std::string model = place / "model.onnx";
  expect_done(place.run({"onnx-split", "zoo", name, "-o", model}));
  expect_done(place.run(
      {"onnx-split", "run", model, "--threads", "1", "--input", "random:5", "--output", place / "uncut.npy"}));
  for (int runners = 1; runners <= 6; ++runners) {
    if (!full && runners % 2 == 0) continue;
    expect_done(place.run({"onnx-split", "run", model, "--local", std::to_string(runners), "--input", "random:5",
                           "--output", place / "cut.npy"}));
    EXPECT_TRUE(same_bits(place / "uncut.npy", place / "cut.npy")) << runners << " runners";
  }
  EXPECT_TRUE(place.left_behind().empty());
}

INSTANTIATE_TEST_SUITE_P(Zoo, ZooMatrix,
                         ::testing::Values("alexnet", "vgg11", "vgg16", "vgg19", "resnet18", "resnet34", "resnet50",
                                           "resnet101", "mobilenet_v1", "mobilenet_v2", "squeezenet1_1", "xception",
                                           "c3d"),
                         [](const auto& network) { return std::string(network.param); });

std::int64_t resident_bytes(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/status", pid));
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("VmRSS:")) return std::stoll(line.substr(6)) * 1024;
  }
  return 0;
}

// Resident memory of each runner: its part's weights, activations and join space, and at most 40 MB more.
TEST(MainJob, ARunnerPaysForItsShare) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers multiply a process's memory";
#endif
  const bool full = std::getenv("ONNX_SPLIT_FULL") != nullptr;
  const Workplace place;
  const std::string model = place / "model.onnx";
  expect_done(place.run({"onnx-split", "zoo", full ? "vgg16" : "alexnet", "-o", model}));
  expect_done(place.run(
      {"onnx-split", "plan", model, "--devices", "2", "--no-replicas", "--no-splits", "-o", place / "plan.json"}));
  Program bench(place.tmp(), {"onnx-split", "bench", model, "--local", "2", "--plan", place / "plan.json", "--scenario",
                              "offline", "--duration-s", full ? "12" : "5"});
  const Json plan = must(parse_json(must(read_file(place / "plan.json"))));
  std::vector<std::int64_t> peak(2, 0);
  while (is_alive(bench.pid())) {
    const std::vector<pid_t> runners = children_of(bench.pid());
    for (std::size_t i = 0; i < runners.size() && i < 2; ++i) {
      peak[i] = std::max(peak[i], resident_bytes(runners[i]));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  expect_done(bench.wait());
  for (std::size_t i = 0; i < 2; ++i) {
    const Json& part = plan["stages"][i]["parts"][0];
    std::int64_t join_bytes = 0;
    for (const Json& input : part["inputs"]) {
      std::int64_t bytes = 4;
      for (const Json& extent : input["shape"]) bytes *= extent.get<std::int64_t>();
      join_bytes += plan["window"].get<std::int64_t>() * bytes;
    }
    const std::int64_t allowed = part["weight_bytes"].get<std::int64_t>() +
                                 part["activation_bytes"].get<std::int64_t>() + join_bytes + 40'000'000;
    EXPECT_GT(peak[i], 0);
    EXPECT_LE(peak[i], allowed) << "stage " << i;
  }
}

}  // namespace
}  // namespace onnx_split::testing
