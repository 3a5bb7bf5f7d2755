// Divided stages of random networks: whatever the cuts, the splits and the devices, every cut value and every output is
// the uncut network's.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>

#include "engine/blas_core.h"
#include "engine/choice.h"
#include "engine/evaluate.h"
#include "fleet/composer.h"
#include "fleet/coordinator.h"
#include "fleet/verify.h"
#include "graph/operators.h"
#include "partition/extract.h"
#include "partition/plan_json.h"
#include "tests/fleet/plans.h"
#include "tests/fleet/runners.h"
#include "tests/support/layer_weights.h"
#include "tests/support/random_network.h"
#include "tests/support/random_plan.h"
#include "tests/support/spare_network.h"

namespace onnx_split {
namespace {

using testing::kTolerance;
using testing::layer_weights;
using testing::must;
using testing::plan_of;
using testing::random_network;
using testing::RandomPlan;
using testing::Runners;
using testing::SpareNetwork;

EngineFacts engine() {
  return {1, blas_core(), [](const Graph& graph) { return choose_all(graph, default_rule()); }};
}

Graph network_of(std::uint64_t seed, std::int64_t unit = 1) {
  return random_network(seed, 1 + static_cast<std::int64_t>(seed / 3 % 5), 1 + seed % 3, unit);
}

// Random inputs of one sign, as pictures have: an average of numbers around 0 may cancel until rounding, which depends
// on the order of a sum, is all that is left.
std::vector<Tensor> pictures(const Graph& graph, std::uint64_t seed) {
  std::vector<Tensor> inputs = testing::random_inputs(graph, seed);
  for (Tensor& input : inputs) {
    TensorBuilder builder(input.type());
    const auto x = input.as<float>();
    std::transform(x.begin(), x.end(), builder.as<float>().begin(), [](float value) { return std::abs(value); });
    input = std::move(builder).build();
  }
  return inputs;
}

bool is_undivided(const Plan& plan) {
  return std::all_of(plan.stages.begin(), plan.stages.end(),
                     [](const Stage& stage) { return stage.split == Split::kWhole; });
}

std::string describe_plan(const Plan& plan) {
  std::string text;
  for (const Stage& stage : plan.stages) {
    text += fmt::format("{} {}: {} to {}\n", split_name(stage.split), stage.parts.size(), stage.nodes.front(),
                        stage.nodes.back());
  }
  return text;
}

// ONNX_SPLIT_PLANS=N tries N plans.
std::uint64_t plan_count() {
  const char* wanted = std::getenv("ONNX_SPLIT_PLANS");
  return wanted == nullptr ? 2000 : std::strtoull(wanted, nullptr, 10);
}

TEST(Splits, EveryCutValueOfRandomPlansIsTheUncutNetworks) {
  std::map<Split, int> stages;
  const std::uint64_t count = plan_count();
  for (std::uint64_t seed = 0; seed < count; ++seed) {
    const Graph graph = network_of(seed);
    const Plan plan = RandomPlan(graph, seed, engine()).make();
    for (const Stage& stage : plan.stages) ++stages[stage.split];
    SessionOptions options;
    options.choices = plan.choices;
    Composer composer = must(Composer::create(graph, plan, options));
    const VerifyReport report = must(verify(graph, composer, pictures(graph, seed), options));
    ASSERT_LE(report.worst().relative(), kTolerance) << "seed " << seed << ": " << report.worst().value << "\n"
                                                     << describe_plan(plan);
    if (is_undivided(plan)) {
      ASSERT_TRUE(report.bitwise_equal()) << "seed " << seed;
    }
  }
  for (const Split split :
       {Split::kWhole, Split::kSpatial, Split::kOutputChannel, Split::kInputChannel, Split::kChannelPair}) {
    EXPECT_GE(stages[split], static_cast<int>(count / 20)) << split_name(split);
  }
}

TEST(Splits, PartsOfChannelSplitsHoldEveryWeightOnce) {
  int checked = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    const Graph graph = network_of(seed);
    const Plan plan = RandomPlan(graph, seed, engine()).make();
    const auto whole = layer_weights(graph);
    const std::vector<PartGraph> parts = must(extract_parts(graph, plan));
    for (std::size_t s = 0; s < plan.stages.size(); ++s) {
      const Split split = plan.stages[s].split;
      if (split == Split::kWhole || split == Split::kSpatial) continue;
      std::map<std::string, std::int64_t> sum;
      for (const PartGraph& part : parts) {
        if (part.id.stage != s) continue;
        for (const auto& [name, elements] : layer_weights(part.graph)) sum[name] += elements;
      }
      for (const auto& [name, elements] : sum) {
        EXPECT_EQ(elements, whole.at(name)) << "seed " << seed << " " << name << "\n" << describe_plan(plan);
        ++checked;
      }
    }
  }
  EXPECT_GE(checked, 200);
}

// Those that are no range of the graph's own, in one stage.
std::uint64_t bytes_of_copies(const Graph& graph, const std::vector<PartGraph>& parts) {
  const auto is_in = [](std::span<const std::byte> inner, std::span<const std::byte> outer) {
    return inner.data() >= outer.data() && inner.data() + inner.size() <= outer.data() + outer.size();
  };
  std::uint64_t bytes = 0;
  for (const PartGraph& part : parts) {
    for (const Value& value : part.graph.values()) {
      if (!value.constant) continue;
      const auto own = value.constant->buffer().bytes();
      const bool shared = std::any_of(graph.values().begin(), graph.values().end(), [&](const Value& of_graph) {
        return of_graph.constant && is_in(own, of_graph.constant->buffer().bytes());
      });
      bytes += shared ? 0 : own.size();
    }
  }
  return bytes;
}

TEST(Splits, WeightsThatArePartsOwnCopiesAreCounted) {
  std::map<Split, int> with_copies;
  const auto check = [&](const Graph& graph, const Plan& plan) {
    const std::vector<std::int64_t> units = channel_units(graph);
    std::uint64_t of_graph = 0;
    for (const Value& value : graph.values()) of_graph += value.constant ? value.type.size_bytes() : 0;
    for (std::size_t s = 0; s < plan.stages.size(); ++s) {
      const std::uint64_t copies = bytes_of_copies(graph, must(extract_stage(graph, plan, s, units)));
      const std::uint64_t counted = must(copied_weight_bytes(graph, plan, s, units));
      EXPECT_LE(copies, counted) << s << "\n" << describe_plan(plan);
      if (plan.stages[s].split == Split::kWhole) {
        EXPECT_EQ(counted, 0U);
      }
      EXPECT_LE(counted, of_graph * plan.stages[s].parts.size());
      with_copies[plan.stages[s].split] += copies > 0 ? 1 : 0;
    }
  };
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    const Graph graph = network_of(seed);
    check(graph, RandomPlan(graph, seed, engine()).make());
  }
  for (const Split split : {Split::kOutputChannel, Split::kInputChannel}) EXPECT_GE(with_copies[split], 5);
  const Graph network = SpareNetwork::make(3, 8);
  const int before = with_copies[Split::kOutputChannel];
  for (const std::string layer : {"b", "c"}) check(network, plan_of(network, 4, SpareNetwork::parity_stages(layer, 2)));
  EXPECT_EQ(with_copies[Split::kOutputChannel], before + 2);
}

TEST(Splits, SurviveJsonAndAreCheckedAgainstTheirDivision) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const Graph graph = network_of(seed);
    const Plan plan = RandomPlan(graph, seed, engine()).make();
    const Json json = plan_to_json(plan);
    EXPECT_EQ(must(plan_from_json(must(parse_json(json.dump())))), plan);
    must(check_parts(graph, plan));
    if (is_undivided(plan)) continue;
    Plan damaged = plan;
    for (Stage& stage : damaged.stages) {
      if (stage.split == Split::kSpatial) std::swap(stage.parts.front().outputs, stage.parts.back().outputs);
    }
    if (damaged != plan) {
      EXPECT_FALSE(extract_parts(graph, damaged).has_value()) << "seed " << seed;
      EXPECT_FALSE(check_parts(graph, damaged).has_value()) << "seed " << seed;
    }
  }
}

// Submits `count` requests at once and compares each answer, in the order of submission.
void expect_answers(const Graph& graph, Coordinator& coordinator, std::uint64_t count, double tolerance) {
  std::vector<std::future<Result>> pending;
  for (std::uint64_t seed = 0; seed < count; ++seed) {
    pending.push_back(coordinator.submit(pictures(graph, seed)));
  }
  for (std::uint64_t seed = 0; seed < count; ++seed) {
    const std::vector<Tensor> outputs = must(pending[seed].get());
    const std::vector<Tensor> expected = must(evaluate_once(graph, pictures(graph, seed)));
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const ValueError error = compare("", outputs[i], expected[i]);
      EXPECT_LE(error.relative(), tolerance) << "request " << seed << " output " << i;
      if (tolerance == 0.0) {
        EXPECT_TRUE(error.bitwise_equal);
      }
    }
  }
}

// On as many of the runners as the plan has devices.
std::unique_ptr<Coordinator> deploy(const Graph& graph, const Plan& plan, const Runners& runners) {
  std::vector<std::string> urls = runners.urls();
  urls.resize(plan.devices.size());
  return must(Coordinator::deploy(graph, plan, urls));
}

TEST(Splits, FleetsGiveTheAnswersInTheOrderOfSubmission) {
  const Runners runners(8);
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const Graph graph = network_of(seed);
    const Plan plan = RandomPlan(graph, seed, engine(), 3).make();
    const auto coordinator = deploy(graph, plan, runners);
    SCOPED_TRACE(fmt::format("seed {}\n{}", seed, describe_plan(plan)));
    expect_answers(graph, *coordinator, 15, is_undivided(plan) ? 0.0 : kTolerance);
  }
}

// Many of their channels are full blocks, so that pieces of what crosses stay in the kernels' layout.
TEST(Splits, FleetsOfWideNetworksGiveTheAnswers) {
  const Runners runners(8);
  std::map<Split, int> readers;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const Graph graph = network_of(seed, 16);
    const Plan plan = RandomPlan(graph, seed, engine(), 3).make();
    const Deployment deployment = testing::deployment_of(graph, plan);
    for (const Stage& stage : plan.stages) {
      for (const ValueRegion& input : stage.parts.front().inputs) {
        readers[stage.split] += deployment.layout_of(input.value) == Layout::kBlocked ? 1 : 0;
      }
    }
    const auto coordinator = deploy(graph, plan, runners);
    SCOPED_TRACE(fmt::format("seed {}\n{}", seed, describe_plan(plan)));
    expect_answers(graph, *coordinator, 5, is_undivided(plan) ? 0.0 : kTolerance);
  }
  for (const Split split :
       {Split::kWhole, Split::kSpatial, Split::kOutputChannel, Split::kInputChannel, Split::kChannelPair}) {
    EXPECT_GE(readers[split], 3) << split_name(split);
  }
}

TEST(Splits, PayloadOnTheWireIsWhatThePlanPredicts) {
  const Runners runners(8);
  constexpr std::uint64_t kRequests = 4;
  for (std::uint64_t seed = 100; seed < 130; ++seed) {
    const Graph graph = network_of(seed);
    const Plan plan = RandomPlan(graph, seed, engine(), 1).make();
    const auto coordinator = deploy(graph, plan, runners);
    expect_answers(graph, *coordinator, kRequests, kTolerance);
    const std::vector<Json> status = must(coordinator->runner_status());
    for (std::size_t device = 0; device < status.size(); ++device) {
      if (status[device].is_null()) continue;
      std::int64_t received = 0;
      std::int64_t sent = 0;
      for (const PartId id : part_ids(plan)) {
        const Part& part = plan.stages[id.stage].parts[id.part];
        if (part.devices.front() != device) continue;
        received += part.received_bytes * static_cast<std::int64_t>(kRequests);
        sent += part.sent_bytes * static_cast<std::int64_t>(kRequests);
      }
      EXPECT_EQ(status[device]["payload_bytes_received"], received) << "seed " << seed << "\n" << describe_plan(plan);
      EXPECT_EQ(status[device]["payload_bytes_sent"], sent) << "seed " << seed << "\n" << describe_plan(plan);
    }
  }
}

}  // namespace
}  // namespace onnx_split
