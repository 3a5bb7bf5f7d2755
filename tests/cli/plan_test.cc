// What plan, inspect --plan and simulate say, as tables and as JSON, and what they say of wrong input.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "base/json.h"
#include "tests/cli/program.h"
#include "tests/support/expect.h"

namespace onnx_split::testing {
namespace {

using ::testing::HasSubstr;

const std::string kCluster =
    "devices:\n"
    "  - {name: slow, address: \"tcp://10.0.0.1:7070\", memory: 900MB, gflops: 5}\n"
    "  - {name: fast, address: \"tcp://10.0.0.2:7070\", memory: 900MB, gflops: 10}\n"
    "  - {name: other, address: \"tcp://10.0.0.3:7070\", gflops: 5}\n"
    "link: {bandwidth_mbps: 940, latency_ms: 0.2}\n";

void expect_one_line(const Outcome& outcome, const std::string& text, int exit_code = 1) {
  EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
  if (exit_code == 1) {
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }
  EXPECT_THAT(outcome.err, HasSubstr(text));
  EXPECT_EQ(outcome.out, "");
}

// Plans the digits for kCluster into plan.json.
Outcome plan_digits(const Workplace& place, std::vector<std::string> more = {}) {
  must(write_file(place / "cluster.yaml", kCluster));
  std::vector<std::string> words = {"onnx-split",       "plan", kDigits, "--cluster", place / "cluster.yaml", "-o",
                                    place / "plan.json"};
  words.insert(words.end(), more.begin(), more.end());
  return place.run(words);
}

TEST(PlanReport, SaysWhatThePlanWillDoAndWhy) {
  const Workplace place;
  const Outcome outcome = plan_digits(place, {"--svg", place / "plan.svg"});
  expect_done(outcome);
  for (const char* text : {"stage  layers",
                           "weighted",
                           "split",
                           "devices",
                           "compute ms",
                           "receive ms",
                           "send ms",
                           "MB a device",
                           "busy",
                           "link down ms",
                           "link up ms",
                           "throughput  ",
                           "latency     ",
                           "bottleneck  device ",
                           "ms computing",
                           "window      ",
                           "device \"fast\" alone: ",
                           "no plan is above ",
                           "no plan is below ",
                           "900.0",
                           "slow",
                           "other"}) {
    EXPECT_THAT(outcome.out, HasSubstr(text));
  }
  const std::string svg = must(read_file(place / "plan.svg"));
  for (const char* text : {"<svg ", "</svg>", ">slow<", ">fast<", ">other<", ">stage 0<"})
    EXPECT_THAT(svg, HasSubstr(text));
  const Outcome inspected = place.run({"onnx-split", "inspect", kDigits, "--plan", place / "plan.json"});
  expect_done(inspected);
  EXPECT_EQ(inspected.out, outcome.out);
  EXPECT_THAT(place.run({"onnx-split", "inspect", kDigits, "--plan", place / "plan.json", "--parts"}).out,
              HasSubstr("activations"));
}

TEST(PlanReport, SaysTheSameAsJson) {
  const Workplace place;
  const Outcome outcome = plan_digits(place, {"--json"});
  expect_done(outcome);
  const Json json = must(parse_json(outcome.out));
  for (const char* key : {"model", "window", "prediction", "stages", "devices", "parts"})
    EXPECT_TRUE(json.contains(key)) << key;
  for (const char* key :
       {"throughput_per_s", "latency_ms", "bottleneck", "bound_per_s", "bound_latency_ms", "gap", "optimal"}) {
    EXPECT_TRUE(json["prediction"].contains(key)) << key;
  }
  EXPECT_EQ(json["prediction"]["single"]["device"], "fast");
  EXPECT_TRUE(json["prediction"]["single"]["fits"].get<bool>());
  for (const char* key :
       {"stage", "split", "ways", "grid", "weights", "replicas", "devices", "first_node", "last_node", "nodes",
        "weighted_layers", "compute_ms", "receive_ms", "send_ms", "memory_bytes", "utilisation"}) {
    EXPECT_TRUE(json["stages"][0].contains(key)) << key;
  }
  for (const char* key : {"device", "compute_ms", "receive_ms", "send_ms", "link_down_ms", "link_up_ms", "memory_bytes",
                          "memory_limit_bytes", "utilisation", "link_utilisation"}) {
    EXPECT_TRUE(json["devices"][0].contains(key)) << key;
  }
  for (const char* key : {"stage", "part", "split", "devices", "first_node", "last_node", "nodes", "macs",
                          "repeated_macs", "weight_bytes", "activation_bytes", "received_bytes", "sent_bytes"}) {
    EXPECT_TRUE(json["parts"][0].contains(key)) << key;
  }
  EXPECT_EQ(json["devices"].size(), 3U);
  double busiest = 0.0;
  for (const Json& device : json["devices"]) {
    busiest = std::max({busiest, device["utilisation"].get<double>(), device["link_utilisation"].get<double>()});
  }
  EXPECT_GT(busiest, 0.9);
  EXPECT_LE(busiest, 1.0 + 1e-6);
}

TEST(PlanReport, ByHandHasTheSameComparisons) {
  const Workplace place;
  must(write_file(place / "stages.yaml", "stages:\n  - {replicas: 3, devices: [slow, fast, other]}\n"));
  const Outcome outcome = plan_digits(place, {"--stages", place / "stages.yaml"});
  expect_done(outcome);
  EXPECT_THAT(outcome.out, HasSubstr("whole, 3 replicas"));
  EXPECT_THAT(outcome.out, HasSubstr("no plan is above "));
  EXPECT_THAT(outcome.out, HasSubstr("device \"fast\" alone: "));
}

TEST(PlanReport, SparesAreOnDevicesThatWereKeptBack) {
  const Workplace place;
  const auto plan = [&](const char* devices, const char* spares) {
    return place.run({"onnx-split", "plan", kDigits, "--devices", devices, "--no-replicas", "--no-splits", "--spares",
                      spares, "-o", place / "plan.json", "--json"});
  };
  const Outcome outcome = plan("4", "2");
  expect_done(outcome);
  const Json json = must(parse_json(outcome.out));
  for (const Json& stage : json["stages"]) EXPECT_EQ(stage["spare"], "standby");
  const Outcome verified = place.run({"onnx-split", "verify", kDigits, "--plan", place / "plan.json"});
  expect_done(verified);
  const Outcome shown = place.run({"onnx-split", "inspect", kDigits, "--plan", place / "plan.json"});
  expect_done(shown);
  EXPECT_THAT(shown.out, HasSubstr("whole, standby"));
  expect_one_line(plan("2", "2"), "2 of 2 devices can't all be spare");
}

TEST(PlanReport, WithoutAPredictionSaysWhatThereIs) {
  const Workplace place;
  expect_done(plan_digits(place));
  Json plan = must(parse_json(must(read_file(place / "plan.json"))));
  plan.erase("prediction");
  must(write_file(place / "plan.json", to_text(plan)));
  const Outcome inspected = place.run({"onnx-split", "inspect", kDigits, "--plan", place / "plan.json"});
  expect_done(inspected);
  EXPECT_THAT(inspected.out, HasSubstr("window      "));
  EXPECT_THAT(inspected.out, HasSubstr("no prediction"));
  EXPECT_FALSE(
      must(parse_json(place.run({"onnx-split", "inspect", kDigits, "--plan", place / "plan.json", "--json"}).out))
          .contains("prediction"));
  expect_one_line(place.run({"onnx-split", "simulate", "--plan", place / "plan.json"}),
                  "plan.json: the plan has no prediction");
}

TEST(PlanReport, ManyDevicesAreSummarised) {
  const Workplace place;
  const Outcome outcome = place.run({"onnx-split", "plan", kDigits, "--devices", "40", "-o", place / "plan.json"});
  expect_done(outcome);
  for (const char* text : {"of 40 devices:", "least", "median", "most"}) EXPECT_THAT(outcome.out, HasSubstr(text));
  EXPECT_EQ(outcome.out.find("local17"), std::string::npos);
}

TEST(PlanReport, TheOrderOfTheDevicesChangesNothing) {
  const Workplace place;
  std::vector<std::string> lines = {"  - {name: pi1, address: \"tcp://10.0.0.1:7070\", gflops: 1, memory: 300MB}\n",
                                    "  - {name: pi2, address: \"tcp://10.0.0.2:7070\", gflops: 2}\n",
                                    "  - {name: pi10, address: \"tcp://10.0.0.10:7070\", gflops: 3}\n"};
  std::set<std::string> plans;
  do {
    must(write_file(place / "cluster.yaml", "devices:\n" + lines[0] + lines[1] + lines[2]));
    expect_done(
        place.run({"onnx-split", "plan", kDigits, "--cluster", place / "cluster.yaml", "-o", place / "plan.json"}));
    plans.insert(must(read_file(place / "plan.json")));
  } while (std::next_permutation(lines.begin(), lines.end()));
  EXPECT_EQ(plans.size(), 1U);
  EXPECT_EQ(must(parse_json(*plans.begin()))["devices"], Json({"pi1", "pi2", "pi10"}));
}

TEST(PlanAgain, OnTheSameDevicesPredictsTheSame) {
  const std::vector<std::vector<std::string>> ways = {{},
                                                      {"--objective", "latency"},
                                                      {"--no-splits", "--no-replicas", "--spares", "1"},
                                                      {"--gemm", "openblas"},
                                                      {"--weights", "fp16"}};
  for (const std::vector<std::string>& way : ways) {
    SCOPED_TRACE(way.empty() ? "" : way.back());
    const Workplace place;
    must(write_file(place / "cluster.yaml", kCluster));
    const std::vector<std::string> plan = {"onnx-split", "plan", kDigits, "--cluster", place / "cluster.yaml", "-o"};
    const auto run_plan = [&](const std::string& output, const std::vector<std::string>& more) {
      std::vector<std::string> words = plan;
      words.push_back(place / output);
      words.insert(words.end(), more.begin(), more.end());
      expect_done(place.run(words));
      return must(parse_json(must(read_file(place / output))));
    };
    Json made = run_plan("plan.json", way);
    made["prediction"].erase("optimal");  // a search's word
    const std::vector<std::string> objective =
        way.empty() || way.front() != "--objective" ? std::vector<std::string>{} : way;
    std::vector<std::string> with_plan = {"--plan", place / "plan.json"};
    with_plan.insert(with_plan.end(), objective.begin(), objective.end());
    Json again = run_plan("again.json", with_plan);
    again["prediction"].erase("optimal");
    EXPECT_EQ(again, made);
  }
}

// A plan's stages as they are cut, without what was predicted of them.
Json cut_of(Json plan) {
  for (Json& stage : plan["stages"]) {
    for (Json& part : stage["parts"]) part.erase("compute_s");
  }
  return plan["stages"];
}

TEST(PlanAgain, GoesByWhatItsDevicesAreNow) {
  const Workplace place;
  expect_done(plan_digits(place));
  const Json made = must(parse_json(must(read_file(place / "plan.json"))));
  // The same devices, listed otherwise, with the given speed of the first, and one that the plan knows nothing of.
  const auto predicted = [&](int slow_gflops) {
    must(write_file(place / "now.yaml",
                    fmt::format("devices:\n"
                                "  - {{name: unused, address: \"tcp://10.0.0.4:7070\", gflops: 1}}\n"
                                "  - {{name: other, address: \"tcp://10.0.0.3:7070\", gflops: 5}}\n"
                                "  - {{name: fast, address: \"tcp://10.0.0.2:7070\", memory: 900MB, gflops: 10}}\n"
                                "  - {{name: slow, address: \"tcp://10.0.0.1:7070\", memory: 900MB, gflops: {}}}\n"
                                "link: {{bandwidth_mbps: 940, latency_ms: 0.2}}\n",
                                slow_gflops)));
    expect_done(place.run({"onnx-split", "plan", kDigits, "--cluster", place / "now.yaml", "--plan",
                           place / "plan.json", "-o", place / "again.json"}));
    Json again = must(parse_json(must(read_file(place / "again.json"))));
    EXPECT_EQ(again["devices"], made["devices"]);
    EXPECT_EQ(cut_of(again), cut_of(made));
    return again["prediction"];
  };
  EXPECT_EQ(predicted(5)["throughput_per_s"], made["prediction"]["throughput_per_s"]);
  const std::size_t slow = static_cast<std::size_t>(
      std::find(made["devices"].begin(), made["devices"].end(), Json("slow")) - made["devices"].begin());
  ASSERT_GT(made["prediction"]["loads"][slow]["compute_s"].get<double>(), 0.0);
  const Json slower = predicted(1);
  EXPECT_GT(slower["loads"][slow]["compute_s"], made["prediction"]["loads"][slow]["compute_s"]);
  for (std::size_t d = 0; d < made["devices"].size(); ++d) {
    if (d == slow) continue;
    EXPECT_EQ(slower["loads"][d], made["prediction"]["loads"][d]);
  }
}

TEST(PlanAgain, OfLocalDevicesHasThePlansThreads) {
  const Workplace place;
  expect_done(
      place.run({"onnx-split", "plan", kDigits, "--devices", "2", "--threads", "3", "-o", place / "plan.json"}));
  expect_done(place.run(
      {"onnx-split", "plan", kDigits, "--devices", "2", "--plan", place / "plan.json", "-o", place / "again.json"}));
  EXPECT_EQ(must(parse_json(must(read_file(place / "again.json"))))["prediction"]["throughput_per_s"],
            must(parse_json(must(read_file(place / "plan.json"))))["prediction"]["throughput_per_s"]);
}

TEST(PlanAgain, ErrorsSayWhatDoesNotFit) {
  const Workplace place;
  expect_done(plan_digits(place));
  const std::vector<std::string> again = {"onnx-split",        "plan", kDigits, "--plan", place / "plan.json", "-o",
                                          place / "again.json"};
  const auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> words = again;
    words.insert(words.end(), more.begin(), more.end());
    return place.run(words);
  };
  expect_one_line(with({"--devices", "3"}), "plan.json: the cluster has no device");
  expect_one_line(with({"--cluster", place / "cluster.yaml", "--no-splits"}), "--no-splits", 2);
  expect_one_line(with({"--cluster", place / "cluster.yaml", "--profile", place / "none.json"}), "none.json");
  must(write_file(place / "plan.json", "{}"));
  expect_one_line(with({"--cluster", place / "cluster.yaml"}), "plan.json");
}

// What the programs choose by themselves, whatever a run of all tests forces them to.
class PlanMemory : public ::testing::Test {
 protected:
  PlanMemory() { ::unsetenv("ONNX_SPLIT_ALGORITHMS"); }
};

// ResNet18's weights, 47 MB, are 150 MB as Winograd wants them.
TEST_F(PlanMemory, ShortOfItConvolutionsThatNeedMoreAreLeftOut) {
  const Workplace place;
  const std::string model = place / "resnet18.onnx", plan = place / "plan.json";
  expect_done(place.run({"onnx-split", "zoo", "resnet18", "-o", model}));
  std::vector<std::string> choices;
  for (const char* memory : {"900MB", "100MB"}) {
    must(write_file(place / "cluster.yaml", fmt::format("devices:\n  - {{name: one, address: \"tcp://10.0.0.1:7070\", "
                                                        "memory: {}, gflops: 10}}\n",
                                                        memory)));
    expect_done(place.run({"onnx-split", "plan", model, "--cluster", place / "cluster.yaml", "-o", plan}));
    choices.push_back(must(read_file(plan)));
  }
  EXPECT_THAT(choices[0], HasSubstr("winograd"));
  EXPECT_THAT(choices[1], ::testing::Not(HasSubstr("winograd")));
  EXPECT_THAT(choices[1], HasSubstr("\"direct\""));
  const auto ample = must(parse_json(choices[0]))["prediction"], tight = must(parse_json(choices[1]))["prediction"];
  const auto value = [](const auto& prediction, const char* name) { return prediction[name].template get<double>(); };
  EXPECT_LT(value(tight, "throughput_per_s"), 0.8 * value(ample, "throughput_per_s"));
  // What it is compared with has the faster kernels, and a plan with some of them wasn't looked for.
  EXPECT_DOUBLE_EQ(value(tight, "single_per_s"), value(ample, "single_per_s"));
  EXPECT_DOUBLE_EQ(value(tight, "bound_per_s"), value(ample, "bound_per_s"));
  EXPECT_FALSE(tight["optimal"].get<bool>());
  // So says who predicts it anew.
  expect_done(place.run(
      {"onnx-split", "plan", model, "--cluster", place / "cluster.yaml", "--plan", plan, "-o", place / "again.json"}));
  EXPECT_EQ(must(parse_json(must(read_file(place / "again.json"))))["prediction"], tight);
}

TEST_F(PlanMemory, HalfWeightsAreCountedAsTheyAre) {
  const Workplace place;
  const std::string model = place / "alexnet.onnx";
  expect_done(place.run({"onnx-split", "zoo", "alexnet", "-o", model}));
  must(write_file(place / "cluster.yaml",
                  "devices:\n  - {name: one, address: \"tcp://10.0.0.1:7070\", memory: 180MB, gflops: 10}\n"));
  const auto plan = [&](std::vector<std::string> more) {
    std::vector<std::string> words = {"onnx-split",       "plan", model, "--cluster", place / "cluster.yaml", "-o",
                                      place / "plan.json"};
    words.insert(words.end(), more.begin(), more.end());
    return place.run(words);
  };
  expect_one_line(plan({}), "no plan was found that fits in memory");
  expect_done(plan({"--weights", "fp16"}));
  EXPECT_THAT(must(read_file(place / "plan.json")), HasSubstr("gemv weights=fp16"));
}

TEST(Simulate, KeepsTheJsonContractOfBench) {
  const Workplace place;
  expect_done(plan_digits(place));
  for (const char* scenario : {"single-stream", "offline", "server"}) {
    std::vector<std::string> words = {"onnx-split", "simulate", "--plan", place / "plan.json", "--scenario", scenario,
                                      "--requests", "50",       "--json"};
    if (std::string(scenario) == "server") words.insert(words.end(), {"--rate", "50", "--seed", "7"});
    const Outcome outcome = place.run(words);
    expect_done(outcome);
    const Json json = must(parse_json(outcome.out));
    for (const char* key : {"model", "scenario", "requests", "throughput_per_s", "latency_ms", "busy"}) {
      EXPECT_TRUE(json.contains(key)) << key;
    }
    for (const char* key : {"min", "mean", "p50", "p90", "p99", "max"})
      EXPECT_TRUE(json["latency_ms"].contains(key)) << key;
    EXPECT_EQ(json["requests"], 50);
    EXPECT_EQ(json["busy"].size(), 3U);
    EXPECT_EQ(json["busy"][0]["device"], "fast");  // by name, the shortest first
  }
  const Outcome text = place.run({"onnx-split", "simulate", "--plan", place / "plan.json", "--scenario", "offline"});
  expect_done(text);
  for (const char* part : {"throughput  ", "latency     min ", "busiest devices", "fast"})
    EXPECT_THAT(text.out, HasSubstr(part));
}

TEST(Simulate, ErrorsNameTheFile) {
  const Workplace place;
  expect_one_line(place.run({"onnx-split", "simulate", "--plan", place / "none.json"}), "none.json: cannot open");
  expect_done(plan_digits(place));
  const Json good = must(parse_json(must(read_file(place / "plan.json"))));
  Json plan = good;
  plan["prediction"]["rates"].erase(0);
  must(write_file(place / "plan.json", to_text(plan)));
  expect_one_line(place.run({"onnx-split", "simulate", "--plan", place / "plan.json"}),
                  "plan.json: prediction.rates: expected one for each of 3 devices, found 2");
  expect_one_line(place.run({"onnx-split", "inspect", kDigits, "--plan", place / "plan.json"}),
                  "plan.json: prediction.rates: expected one for each of 3 devices, found 2");
  plan = good;
  plan["stages"][0]["schedule"] = {1000};
  must(write_file(place / "plan.json", to_text(plan)));
  expect_one_line(place.run({"onnx-split", "simulate", "--plan", place / "plan.json"}),
                  "plan.json: stage 0: part 0: the schedule");
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"--scenario", "server"},
                                             {"--rate", "5"},
                                             {"--scenario", "often"},
                                             {"--requests", "0"},
                                             {"--scenario", "server", "--rate", "0"}}) {
    std::vector<std::string> all = {"onnx-split", "simulate", "--plan", place / "plan.json"};
    all.insert(all.end(), words.begin(), words.end());
    expect_one_line(place.run(all), "onnx-split: ", 2);
  }
}

TEST(PlanErrors, SayWhatIsWrongWhere) {
  const Workplace place;
  expect_one_line(plan_digits(place, {"--objective", "beauty"}), "--objective: beauty not in {throughput,latency}", 2);
  expect_one_line(plan_digits(place, {"--max-latency-ms", "0.001"}),
                  "no plan was found with a latency of 0.0 ms: the quickest takes ");
  expect_one_line(plan_digits(place, {"--svg", place / "none/plan.svg"}), "none/plan.svg");
  const struct {
    const char* cluster;
    const char* message;
  } cases[] = {
      {"devices:\n  - {name: a, address: x, memory: 20MB}\n  - {name: b, address: y, memory: 21MB}\n",
       "no plan was found that fits in memory; the nearest lacks "},
      {"devices:\n  - {name: a, address: x}\nlink:\n  bandwidth_mbps: 0\n", "cluster.yaml:4: link.bandwidth_mbps: "},
      {"devices:\n  - {name: a, address: x}\ncoordinator:\n  latency_ms: 1\n",
       "cluster.yaml:4: coordinator.latency_ms: "},
      {"devices:\n  - {name: a, address: x}\nlink:\n  latency_ms: -1\n", "cluster.yaml:4: link.latency_ms: "},
      {"devices:\n  - {name: a, address: x, memory: 0MB}\n", "cluster.yaml:2: devices[0].memory: "},
      {"devices:\n  - {name: a, address: x, gflops: 0}\n", "cluster.yaml:2: devices[0].gflops: "},
      {"devices:\n  - {name: a, address: x}\nlinks:\n  - {from: a, to: b}\n", "cluster.yaml:4: links[0].to: no device"},
      {"devices:\n  - {name: a, address: x}\nlinks:\n  - {from: a, to: a, bandwidth_mbps: 0}\n",
       "cluster.yaml:4: links[0].bandwidth_mbps: "}};
  for (const auto& one : cases) {
    must(write_file(place / "cluster.yaml", one.cluster));
    expect_one_line(
        place.run({"onnx-split", "plan", kDigits, "--cluster", place / "cluster.yaml", "-o", place / "plan.json"}),
        one.message);
  }
  must(write_file(place / "cluster.yaml", cases[0].cluster));
  const Outcome outcome =
      place.run({"onnx-split", "plan", kDigits, "--cluster", place / "cluster.yaml", "-o", place / "plan.json"});
  EXPECT_THAT(outcome.err, HasSubstr(" would need "));
  EXPECT_THAT(outcome.err, HasSubstr(" MB and has 2"));
}

TEST(PlanErrors, OfProfilesNameTheFileAndTheField) {
  const Workplace place;
  must(write_file(place / "profile.json",
                  "{\"format\": 1, \"model\": \"net\", \"fingerprint\": \"0\", \"devices\": [], \"links\": []}"));
  expect_one_line(plan_digits(place, {"--profile", place / "profile.json"}), "profile.json: ");
  expect_one_line(plan_digits(place, {"--profile", place / "none.json"}), "none.json: cannot open");
  // Of another model.
  expect_done(place.run({"onnx-split", "profile", kDigits, "-o", place / "profile.json"}));
  Json profile = must(parse_json(must(read_file(place / "profile.json"))));
  profile["fingerprint"] = "0123456789abcdef";
  must(write_file(place / "profile.json", to_text(profile)));
  const Outcome outcome = plan_digits(place, {"--profile", place / "profile.json"});
  expect_one_line(outcome, "profile.json: ");
  EXPECT_THAT(outcome.err, HasSubstr("fingerprint"));
}

}  // namespace
}  // namespace onnx_split::testing
