// What plans cost: the cost model against itself, against sums made here, and against the finished plan's prediction.
#include "partition/cost.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>

#include "partition/extract.h"
#include "partition/predict.h"
#include "partition/predicted_plan.h"
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
    if (!is_limited && cost.bottleneck.kind != Bottleneck::Kind::kWindow) {
      expect_near(cost.period_s, busiest_s, "period");
    }
  });
  EXPECT_GT(undivided, 100);
  EXPECT_GT(repeated, 100);
}

bool is_chain(const Graph& graph) {
  const auto is_used_once = [](const Value& value) { return value.constant || value.consumers.size() <= 1; };
  return graph.inputs().size() == 1 && graph.outputs().size() == 1 &&
         std::all_of(graph.values().begin(), graph.values().end(), is_used_once);
}

// How far predictions are from the cost, as shares of the cost.
class Differences {
 public:
  void add(const char* what, double predicted, double cost, double whole) {
    all_[what].push_back(std::abs(predicted - cost) / std::max(whole, 1e-12));
  }
  double quantile(const char* what, double share) {
    std::vector<double>& some = all_.at(what);
    std::sort(some.begin(), some.end());
    return some[static_cast<std::size_t>(share * static_cast<double>(some.size() - 1))];
  }
  void print() {
    for (const auto& [what, some] : all_) {
      fmt::print("{}: {}, median {:.5f} 95 % {:.5f} 99 % {:.5f} worst {:.5f}\n", what, some.size(),
                 quantile(what.c_str(), 0.5), quantile(what.c_str(), 0.95), quantile(what.c_str(), 0.99),
                 quantile(what.c_str(), 1.0));
    }
  }

 private:
  std::map<std::string, std::vector<double>> all_;
};

// Of a plan and its rivals the one is made whose prediction is best, in whatever order they come.
TEST(Cost, OfAPlanAndItsRivalsTheBestPredictedIsMade) {
  int taken = 0;
  for (std::uint64_t seed = 0; seed < instance_count(100); ++seed) {
    const auto problem = small_problem(seed);
    const SearchOptions options = problem->options();
    const auto found = search(problem->cost, options);
    if (!found) continue;
    const Graph& graph = problem->instance.graph;
    const auto value = [&](const Candidate& candidate) {
      SearchResult alone;
      alone.candidate = candidate;
      const auto plan = predicted_plan(graph, problem->cost, alone, options, {});
      if (!plan) {
        EXPECT_EQ(plan.error().code, ErrorCode::kExhausted) << plan.error().message;
        return std::numeric_limits<double>::infinity();
      }
      const Prediction& prediction = *plan->prediction;
      return options.objective == Objective::kLatency ? prediction.latency_s : 1.0 / prediction.throughput_per_s;
    };
    for (const Candidate& rival : found->rivals) {
      ASSERT_FALSE(rival == found->candidate) << seed;
      ASSERT_TRUE(is_allowed(problem->cost.of(rival), options)) << seed;
      if (options.max_latency_s > 0.0) continue;
      // The wrong way round.
      SearchResult swapped;
      swapped.candidate = rival;
      swapped.rivals = {found->candidate};
      swapped.exact = true;
      const double rival_s = value(rival);
      if (std::isinf(std::min(rival_s, value(found->candidate)))) continue;  // counted exactly, neither fits
      const Prediction prediction = *must(predicted_plan(graph, problem->cost, swapped, options, {})).prediction;
      const double made_s =
          options.objective == Objective::kLatency ? prediction.latency_s : 1.0 / prediction.throughput_per_s;
      EXPECT_LE(made_s, std::min(rival_s, value(found->candidate) * 1.0051)) << seed;
      EXPECT_EQ(prediction.optimal, made_s == rival_s) << seed;
      taken += made_s < rival_s ? 1 : 0;
    }
  }
  EXPECT_GT(taken, 20);
}

// The prediction goes through the plan's own transfers and schedules. It differs from the cost where schedules meet
// (the cost has every replica meet every other), by the half percent that schedules are allowed, where three or more
// parts of a device need different boxes of a value, and in the latency by the order in which messages pass where a
// part sends several, and by what it is the mean of.
TEST(Cost, IsWhatTheFinishedPlanIsPredictedToTake) {
  Differences differences;
  int plans = 0, too_large = 0;
  for_some_plans(instance_count(200), [&](const Problem& problem, const Candidate& candidate) {
    SearchResult found;
    found.candidate = candidate;
    found.cost = problem.cost.of(candidate);
    const Graph& graph = problem.instance.graph;
    SearchOptions unlimited = problem.options();
    unlimited.max_latency_s = 0.0;
    auto made = predicted_plan(graph, problem.cost, found, unlimited, {});
    const bool fits = found.cost.missing_bytes == 0;
    plans += fits ? 1 : 0;
    ClusterModel roomy = problem.instance.model;
    StageShapes shapes(graph, roomy, problem.instance.cuts);
    if (!made && made.error().code == ErrorCode::kExhausted) {  // counted exactly it lacks memory
      too_large += fits ? 1 : 0;
      for (DeviceModel& device : roomy.devices) device.memory_bytes = 0;
      const CostModel cost(roomy, shapes);
      found.cost = cost.of(candidate);
      made = predicted_plan(graph, cost, found, unlimited, {});
    }
    const Plan plan = must(std::move(made));
    must(check_plan(plan, graph));
    must(check_parts(graph, plan));
    ASSERT_EQ(plan.stages.size(), candidate.size());
    EXPECT_LE(plan.window, found.cost.window);
    // Less than keeps all devices busy only where there is no room for more, by the cost or counted exactly.
    if (plan.window < std::min(least_window(candidate), found.cost.window)) {
      Plan wider = plan;
      ++wider.window;
      must(predict(graph, problem.instance.model, wider));
      EXPECT_NE(missing_memory(problem.instance.model, wider.prediction->loads), "");
    }
    std::size_t node = 0;
    bool has_replicas = false;
    for (std::size_t s = 0; s < candidate.size(); ++s) {
      EXPECT_EQ(division_of(plan.stages[s]), candidate[s].division);
      EXPECT_EQ(graph.find_node(plan.stages[s].nodes.front())->index(), node);
      EXPECT_EQ(plan.stages[s].nodes.size(), candidate[s].end - candidate[s].begin);
      node += plan.stages[s].nodes.size();
      has_replicas = has_replicas || candidate[s].replicas > 1;
    }
    const Prediction& prediction = *plan.prediction;
    const Cost& cost = found.cost;
    const char* loads = has_replicas ? "loads with replicas" : "loads";
    for (std::size_t d = 0; d < cost.devices.size(); ++d) {
      const DeviceLoad& a = prediction.loads[d];
      const DeviceLoad& b = cost.devices[d];
      differences.add(loads, a.compute_s, b.compute_s, cost.period_s);
      differences.add(loads, a.receive_s, b.receive_s, cost.period_s);
      differences.add(loads, a.send_s, b.send_s, cost.period_s);
      differences.add(loads, a.up_s, b.up_s, cost.period_s);
      differences.add(loads, a.down_s, b.down_s, cost.period_s);
      // The plan's window may be smaller. But a schedule may mix a little less evenly than the cost takes it to, so
      // that one request more waits; and a mean's divisor counts among a part's weights.
      std::int64_t more_bytes = 0;
      for (const PartId id : part_ids(plan)) {
        const Part& part = plan.stages[id.stage].parts[id.part];
        if (std::find(part.devices.begin(), part.devices.end(), d) == part.devices.end()) continue;
        more_bytes += 4;
        for (const ValueRegion& input : part.inputs) {
          if (part.devices.size() > 1) more_bytes += 4 * input.region.shape().elements();
        }
      }
      // Nor does the cost know that a part copies what two of its nodes read different regions of.
      EXPECT_LE(static_cast<double>(a.memory_bytes), 1.2 * static_cast<double>(b.memory_bytes + more_bytes));
      if (!has_replicas && plan.window == cost.window) {
        differences.add("memory", static_cast<double>(a.memory_bytes), static_cast<double>(b.memory_bytes),
                        static_cast<double>(b.memory_bytes));
      }
      EXPECT_GE(a.memory_bytes == 0, b.memory_bytes == 0);
    }
    const char* latency = has_replicas ? "latency with replicas" : is_chain(graph) ? "latency of chains" : "latency";
    differences.add(latency, prediction.latency_s, cost.latency_s, cost.latency_s);
    // Where a window limits, the simulation has the last word.
    const bool by_window =
        cost.bottleneck.kind == Bottleneck::Kind::kWindow || prediction.bottleneck.find("window") != std::string::npos;
    if (!by_window) differences.add("period", 1.0 / prediction.throughput_per_s, cost.period_s, cost.period_s);
  });
  if (std::getenv("ONNX_SPLIT_VERBOSE") != nullptr) differences.print();
  EXPECT_LT(too_large, plans / 10);
  EXPECT_LT(differences.quantile("memory", 0.95), 1e-9);
  EXPECT_LT(differences.quantile("period", 0.99), 0.01);
  EXPECT_LT(differences.quantile("loads", 0.99), 1e-9);
  EXPECT_LT(differences.quantile("loads with replicas", 0.95), 0.005);
  EXPECT_LT(differences.quantile("latency of chains", 0.95), 0.02);
  EXPECT_LT(differences.quantile("latency", 0.9), 0.1);
  EXPECT_LT(differences.quantile("latency with replicas", 0.5), 0.1);
}

}  // namespace
}  // namespace onnx_split
