#include "cli/planning.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>

#include "cli/interrupt.h"
#include "cli/model.h"
#include "engine/weight_memory.h"
#include "fleet/local_fleet.h"
#include "partition/plan_json.h"
#include "partition/predict.h"
#include "partition/predicted_plan.h"
#include "partition/profile_json.h"
#include "partition/spares.h"

namespace onnx_split {
namespace {

Expected<std::optional<Profile>> profile_of(const Graph& graph, const std::string& path) {
  if (path.empty()) return std::nullopt;
  TRY_ASSIGN(Profile profile, read_profile(path));
  auto checked = check_profile(profile, graph);
  if (!checked) return fail_in(path, std::move(checked.error()));
  return profile;
}

Expected<Plan> by_hand(const Graph& graph, const Cluster& cluster, const ClusterModel& model, const EngineFacts& engine,
                       const std::string& stages_path) {
  PlanRequest request;
  for (const Device& device : cluster.devices) {
    request.devices.push_back(device.name);
    request.gflops.push_back(device.gflops);
  }
  TRY_ASSIGN(request.stages, read_stages_file(stages_path));
  request.engine = engine;
  StageShapes shapes(graph, model, candidate_cuts(graph, kMostCuts));
  auto plan = predicted_plan(graph, CostModel(model, shapes), request);
  if (!plan) return fail_in(stages_path, std::move(plan.error()));
  return plan;
}

Expected<Plan> best_plan(const Graph& graph, const ClusterModel& model, const SearchOptions& options,
                         const EngineFacts& engine) {
  StageShapes shapes(graph, model, candidate_cuts(graph, kMostCuts));
  const CostModel cost(model, shapes);
  TRY_ASSIGN(const SearchResult found, search(cost, options));
  return predicted_plan(graph, cost, found, options, engine);
}

void use_rule(ClusterModel& model, const ChoiceRule& rule) {
  model.laid_out_weight_bytes = [rule](OpType op, const OpCall& call) { return laid_out_weight_bytes(op, call, rule); };
}

// From times of what the rule chooses to times of these choices.
Expected<void> slow_down(const Graph& graph, ClusterModel& model, const ChoiceRule& rule,
                         const KernelChoices& choices) {
  std::vector<double> factors(graph.node_count(), 1.0);
  for (std::size_t i = 0; i < factors.size(); ++i) {
    const Node& node = graph.nodes()[i];
    const auto chosen = choices.find(node.name);
    if (!has_choice(node.op) || chosen == choices.end()) continue;
    const std::vector<TensorType> types = input_types(graph, node);
    const OpCall call{node.attributes, types, node.outputs.size()};
    TRY_ASSIGN(const Choice choice, parse_choice(node.op, call, chosen->second));
    factors[i] = relative_time(node.op, call, choose(node.op, call, rule), choice);
  }
  std::map<const NodeTimes*, std::shared_ptr<const NodeTimes>> slower;
  for (DeviceModel& device : model.devices) {
    std::shared_ptr<const NodeTimes>& times = slower[device.times.get()];
    if (times == nullptr) times = std::make_shared<const NodeTimes>(device.times->scaled(factors));
    device.times = times;
  }
  return {};
}

// Whether the weights as the rule lays them out take more than half of what memory the devices have together.
bool is_tight(const Graph& graph, const ClusterModel& model, const ChoiceRule& rule) {
  double memory = 0.0;
  for (const DeviceModel& device : model.devices) {
    if (device.memory_bytes == 0) return false;
    memory += static_cast<double>(device.memory_bytes - device.idle_bytes);
  }
  return static_cast<double>(weight_memory(graph, rule).bytes()) > 0.5 * memory;
}

bool is_better(const Plan& plan, const Plan& other, Objective objective) {
  const Prediction &a = *plan.prediction, &b = *other.prediction;
  return objective == Objective::kLatency ? a.latency_s < b.latency_s : a.throughput_per_s > b.throughput_per_s;
}

}  // namespace

void add_planning_options(CLI::App& command, PlanningOptions& options) {
  command.add_option("--profile", options.profile_path, "what `onnx-split profile` has measured on these devices")
      ->type_name("FILE");
  command.add_option("--objective", options.objective, "throughput of many requests, or latency of a single one")
      ->check(CLI::IsMember({"throughput", "latency"}))
      ->capture_default_str();
  command.add_option("--max-latency-ms", options.max_latency_ms, "with throughput: only plans as quick as this")
      ->type_name("X")
      ->check(CLI::PositiveNumber);
  command.add_flag("--no-replicas", options.no_replicas, "no two devices with the same part");
  command.add_flag("--no-splits", options.no_splits, "stages of whole layers only");
  command
      .add_option("--spares", options.spares,
                  "keep the last N devices back, and give them spare parts of what the others compute (parity or "
                  "standby), so that the loss of a device of these stages costs no waiting")
      ->type_name("N")
      ->capture_default_str();
  command.add_option("--stages", options.stages_path, "cut and divided by hand as this file says")->type_name("FILE");
}

Cluster local_cluster(std::size_t devices, unsigned threads) {
  Cluster cluster;
  for (std::size_t i = 0; i < devices; ++i) {
    Device& device = cluster.devices.emplace_back();
    device.name = LocalFleet::device_name(i);
    device.threads = threads;
  }
  // Loopback.
  cluster.link = {10'000.0, 0.1};
  return cluster;
}

Cluster only_devices(Cluster cluster, const std::vector<std::string>& names) {
  const auto is_kept = [&](const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  std::erase_if(cluster.devices, [&](const Device& device) { return !is_kept(device.name); });
  std::erase_if(cluster.links, [&](const LinkException& link) { return !is_kept(link.from) || !is_kept(link.to); });
  return cluster;
}

namespace {

// With the times, and the weights, of what the rule chooses.
Expected<ClusterModel> model_of(const Graph& graph, const Cluster& cluster, const PlanningOptions& options,
                                const ChoiceRule& rule) {
  TRY_ASSIGN(const std::optional<Profile> profile, profile_of(graph, options.profile_path));
  auto model = make_cluster_model(graph, cluster, profile ? &*profile : nullptr);
  if (!model) return fail_in(options.profile_path, std::move(model.error()));
  // Profiles, and speeds that a cluster file gives, are of this machine's rule.
  TRY(slow_down(graph, *model, default_rule(), choose_all(graph, rule)));
  use_rule(*model, rule);
  return model;
}

// The planning options must live as long.
SearchOptions search_options_of(const PlanningOptions& options) {
  SearchOptions search_options;
  search_options.objective = options.objective == "latency" ? Objective::kLatency : Objective::kThroughput;
  search_options.max_latency_s = options.max_latency_ms * 1e-3;
  search_options.interrupted = [&] { return interrupted() || (options.interrupted && options.interrupted()); };
  search_options.space.replicas = !options.no_replicas;
  search_options.space.splits = !options.no_splits;
  return search_options;
}

// pi2 before pi10.
bool comes_first(const Device& a, const Device& b) {
  return a.name.size() != b.name.size() ? a.name.size() < b.name.size() : a.name < b.name;
}

Expected<Plan> plan_without_spares(const Graph& graph, const Cluster& cluster, const PlanningOptions& options,
                                   const ChoiceRule& rule) {
  TRY_ASSIGN(const ClusterModel model, model_of(graph, cluster, options, rule));
  const EngineFacts engine = engine_facts(cluster.devices.front().threads, rule);
  if (!options.stages_path.empty()) return by_hand(graph, cluster, model, engine, options.stages_path);

  const SearchOptions search_options = search_options_of(options);
  auto plan = best_plan(graph, model, search_options, engine);
  if (!plan && plan.error().code != ErrorCode::kExhausted) return plan;
  // Winograd's weights are large. Where memory is short a plan without them may be better, or the only one.
  const bool given = !rule.allowed.empty();
  if (given || (plan && !is_tight(graph, model, rule))) return plan;
  ChoiceRule lean = rule;
  lean.allowed = lean_algorithms();
  ClusterModel slower = model;
  TRY(slow_down(graph, slower, rule, choose_all(graph, lean)));
  use_rule(slower, lean);
  auto lean_plan = best_plan(graph, slower, search_options, engine_facts(engine.threads, lean));
  if (!lean_plan) {
    const bool none_fits = lean_plan.error().code == ErrorCode::kExhausted;
    return none_fits ? std::move(plan) : std::move(lean_plan);
  }
  if (plan && !is_better(*lean_plan, *plan, search_options.objective)) return plan;
  // What no plan exceeds, and one device alone, are those of the faster kernels: a plan with some of them may be
  // better.
  StageShapes shapes(graph, model, candidate_cuts(graph, kMostCuts));
  compare_plan(CostModel(model, shapes), search_options, *lean_plan->prediction);
  lean_plan->prediction->optimal = false;
  return lean_plan;
}

}  // namespace

Expected<Plan> plan_for(const Graph& graph, Cluster cluster, const PlanningOptions& options, const ChoiceRule& rule) {
  if (options.spares > 0 && options.spares >= cluster.devices.size()) {
    return fail(ErrorCode::kInvalid, "{} of {} devices can't all be spare", options.spares, cluster.devices.size());
  }
  const std::size_t used = cluster.devices.size() - options.spares;
  if (options.stages_path.empty()) {
    // A stages file takes devices in the cluster file's order. A search doesn't care; nor shall anything behind it,
    // from the order in which messages are sent to what a simulation draws.
    std::sort(cluster.devices.begin(), cluster.devices.begin() + static_cast<std::ptrdiff_t>(used), comes_first);
  }
  if (options.spares == 0) return plan_without_spares(graph, cluster, options, rule);
  std::vector<std::string> names;
  for (std::size_t device = 0; device < used; ++device) names.push_back(cluster.devices[device].name);
  TRY_ASSIGN(Plan plan, plan_without_spares(graph, only_devices(cluster, names), options, rule));
  TRY_ASSIGN(const ClusterModel model, model_of(graph, cluster, options, rule));
  std::vector<std::size_t> spares;
  for (std::size_t device = used; device < cluster.devices.size(); ++device) {
    plan.devices.push_back(cluster.devices[device].name);
    spares.push_back(device);
  }
  TRY(predict(graph, model, plan));
  TRY(add_spares(graph, model, engine_facts(cluster.devices.front().threads, rule), spares, plan));
  StageShapes shapes(graph, model, candidate_cuts(graph, kMostCuts));
  compare_plan(CostModel(model, shapes), {}, *plan.prediction);
  return plan;
}

Expected<Plan> plan_of_file(const Graph& graph, const std::string& path) {
  TRY_ASSIGN(Plan plan, read_plan(path));
  auto checked = check_plan(plan, graph);
  if (!checked) return fail_in(path, std::move(checked.error()));
  return plan;
}

Expected<Plan> plan_again(const Graph& graph, const Cluster& cluster, const PlanningOptions& options,
                          const std::string& path, Plan plan) {
  Cluster used = only_devices(cluster, plan.devices);
  used.devices.clear();  // in the plan's order
  for (const std::string& name : plan.devices) {
    const auto found = std::find_if(cluster.devices.begin(), cluster.devices.end(),
                                    [&](const Device& device) { return device.name == name; });
    if (found == cluster.devices.end()) {
      return fail(ErrorCode::kNotFound, "{}: the cluster has no device \"{}\"", path, name);
    }
    used.devices.push_back(*found);
  }
  // Beside the prediction stands, as with every plan, what the fastest kernels could do.
  ChoiceRule rule = default_rule();
  rule.half_weights = with_float_weights(plan.choices) != plan.choices;
  TRY_ASSIGN(const ClusterModel fastest, model_of(graph, used, options, rule));
  ClusterModel model = fastest;
  auto predicted = slow_down(graph, model, rule, plan.choices);
  if (predicted) predicted = predict(graph, model, plan);
  if (!predicted) return fail_in(path, std::move(predicted.error()));
  StageShapes shapes(graph, fastest, candidate_cuts(graph, kMostCuts));
  compare_plan(CostModel(fastest, shapes), search_options_of(options), *plan.prediction);
  return plan;
}

}  // namespace onnx_split
