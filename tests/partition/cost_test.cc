// What plans cost: the cost model against itself, against sums made here, and against the finished plan's prediction.
#include "partition/cost.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>

#include "partition/extract.h"
#include "partition/planner.h"
#include "tests/partition/search_problem.h"

namespace onnx_split {
namespace {

using testing::describe;
using testing::Instance;
using testing::instance_count;
using testing::must;
using testing::PlanSpace;
using testing::Problem;
using testing::small_problem;

// Some plans of each of `count` small instances.
template <class Visit>
void for_some_plans(std::uint64_t count, const Visit& visit) {
  for (std::uint64_t seed = 0; seed < count; ++seed) {
    const auto problem = small_problem(seed);
    const PlanSpace space(problem->cost, problem->options());
    const auto step = static_cast<std::uint64_t>(space.count() / 4.0) + 1;
    std::uint64_t next = Random(seed).next() % step, at = 0;
    space.for_each([&](const Candidate& plan) {
      if (at++ != next) return;
      next += step;
      SCOPED_TRACE(
          fmt::format("seed {}\n{}{}", seed, describe(problem->instance), describe(plan, problem->instance.model)));
      visit(*problem, plan);
    });
  }
}

void expect_near(double found, double expected, const char* what, double tolerance = 1e-12) {
  EXPECT_NEAR(found, expected, tolerance * std::max(std::abs(expected), 1e-9)) << what;
}

TEST(Cost, DoesNotDependOnTheOrderOfTheDevices) {
  for_some_plans(150, [](const Problem& problem, const Candidate& plan) {
    const std::size_t devices = problem.instance.model.devices.size();
    std::vector<std::size_t> reversed(devices);
    for (std::size_t d = 0; d < devices; ++d) reversed[d] = devices - 1 - d;
    Instance instance = problem.instance;
    instance.model = testing::listed_as(problem.instance.model, reversed);
    const Problem other{std::move(instance)};
    Candidate same = plan;
    for (CandidateStage& stage : same) {
      for (std::size_t& d : stage.devices) d = reversed[d];
    }
    const Cost a = problem.cost.of(plan), b = other.cost.of(same);
    expect_near(b.period_s, a.period_s, "period");
    expect_near(b.latency_s, a.latency_s, "latency");
    EXPECT_EQ(b.missing_bytes, a.missing_bytes);
    EXPECT_EQ(b.window, a.window);
    for (std::size_t d = 0; d < devices; ++d) {
      EXPECT_EQ(b.devices[reversed[d]].memory_bytes, a.devices[d].memory_bytes);
      expect_near(b.devices[reversed[d]].busy_s(), a.devices[d].busy_s(), "busy");
      expect_near(b.devices[reversed[d]].up_s, a.devices[d].up_s, "up");
      expect_near(b.devices[reversed[d]].down_s, a.devices[d].down_s, "down");
    }
  });
}

TEST(Cost, AddsUpToTheTimesOfAllNodes) {
  int undivided = 0, repeated = 0;
  for_some_plans(150, [&](const Problem& problem, const Candidate& plan) {
    const Cost cost = problem.cost.of(plan);
    const std::vector<DeviceModel>& devices = problem.instance.model.devices;
    ASSERT_EQ(cost.shares.size(), plan.size());
    std::vector<double> compute_s(devices.size(), 0.0);
    bool is_divided = false;
    for (std::size_t s = 0; s < plan.size(); ++s) {
      const CandidateStage& stage = plan[s];
      expect_near(std::accumulate(cost.shares[s].begin(), cost.shares[s].end(), 0.0), 1.0, "shares");
      is_divided = is_divided || stage.division.ways > 1;
      for (std::size_t r = 0; r < stage.replicas && stage.division.ways == 1; ++r) {
        const std::size_t d = stage.devices[r];
        for (std::size_t node = stage.begin; node < stage.end; ++node) {
          compute_s[d] += cost.shares[s][r] * devices[d].times->node_s(NodeId(node));
        }
      }
    }
    double busiest_s = 0.0;
    for (std::size_t d = 0; d < devices.size(); ++d) {
      if (!is_divided) expect_near(cost.devices[d].compute_s, compute_s[d], "compute");
      busiest_s = std::max({busiest_s, cost.devices[d].busy_s(), cost.devices[d].up_s, cost.devices[d].down_s});
    }
    (is_divided ? repeated : undivided) += 1;
    EXPECT_GE(cost.period_s, busiest_s);
    const bool is_limited =
        problem.instance.model.medium_bytes_per_s > 0.0 || problem.instance.model.coordinator_bytes_per_s > 0.0;
    if (!is_limited) expect_near(cost.period_s, busiest_s, "period");
  });
  EXPECT_GT(undivided, 100);
  EXPECT_GT(repeated, 100);
}

TEST(Cost, IsWhatTheFinishedPlanIsPredictedToTake) {
  std::map<std::string, int> counts;
  std::map<std::string, std::vector<double>> ratios;
  const bool is_verbose = std::getenv("ONNX_SPLIT_VERBOSE") != nullptr;
  const auto compare = [&](const char* what, double found, double expected, double scale) {
    const double difference = std::abs(found - expected) / std::max(scale, 1e-12);
    ratios[what].push_back(difference);
    if (is_verbose && difference > 0.01) {
      ::testing::Message message;
      ADD_FAILURE() << what << " predicted " << found << " cost " << expected << " of " << scale;
    }
  };
  for_some_plans(instance_count(200), [&](const Problem& problem, const Candidate& candidate) {
    SearchResult found;
    found.candidate = candidate;
    found.cost = problem.cost.of(candidate);
    found.single = found.cost;
    const Graph& graph = problem.instance.graph;
    const Plan plan = must(make_plan(graph, problem.cost, found, problem.options(), {}));
    must(check_plan(plan, graph));
    must(check_parts(graph, plan));
    ASSERT_EQ(plan.stages.size(), candidate.size());
    EXPECT_EQ(plan.window, found.cost.window);
    for (std::size_t s = 0; s < candidate.size(); ++s) {
      EXPECT_EQ(division_of(plan.stages[s]).split, candidate[s].division.split);
      EXPECT_EQ(plan.stages[s].parts.size(), candidate[s].division.ways);
    }
    const Prediction& prediction = *plan.prediction;
    const Cost& cost = found.cost;
    for (std::size_t d = 0; d < cost.devices.size(); ++d) {
      const DeviceLoad& a = prediction.loads[d];
      const DeviceLoad& b = cost.devices[d];
      compare("compute", a.compute_s, b.compute_s, cost.period_s);
      compare("receive", a.receive_s, b.receive_s, cost.period_s);
      compare("send", a.send_s, b.send_s, cost.period_s);
      compare("up", a.up_s, b.up_s, cost.period_s);
      compare("down", a.down_s, b.down_s, cost.period_s);
      compare("memory", static_cast<double>(a.memory_bytes), static_cast<double>(b.memory_bytes),
              static_cast<double>(std::max<std::int64_t>(b.memory_bytes, 1)));
    }
    compare("latency", prediction.latency_s, cost.latency_s, cost.latency_s);
    const bool by_window = prediction.bottleneck.find("window") != std::string::npos;
    if (!by_window) compare("period", 1.0 / prediction.throughput_per_s, cost.period_s, cost.period_s);
    ++counts[by_window ? "window" : "averages"];
  });
  for (auto& [what, all] : ratios) {
    std::sort(all.begin(), all.end());
    fmt::print("{}: {} values, median {:.5f} 95 % {:.5f} 99 % {:.5f} worst {:.5f}\n", what, all.size(),
               all[all.size() / 2], all[all.size() * 95 / 100], all[all.size() * 99 / 100], all.back());
  }
  for (const auto& [what, count] : counts) fmt::print("{}: {}\n", what, count);
}

}  // namespace
}  // namespace onnx_split
