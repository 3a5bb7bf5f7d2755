#include <algorithm>
#include <unordered_map>

#include "graph/operators.h"
#include "graph/passes/passes.h"
#include "graph/passes/rewrite.h"

namespace onnx_split {
namespace {

// A small file can describe constants of any size and work without end; what exceeds these, all nodes together, is left
// to be computed.
constexpr std::int64_t kMaxGrowthBytes = std::int64_t{64} << 20;
constexpr std::int64_t kMaxMacs = std::int64_t{1} << 28;

// The values known without any input, as they become known; those that everything has read are forgotten.
class Folding {
 public:
  explicit Folding(const Graph& graph) : graph_(graph) {
    for (const Value& value : graph.values()) unread_.push_back(value.consumers.size());
  }

  // Whether the node is now known.
  Expected<bool> fold(const Node& node) {
    const std::vector<Tensor> inputs = known_inputs(node);
    if (inputs.size() != node.inputs.size() || !worth_folding(node)) return false;
    auto outputs = evaluate(node.op, node.attributes, inputs, node.outputs.size());
    if (!outputs) {
      if (outputs.error().code == ErrorCode::kExhausted) return false;
      return fail_in(describe(node), std::move(outputs.error()));
    }
    growth_bytes_ += growth_bytes(node);
    macs_ += node_cost(graph_, node).macs;
    for (std::size_t i = 0; i < node.outputs.size(); ++i) known_.insert_or_assign(node.outputs[i], (*outputs)[i]);
    forget_inputs(node);
    return true;
  }

  const std::unordered_map<ValueId, Tensor>& known() const { return known_; }

 private:
  std::vector<Tensor> known_inputs(const Node& node) const {
    std::vector<Tensor> tensors;
    for (const ValueId id : node.inputs) {
      const auto found = known_.find(id);
      if (found != known_.end()) {
        tensors.push_back(found->second);
      } else if (graph_.value(id).constant) {
        tensors.push_back(*graph_.value(id).constant);
      }
    }
    return tensors;
  }

  bool worth_folding(const Node& node) const {
    // Outputs stay computed values: what runs a graph needn't treat constants among them.
    for (const ValueId id : node.outputs) {
      if (graph_.is_output(id)) return false;
    }
    // The work of these isn't bounded by the sizes of their inputs and outputs.
    const bool windowed = node.op == OpType::kMaxPool || node.op == OpType::kAveragePool || node.op == OpType::kLrn;
    return !windowed && node_cost(graph_, node).macs <= kMaxMacs - macs_ &&
           growth_bytes(node) <= kMaxGrowthBytes - growth_bytes_;
  }

  std::int64_t growth_bytes(const Node& node) const {
    std::int64_t bytes = node_cost(graph_, node).activation_bytes;
    for (const ValueId id : node.inputs) bytes -= static_cast<std::int64_t>(graph_.value(id).type.size_bytes());
    return std::max<std::int64_t>(bytes, 0);
  }

  void forget_inputs(const Node& node) {
    std::vector<ValueId> read = node.inputs;
    std::sort(read.begin(), read.end());
    read.erase(std::unique(read.begin(), read.end()), read.end());
    for (const ValueId id : read) {
      if (--unread_[id.index()] == 0) known_.erase(id);
    }
  }

  const Graph& graph_;
  std::vector<std::size_t> unread_;
  std::unordered_map<ValueId, Tensor> known_;
  std::int64_t growth_bytes_ = 0;
  std::int64_t macs_ = 0;
};

}  // namespace

Expected<Graph> fold_constants(const Graph& graph) {
  Folding folding(graph);
  std::vector<bool> folded(graph.node_count(), false);
  for (std::size_t i = 0; i < graph.node_count(); ++i) {
    TRY_ASSIGN(folded[i], folding.fold(graph.nodes()[i]));
  }
  Rewrite rewrite(graph);
  for (std::size_t i = 0; i < graph.node_count(); ++i) {
    const Node& node = graph.nodes()[i];
    if (!folded[i]) {
      TRY(rewrite.copy(node));
      continue;
    }
    for (const ValueId id : node.outputs) {
      const auto found = folding.known().find(id);
      if (found == folding.known().end()) continue;  // only folded nodes read it
      TRY_ASSIGN(const ValueId added, rewrite.add_named_constant(graph.value(id).name, found->second));
      rewrite.stand_for(id, added);
    }
  }
  return std::move(rewrite).finish();
}

}  // namespace onnx_split
