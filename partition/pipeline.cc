#include "partition/pipeline.h"

#include <algorithm>
#include <limits>

#include "graph/operators.h"

namespace onnx_split {
namespace {

constexpr std::int64_t kImpossible = std::numeric_limits<std::int64_t>::max();

// received[b] for one stage's first node `begin`: bytes that a stage [begin, end) receives from earlier stages and
// from the network's input, for every end.
class StageCosts {
 public:
  explicit StageCosts(const Graph& graph) : graph_(graph), macs_before_(graph.node_count() + 1, 0) {
    for (std::size_t i = 0; i < graph.node_count(); ++i) {
      macs_before_[i + 1] = macs_before_[i] + node_cost(graph, graph.nodes()[i]).macs;
    }
  }

  std::int64_t macs(std::size_t begin, std::size_t end) const { return macs_before_[end] - macs_before_[begin]; }

  std::vector<std::int64_t> received_bytes(std::size_t begin) const {
    std::vector<std::int64_t> bytes(graph_.node_count() + 1, 0);
    std::vector<bool> counted(graph_.value_count(), false);
    for (std::size_t i = begin; i < graph_.node_count(); ++i) {
      bytes[i + 1] = bytes[i];
      for (const ValueId input : graph_.nodes()[i].inputs) {
        const Value& value = graph_.value(input);
        const bool from_before = !value.constant && (!value.producer.valid() || value.producer.index() < begin);
        if (!from_before || counted[input.index()]) continue;
        counted[input.index()] = true;
        bytes[i + 1] += static_cast<std::int64_t>(value.type.size_bytes());
      }
    }
    return bytes;
  }

 private:
  const Graph& graph_;
  std::vector<std::int64_t> macs_before_;
};

// The smallest possible maximum of MACs over `stages` contiguous stages.
std::int64_t smallest_bottleneck(const StageCosts& costs, std::size_t nodes, std::size_t stages) {
  std::vector<std::int64_t> best(nodes + 1, kImpossible);
  best[0] = 0;
  for (std::size_t s = 1; s <= stages; ++s) {
    std::vector<std::int64_t> next(nodes + 1, kImpossible);
    for (std::size_t end = s; end <= nodes; ++end) {
      for (std::size_t begin = s - 1; begin < end; ++begin) {
        if (best[begin] == kImpossible) continue;
        next[end] = std::min(next[end], std::max(best[begin], costs.macs(begin, end)));
      }
    }
    best = std::move(next);
  }
  return best[nodes];
}

// Among cuttings whose stages have at most `max_macs`, the cut positions with the fewest bytes received.
std::vector<std::size_t> fewest_bytes(const StageCosts& costs, std::size_t nodes, std::size_t stages,
                                      std::int64_t max_macs) {
  std::vector<std::vector<std::int64_t>> received(nodes);
  for (std::size_t begin = 0; begin < nodes; ++begin) received[begin] = costs.received_bytes(begin);

  std::vector<std::vector<std::int64_t>> best(stages + 1, std::vector<std::int64_t>(nodes + 1, kImpossible));
  std::vector<std::vector<std::size_t>> previous(stages + 1, std::vector<std::size_t>(nodes + 1, 0));
  best[0][0] = 0;
  for (std::size_t s = 1; s <= stages; ++s) {
    for (std::size_t begin = s - 1; begin < nodes; ++begin) {
      if (best[s - 1][begin] == kImpossible) continue;
      for (std::size_t end = begin + 1; end <= nodes && costs.macs(begin, end) <= max_macs; ++end) {
        const std::int64_t bytes = best[s - 1][begin] + received[begin][end];
        // Among equals the latest cut: an activation stays with the node that it follows.
        if (bytes <= best[s][end]) {
          best[s][end] = bytes;
          previous[s][end] = begin;
        }
      }
    }
  }
  std::vector<std::size_t> cuts(stages + 1, nodes);
  for (std::size_t s = stages; s > 0; --s) cuts[s - 1] = previous[s][cuts[s]];
  return cuts;
}

// Marks everything that `value` needs and that isn't assigned yet, and gives the number of newly marked nodes.
std::size_t assign_ancestors(const Graph& graph, ValueId value, std::size_t stage, std::vector<std::size_t>& stage_of) {
  constexpr std::size_t kUnassigned = std::numeric_limits<std::size_t>::max();
  std::vector<ValueId> open{value};
  std::size_t marked = 0;
  while (!open.empty()) {
    const Value& now = graph.value(open.back());
    open.pop_back();
    if (!now.producer.valid() || stage_of[now.producer.index()] != kUnassigned) continue;
    stage_of[now.producer.index()] = stage;
    ++marked;
    for (const ValueId input : graph.node(now.producer).inputs) open.push_back(input);
  }
  return marked;
}

// A node that depends on constants alone goes to the first stage that needs it (or, for an output, to the first stage
// of all that gets the request): a stage that nothing tells of a request would never compute.
Expected<std::vector<StageNodes>> with_constant_nodes_attached(const Graph& graph,
                                                               const std::vector<StageNodes>& stages) {
  std::vector<bool> depends_on_input(graph.node_count(), false);
  std::vector<std::size_t> stage_of(graph.node_count(), 0);
  std::size_t first_stage = stages.size();
  for (std::size_t s = 0; s < stages.size(); ++s) {
    for (const NodeId node : stages[s]) stage_of[node.index()] = s;
  }
  for (std::size_t i = 0; i < graph.node_count(); ++i) {
    for (const ValueId input : graph.nodes()[i].inputs) {
      const Value& value = graph.value(input);
      if (value.constant) continue;
      if (!value.producer.valid() || depends_on_input[value.producer.index()]) depends_on_input[i] = true;
    }
    if (depends_on_input[i]) first_stage = std::min(first_stage, stage_of[i]);
  }
  if (first_stage == stages.size()) return fail(ErrorCode::kInvalid, "no node depends on the model's inputs");
  for (std::size_t i = graph.node_count(); i-- > 0;) {
    if (depends_on_input[i]) continue;
    std::size_t earliest = stages.size();
    for (const ValueId output : graph.nodes()[i].outputs) {
      for (const NodeId consumer : graph.value(output).consumers) {
        earliest = std::min(earliest, stage_of[consumer.index()]);
      }
    }
    stage_of[i] = earliest == stages.size() ? first_stage : earliest;
  }
  std::vector<StageNodes> result(stages.size());
  for (std::size_t i = 0; i < graph.node_count(); ++i) result[stage_of[i]].emplace_back(i);
  std::erase_if(result, [](const StageNodes& nodes) { return nodes.empty(); });
  return result;
}

}  // namespace

Expected<std::vector<StageNodes>> balance_stages(const Graph& graph, std::size_t stages) {
  const std::size_t nodes = graph.node_count();
  if (stages == 0 || stages > nodes) {
    return fail(ErrorCode::kInvalid, "{} stages: the model has {} nodes, so from 1 to {} stages are possible", stages,
                nodes, nodes);
  }
  const StageCosts costs(graph);
  std::vector<std::size_t> cuts = fewest_bytes(costs, nodes, stages, smallest_bottleneck(costs, nodes, stages));
  cuts.erase(cuts.begin());
  return stages_at(graph, cuts);
}

Expected<std::vector<StageNodes>> stages_at(const Graph& graph, const std::vector<std::size_t>& cuts) {
  std::vector<StageNodes> result;
  std::size_t node = 0;
  for (const std::size_t cut : cuts) {
    StageNodes& stage = result.emplace_back();
    for (; node < cut; ++node) stage.emplace_back(node);
  }
  return with_constant_nodes_attached(graph, result);
}

Expected<std::vector<StageNodes>> stages_until(const Graph& graph, const std::vector<std::vector<std::string>>& until) {
  constexpr std::size_t kUnassigned = std::numeric_limits<std::size_t>::max();
  std::vector<std::size_t> stage_of(graph.node_count(), kUnassigned);
  for (std::size_t s = 0; s < until.size(); ++s) {
    std::size_t marked = 0;
    for (const std::string& name : until[s]) {
      const auto id = graph.find_value(name);
      if (!id) return fail(ErrorCode::kNotFound, "stages[{}].until: no value \"{}\" in the model", s, name);
      if (!graph.value(*id).producer.valid()) {
        return fail(ErrorCode::kInvalid, "stages[{}].until: value \"{}\" isn't computed by any node", s, name);
      }
      marked += assign_ancestors(graph, *id, s, stage_of);
    }
    if (marked == 0) {
      return fail(ErrorCode::kInvalid, "stages[{}].until: the stages before it compute everything already", s);
    }
  }
  std::vector<StageNodes> result(until.size());
  StageNodes rest;
  for (std::size_t node = 0; node < stage_of.size(); ++node) {
    (stage_of[node] == kUnassigned ? rest : result[stage_of[node]]).emplace_back(node);
  }
  if (!rest.empty()) result.push_back(std::move(rest));
  return with_constant_nodes_attached(graph, result);
}

}  // namespace onnx_split
