#include "partition/predicted_plan.h"

#include <algorithm>

#include "partition/predict.h"
#include "partition/simulate.h"

namespace onnx_split {
namespace {

// The smallest window, at least `least` and at most the plan's, with which the plan comes within three percent of the
// throughput that it has with the largest, even where devices waver much, and half of it more: memory is cheaper than
// waiting for whoever is slow just now, and for longer than the simulation knows.
Expected<std::size_t> sufficient_window(Plan plan, std::size_t least) {
  constexpr double kEnough = 0.97;
  constexpr double kWavering = 0.3;
  const auto rate = [&](std::size_t window) -> Expected<double> {
    plan.window = window;
    TRY_ASSIGN(const SimulationReport report,
               simulate(plan, {Scenario::kOffline, 0.0, offline_requests(window), 1, kWavering}));
    return report.throughput_per_s;
  };
  const std::size_t most = plan.window;
  std::size_t high = most, low = std::min(least, high);
  TRY_ASSIGN(const double best, rate(high));
  while (low < high) {
    const std::size_t middle = (low + high) / 2;
    TRY_ASSIGN(const double now, rate(middle));
    if (now >= kEnough * best) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return std::min(most, low + low / 2);
}

// Predicts the plan with the largest window up to its own for which there is memory; with 1 if there is for none.
Expected<void> fit_window(const Graph& graph, const ClusterModel& model, Plan& plan) {
  const auto fits = [&] { return missing_memory(model, plan.prediction->loads).empty(); };
  TRY(predict(graph, model, plan));
  if (plan.window == 1 || fits()) return {};
  std::size_t low = 1, high = plan.window - 1;
  while (low < high) {
    plan.window = (low + high + 1) / 2;
    TRY(predict(graph, model, plan));
    if (fits()) {
      low = plan.window;
    } else {
      high = plan.window - 1;
    }
  }
  if (plan.window == low) return {};
  plan.window = low;
  return predict(graph, model, plan);
}

// From a plan with as large a window as could be of use to one with the smallest that is enough and fits, predicted.
// `least` keeps all devices busy; it is less only where there isn't the memory.
Expected<void> choose_window(const Graph& graph, const ClusterModel& model, std::size_t least, Plan& plan) {
  TRY(fit_window(graph, model, plan));
  TRY_ASSIGN(const std::size_t window, sufficient_window(plan, least));
  if (window == plan.window) return {};
  plan.window = window;
  return predict(graph, model, plan);
}

Expected<Plan> plan_of(const Graph& graph, const CostModel& cost, const Candidate& candidate,
                       const EngineFacts& engine) {
  const Cost of = cost.of(candidate);
  PlanRequest request;
  for (const DeviceModel& device : cost.model().devices) request.devices.push_back(device.name);
  request.engine = engine;
  request.window = of.window;
  std::vector<std::vector<std::size_t>> schedules;
  for (const std::vector<double>& shares : of.shares) schedules.push_back(make_schedule(shares));
  TRY_ASSIGN(Plan plan, make_plan(graph, request, cost.shapes(), candidate, std::move(schedules)));
  TRY(choose_window(graph, cost.model(), least_window(candidate), plan));
  return plan;
}

// kExhausted: what it lacks.
Expected<void> check_limits(const ClusterModel& model, const Plan& plan, double max_latency_s) {
  const std::string missing = missing_memory(model, plan.prediction->loads);
  if (!missing.empty()) return fail(ErrorCode::kExhausted, "the plan doesn't fit in memory: {}", missing);
  if (max_latency_s <= 0.0 || plan.prediction->latency_s <= max_latency_s) return {};
  return fail(ErrorCode::kExhausted,
              "no plan was found with a latency of {:.1f} ms: the best by averages takes {:.1f} ms",
              max_latency_s * 1e3, plan.prediction->latency_s * 1e3);
}

}  // namespace

Expected<Plan> predicted_plan(const Graph& graph, const CostModel& cost, const SearchResult& found,
                              const SearchOptions& options, const EngineFacts& engine) {
  // What a rival must gain to be taken: less may be the simulation's chance.
  constexpr double kBetter = 1.005;
  TRY_ASSIGN(Plan plan, plan_of(graph, cost, found.candidate, engine));
  auto allowed = check_limits(cost.model(), plan, options.max_latency_s);
  bool is_optimal = found.exact && options.max_latency_s <= 0.0;
  const auto try_instead = [&](const Candidate& candidate) -> Expected<void> {
    if (options.gives_up()) return fail(ErrorCode::kCancelled, "interrupted");
    TRY_ASSIGN(Plan other, plan_of(graph, cost, candidate, engine));
    if (!check_limits(cost.model(), other, options.max_latency_s)) return {};
    const Prediction &now = *plan.prediction, &then = *other.prediction;
    const bool is_better = options.objective == Objective::kLatency
                               ? kBetter * then.latency_s < now.latency_s
                               : then.throughput_per_s > kBetter * now.throughput_per_s;
    if (allowed && !is_better) return {};
    plan = std::move(other);
    allowed = {};
    is_optimal = false;
    return {};
  };
  for (const Candidate& rival : found.rivals) TRY(try_instead(rival));
  for (const Candidate& other : found.others) {
    if (allowed) break;
    TRY(try_instead(other));
  }
  if (!allowed) return tl::unexpected(std::move(allowed.error()));
  compare_plan(cost, options, *plan.prediction);
  plan.prediction->optimal = is_optimal;
  return plan;
}

Expected<Plan> predicted_plan(const Graph& graph, const CostModel& cost, const PlanRequest& request) {
  TRY_ASSIGN(Plan plan, make_plan(graph, request));
  std::size_t servers = 0;
  for (const Stage& stage : plan.stages) servers += stage.schedule.size();
  const std::size_t least = std::min(servers, used_devices(plan).size()) + 1;
  TRY(predict(graph, cost.model(), plan));
  double period_s = 0.0;  // whatever the window
  for (const DeviceLoad& load : plan.prediction->loads)
    period_s = std::max({period_s, load.busy_s(), load.up_s, load.down_s});
  plan.window = largest_useful_window(least, plan.prediction->latency_s / std::max(period_s, 1e-12));
  TRY(choose_window(graph, cost.model(), least, plan));
  TRY(check_limits(cost.model(), plan, 0.0));
  compare_plan(cost, {}, *plan.prediction);
  return plan;
}

void compare_plan(const CostModel& cost, const SearchOptions& options, Prediction& prediction) {
  const double bound_s = period_bound_s(cost);
  prediction.bound_per_s = bound_s > 0.0 ? 1.0 / bound_s : 0.0;
  prediction.bound_latency_s = latency_bound_s(cost);
  const Single single = best_alone(cost, options);
  prediction.single_device = cost.model().devices[single.device].name;
  prediction.single_per_s = 1.0 / single.cost.period_s;
  prediction.single_latency_s = single.cost.latency_s;
  prediction.single_fits = single.cost.missing_bytes == 0;
}

}  // namespace onnx_split
