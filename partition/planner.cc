#include "partition/planner.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <list>
#include <numeric>
#include <queue>
#include <set>
#include <utility>

#include "base/check.h"
#include "graph/operators.h"
#include "graph/order.h"
#include "partition/divide.h"
#include "partition/pipeline.h"
#include "partition/propose.h"
#include "partition/routing.h"
#include "partition/spare_parts.h"

namespace onnx_split {
namespace {

using Devices = std::vector<std::size_t>;

NodeChoices choices_for(const EngineFacts& engine, const Graph& graph) {
  return engine.choose ? engine.choose(graph) : NodeChoices{};
}

std::int64_t weight_bytes_of(const EngineFacts& engine, const Graph& graph) {
  if (engine.weight_bytes) return engine.weight_bytes(graph);
  std::int64_t bytes = 0;
  for (const Value& value : graph.values()) {
    if (value.constant) bytes += static_cast<std::int64_t>(value.type.size_bytes());
  }
  return bytes;
}

// A stage on its way into the plan.
struct Draft {
  std::size_t request = 0;  // index into PlanRequest::stages
  StageNodes nodes;         // in graph order
  Division division;
  bool is_optional = false;  // `each: layer`: where it can't be divided so, it may be cut shorter or be whole
  StageNodes left_over;      // of `nodes`, those that the layer before handed on
};

StageNodes merged(StageNodes a, const StageNodes& b) {
  a.insert(a.end(), b.begin(), b.end());
  std::sort(a.begin(), a.end());
  return a;
}

Draft whole(const Draft& like, StageNodes nodes) { return {like.request, std::move(nodes), {}, false, {}}; }

// The devices of each requested stage: part 0's replicas, then part 1's, …
Expected<std::vector<Devices>> assign_devices(const PlanRequest& request, const std::vector<StageRequest>& stages) {
  std::set<std::string> named;
  for (const StageRequest& stage : stages) named.insert(stage.devices.begin(), stage.devices.end());
  Devices free;
  for (std::size_t i = 0; i < request.devices.size(); ++i) {
    if (!named.contains(request.devices[i])) free.push_back(i);
  }
  std::vector<Devices> assigned(stages.size());
  std::size_t next_free = 0;
  for (std::size_t s = 0; s < stages.size(); ++s) {
    for (const std::string& name : stages[s].devices) {
      const auto found = std::find(request.devices.begin(), request.devices.end(), name);
      if (found == request.devices.end()) {
        return fail(ErrorCode::kNotFound, "stages[{}].devices: no device is named \"{}\"", s, name);
      }
      assigned[s].push_back(static_cast<std::size_t>(found - request.devices.begin()));
    }
    if (!assigned[s].empty()) continue;
    const std::size_t wanted = stages[s].device_count();
    if (wanted > free.size()) {
      return fail(ErrorCode::kInvalid,
                  "stages[{}]: {} parts of {} replicas want {} devices, and {} {} not named by other stages", s,
                  stages[s].parts(), stages[s].replicas, wanted, free.size(), free.size() == 1 ? "is" : "are");
    }
    for (std::size_t i = 0; i < wanted; ++i) assigned[s].push_back(free[next_free++ % free.size()]);
  }
  return assigned;
}

// A spare part on the device of what it is spare for is of no use.
Expected<void> check_spare_devices(const StageRequest& stage, const Devices& devices) {
  for (std::size_t a = 0; a < devices.size(); ++a) {
    for (std::size_t b = 0; b < a; ++b) {
      const std::size_t part_a = a / stage.replicas, part_b = b / stage.replicas;
      const bool pair = stage.spare == Spare::kParity || part_a == part_b + stage.ways;
      if (stage.spare == Spare::kNone || !pair || part_a == part_b || devices[a] != devices[b]) continue;
      return fail(ErrorCode::kInvalid, "{}: parts {} and {} are on the same device: its loss would take both",
                  spare_name(stage.spare), part_b, part_a);
    }
  }
  return {};
}

// Shares in proportion to the devices' speeds; nothing where they are unknown or equal. A part is as fast as its
// slowest replica.
std::vector<std::int64_t> weights_by_speed(const PlanRequest& request, const StageRequest& stage,
                                           const Devices& devices) {
  if (request.gflops.empty()) return {};
  std::vector<double> speeds;
  std::vector<std::int64_t> weights;
  for (std::size_t part = 0; part < stage.ways; ++part) {
    double slowest = std::numeric_limits<double>::infinity();
    for (std::size_t replica = 0; replica < stage.replicas; ++replica) {
      slowest = std::min(slowest, request.gflops[devices[part * stage.replicas + replica]]);
    }
    speeds.push_back(slowest);
  }
  const double fastest = *std::max_element(speeds.begin(), speeds.end());
  if (!(fastest > 0.0)) return {};
  for (const double speed : speeds) {
    weights.push_back(std::llround(static_cast<double>(kMaxWeight) * speed / fastest));
  }
  const bool known = std::all_of(weights.begin(), weights.end(), [](std::int64_t weight) { return weight > 0; });
  const bool differ = std::any_of(weights.begin(), weights.end(), [&](std::int64_t w) { return w != weights[0]; });
  return known && differ ? weights : std::vector<std::int64_t>{};
}

class Planner {
 public:
  Planner(const Graph& graph, const PlanRequest& request)
      : graph_(graph), request_(request), units_(channel_units(graph)) {}

  Expected<Plan> plan() {
    TRY(draft_stages());
    return plan_drafts();
  }

  // Of the stages that a search has found.
  Expected<Plan> plan(const StageShapes& shapes, const Candidate& candidate,
                      std::vector<std::vector<std::size_t>> schedules) {
    std::vector<std::size_t> cuts;
    for (const CandidateStage& stage : candidate) cuts.push_back(shapes.cuts()[stage.end]);
    TRY_ASSIGN(const std::vector<StageNodes> nodes, stages_at(graph_, cuts));
    if (nodes.size() != candidate.size()) return fail(ErrorCode::kUnsupported, "a stage has constants alone");
    for (std::size_t s = 0; s < candidate.size(); ++s) {
      StageRequest& stage = stages_.emplace_back();
      stage.ways = candidate[s].division.ways;
      stage.replicas = candidate[s].replicas;
      devices_.push_back(candidate[s].devices);
      drafts_.push_back({s, nodes[s], candidate[s].division, false, {}});
    }
    schedules_ = std::move(schedules);
    return plan_drafts();
  }

 private:
  Expected<Plan> plan_drafts() {
    for (auto draft = drafts_.begin(); draft != drafts_.end(); ++draft) {
      TRY_ASSIGN(DividedStage divided, divide_draft(draft));
      TRY(check_travels(divided));
      auto spared = add_spare_parts(divided, stages_[draft->request].spare, PartWeights::kBlank);
      if (!spared) return fail_in(fmt::format("stages[{}]", draft->request), std::move(spared.error()));
      add_stage(*draft, divided);
      if (!divided.rest.empty()) place_rest(draft, divided.rest);
    }
    std::size_t servers = 0;
    for (const Stage& stage : plan_.stages) servers += stage.schedule.size();
    plan_.window = request_.window > 0 ? request_.window : 2 * std::min(servers, request_.devices.size());
    plan_.model = graph_.name();
    plan_.fingerprint = fingerprint(graph_);
    for (const ValueId id : graph_.inputs()) plan_.inputs.push_back(graph_.value(id).name);
    for (const ValueId id : graph_.outputs()) plan_.outputs.push_back(graph_.value(id).name);
    plan_.devices = request_.devices;
    plan_.threads = request_.engine.threads;
    plan_.core_type = request_.engine.core_type;
    plan_.choices = choices_for(request_.engine, graph_);
    TRY(predict_traffic(graph_, plan_));
    return std::move(plan_);
  }

  // An operator may give a value without elements, but there is nothing of it to send, and no frame to say so.
  static Expected<void> check_travels(const DividedStage& divided) {
    for (const DividedPart& part : divided.parts) {
      for (const auto* regions : {&part.inputs, &part.outputs}) {
        for (const ValueRegion& use : *regions) {
          if (!use.region.empty()) continue;
          return fail(ErrorCode::kUnsupported, "value \"{}\" has no elements {}: it can't go from stage to stage",
                      use.value, use.region.to_string());
        }
      }
    }
    return {};
  }

  using Position = std::list<Draft>::iterator;

  Expected<void> draft_stages() {
    if (request_.stages.empty()) {
      TRY_ASSIGN(const std::vector<StageNodes> stages,
                 balance_stages(graph_, std::min(request_.devices.size(), graph_.node_count())));
      stages_.resize(stages.size());
      for (std::size_t s = 0; s < stages.size(); ++s) drafts_.push_back({s, stages[s], {}, false, {}});
      TRY_ASSIGN(devices_, assign_devices(request_, stages_));
      return {};
    }
    stages_ = request_.stages;
    TRY_ASSIGN(devices_, assign_devices(request_, stages_));
    std::vector<std::vector<std::string>> until;
    for (const StageRequest& stage : stages_) {
      if (!stage.until.empty()) until.push_back(stage.until);
    }
    TRY_ASSIGN(const std::vector<StageNodes> nodes, stages_until(graph_, until));
    if (nodes.size() > stages_.size()) {
      return fail(ErrorCode::kInvalid, "the stages stop before the network ends: let the last one omit \"until\"");
    }
    if (nodes.size() < stages_.size()) {
      return fail(ErrorCode::kInvalid, "the last stage has nothing left to compute");
    }
    for (std::size_t s = 0; s < stages_.size(); ++s) {
      const StageRequest& stage = stages_[s];
      const std::size_t ways = stage.split == Split::kSpatial ? stage.grid.rows * stage.grid.columns : stage.ways;
      if (ways != stage.ways || (stage.split == Split::kWhole) != (stage.ways == 1) ||
          (!stage.weights.empty() && stage.weights.size() != stage.ways)) {
        return fail(ErrorCode::kInvalid,
                    "stages[{}]: {}, {} ways, a grid of {}×{}, {} weights: they contradict each other", s,
                    split_name(stage.split), stage.ways, stage.grid.rows, stage.grid.columns, stage.weights.size());
      }
      auto spares = check_spare_devices(stage, devices_[s]);
      if (!spares) return fail_in(fmt::format("stages[{}]", s), std::move(spares.error()));
      Division division{stage.split, stage.ways, stage.grid, stage.weights};
      if (stage.split != Split::kWhole && stage.weights.empty()) {
        division.weights = weights_by_speed(request_, stage, devices_[s]);
      }
      std::vector<StageNodes> pieces{nodes[s]};
      if (stage.each_layer) pieces = layers(nodes[s]);
      if (stage.each_layer && stage.split == Split::kChannelPair) pieces = pairs(pieces, division);
      for (const StageNodes& piece : pieces) drafts_.push_back({s, piece, division, stage.each_layer, {}});
    }
    return {};
  }

  // Joins each layer with those behind it up to the second dense one, where both together can be divided.
  std::vector<StageNodes> pairs(const std::vector<StageNodes>& layers, const Division& division) const {
    constexpr std::size_t kMostLayers = 4;  // a depthwise one in front of each dense one
    std::vector<StageNodes> result;
    for (std::size_t first = 0; first < layers.size(); ++first) {
      StageNodes joined = layers[first];
      result.push_back(joined);
      for (std::size_t last = first + 1; last < std::min(first + kMostLayers, layers.size()); ++last) {
        const std::size_t before = joined.size();
        joined = merged(joined, layers[last]);
        if (longest_front(graph_, joined, division, units_) <= before) continue;
        result.back() = std::move(joined);
        first = last;
        break;
      }
    }
    return result;
  }

  // Cuts in front of every node with MACs and weights but the first.
  std::vector<StageNodes> layers(const StageNodes& nodes) const {
    std::vector<StageNodes> result(1);
    bool has_layer = false;
    for (const NodeId id : nodes) {
      const NodeCost cost = node_cost(graph_, graph_.node(id));
      const bool is_layer = cost.macs > 0 && cost.weight_bytes > 0;
      if (is_layer && has_layer) result.emplace_back();
      has_layer = has_layer || is_layer;
      result.back().push_back(id);
    }
    return result;
  }

  Expected<DividedStage> divide(const StageNodes& nodes, const Division& division) const {
    return divide_stage(graph_, nodes, division, units_, PartWeights::kBlank);
  }

  // May change the draft, and put stages in front of it or behind it.
  Expected<DividedStage> divide_draft(Position& draft) {
    auto divided = divide(draft->nodes, draft->division);
    if (divided) return divided;
    if (!draft->is_optional) {
      const std::string what = fmt::format("stages[{}]: {}", draft->request, to_string(draft->division));
      if (draft->division.split == Split::kWhole) return fail_in(what, std::move(divided.error()));
      const std::string nearest = nearest_choice(graph_, draft->nodes, draft->division, units_);
      return fail(divided.error().code, "{}: {}; nearest possible: {}", what, divided.error().message, nearest);
    }
    // What the layer before handed on may be what stands in the way.
    StageNodes own;
    std::set_difference(draft->nodes.begin(), draft->nodes.end(), draft->left_over.begin(), draft->left_over.end(),
                        std::back_inserter(own));
    if (!draft->left_over.empty() && divide(own, draft->division)) {
      draft->nodes = std::move(own);
      draft = drafts_.insert(draft, whole(*draft, std::exchange(draft->left_over, {})));
      return divide(draft->nodes, draft->division);
    }
    if (const std::size_t count = longest_front(graph_, draft->nodes, draft->division, units_); count > 0) {
      leave_over(draft, StageNodes(draft->nodes.begin() + static_cast<std::ptrdiff_t>(count), draft->nodes.end()));
      draft->nodes.resize(count);
      return divide(draft->nodes, draft->division);
    }
    draft->division = {};
    return divide(draft->nodes, draft->division);
  }

  // Hands nodes on to the next stage, or makes them a whole one where that isn't of the same request.
  void leave_over(Position draft, StageNodes nodes) {
    const Position next = std::next(draft);
    if (next == drafts_.end() || next->request != draft->request) {
      drafts_.insert(next, whole(*draft, std::move(nodes)));
      return;
    }
    next->nodes = merged(next->nodes, nodes);
    next->left_over = std::move(nodes);
  }

  // Finds a place for the nodes that need a divided stage's sum.
  void place_rest(Position draft, const StageNodes& rest) {
    const auto in_rest = [&](NodeId node) { return std::binary_search(rest.begin(), rest.end(), node); };
    bool is_output = false;
    std::set<NodeId> consumers;
    for (const NodeId node : rest) {
      for (const ValueId output : graph_.node(node).outputs) {
        is_output = is_output || graph_.is_output(output);
        for (const NodeId consumer : graph_.value(output).consumers) {
          if (!in_rest(consumer)) consumers.insert(consumer);
        }
      }
    }
    Position only = drafts_.end();
    bool several = false;
    for (Position later = std::next(draft); later != drafts_.end(); ++later) {
      const bool consumes = std::any_of(consumers.begin(), consumers.end(), [&](NodeId consumer) {
        return std::binary_search(later->nodes.begin(), later->nodes.end(), consumer);
      });
      if (!consumes) continue;
      several = several || only != drafts_.end();
      only = later;
    }
    if (!is_output && !several && only != drafts_.end()) {
      StageNodes together = merged(only->nodes, rest);
      if (divide(together, only->division)) {
        only->nodes = std::move(together);
        return;
      }
    }
    drafts_.insert(std::next(draft), whole(*draft, rest));
  }

  void add_stage(const Draft& draft, const DividedStage& divided) {
    const StageRequest& request = stages_[draft.request];
    Stage stage;
    stage.split = draft.division.split;
    stage.grid = draft.division.grid;
    stage.weights = draft.division.weights;
    stage.spare = request.spare;
    for (const NodeId node : divided.nodes) stage.nodes.push_back(graph_.node(node).name);
    if (draft.request < schedules_.size()) {
      stage.schedule = schedules_[draft.request];
    } else {
      stage.schedule.resize(request.replicas);
      std::iota(stage.schedule.begin(), stage.schedule.end(), std::size_t{0});
    }
    const std::size_t spare_parts = request.parts() - request.ways;
    for (std::size_t p = 0; p < divided.parts.size(); ++p) {
      // A stage that was left over is whole, and its standby on the device of part 0's.
      const std::size_t ways =
          stage.spare == Spare::kStandby ? divided.parts.size() / 2 : divided.parts.size() - spare_parts;
      const std::size_t place = p < ways ? p : request.ways + p - ways;
      const auto first = devices_[draft.request].begin() + static_cast<std::ptrdiff_t>(place * request.replicas);
      const Devices devices(first, first + static_cast<std::ptrdiff_t>(request.replicas));
      stage.parts.push_back(make_part(divided.parts[p], stage.split, devices, request_.engine));
    }
    plan_.stages.push_back(std::move(stage));
  }

  const Graph& graph_;
  const PlanRequest& request_;
  std::vector<std::int64_t> units_;
  std::vector<StageRequest> stages_;
  std::vector<Devices> devices_;                     // by request
  std::vector<std::vector<std::size_t>> schedules_;  // by request; where there is none, replicas take turns
  std::list<Draft> drafts_;
  Plan plan_;
};

}  // namespace

Expected<Plan> make_plan(const Graph& graph, const PlanRequest& request) {
  if (request.devices.empty()) return fail(ErrorCode::kInvalid, "no devices to plan for");
  return Planner(graph, request).plan();
}

Expected<Plan> make_plan(const Graph& graph, const PlanRequest& request, const StageShapes& shapes,
                         const Candidate& candidate, std::vector<std::vector<std::size_t>> schedules) {
  return Planner(graph, request).plan(shapes, candidate, std::move(schedules));
}

Part make_part(const DividedPart& divided, Split split, std::vector<std::size_t> devices, const EngineFacts& engine) {
  Part part;
  part.devices = std::move(devices);
  part.inputs = divided.inputs;
  part.outputs = divided.outputs;
  part.macs = divided.macs;
  part.repeated_macs = divided.repeated_macs;
  part.weight_bytes = weight_bytes_of(engine, divided.graph);
  part.activation_bytes = static_cast<std::int64_t>(peak_activation_bytes(divided.graph));
  if (split != Split::kWhole) part.choices = choices_for(engine, divided.graph);
  return part;
}

std::vector<std::size_t> make_schedule(std::span<const double> shares) {
  constexpr std::size_t kLongest = 1 << 16;
  constexpr double kClose = 1.005;
  CHECK(!shares.empty());
  // Whoever would be done first serves next.
  using Next = std::pair<double, std::size_t>;  // (requests served with this one over the share, replica)
  std::priority_queue<Next, std::vector<Next>, std::greater<>> queue;
  for (std::size_t r = 0; r < shares.size(); ++r) queue.emplace(1.0 / shares[r], r);
  std::vector<std::size_t> schedule;
  std::size_t best_length = 0;
  double best = std::numeric_limits<double>::infinity(), busiest = 0.0;
  std::vector<double> served(shares.size(), 0.0);
  const std::size_t longest = std::max(shares.size(), std::min(kLongest, 64 * shares.size()));
  while (schedule.size() < longest) {
    const auto [done, replica] = queue.top();
    queue.pop();
    schedule.push_back(replica);
    served[replica] += 1.0;
    queue.emplace((served[replica] + 1.0) / shares[replica], replica);
    busiest = std::max(busiest, done);
    const double excess = busiest / static_cast<double>(schedule.size());
    if (schedule.size() < shares.size() || excess >= best) continue;
    best = excess;
    best_length = schedule.size();
    if (best <= kClose) break;
  }
  schedule.resize(best_length);
  return schedule;
}

}  // namespace onnx_split
