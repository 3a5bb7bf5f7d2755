// Makes graphs. Values and nodes are added in order, so that a node's inputs exist before it; each node's outputs are
// inferred when it is added, and an error names the node.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"

namespace onnx_split {

// More than anybody waits for or has, and so few that sums over thousands of parts and requests don't overflow.
inline constexpr std::int64_t kMaxGraphMacs = std::int64_t{1} << 50;
inline constexpr std::int64_t kMaxGraphActivationBytes = std::int64_t{1} << 46;

class GraphBuilder {
 public:
  explicit GraphBuilder(std::string name) { graph_.name_ = std::move(name); }

  // Names must be new and UTF-8; an error leaves the builder as it was.
  Expected<ValueId> add_input(std::string name, TensorType type);
  Expected<ValueId> add_constant(std::string name, Tensor data);
  // Infers the outputs' types. `outputs` names them; `name` may be empty: then the first output's name serves.
  Expected<NodeId> add_node(std::string name, OpType op, Attributes attributes, std::vector<ValueId> inputs,
                            std::vector<std::string> outputs);
  // The common case of one output named after the node.
  Expected<ValueId> add(std::string name, OpType op, Attributes attributes, std::vector<ValueId> inputs);

  // The graph so far, to look at while building.
  const Graph& graph() const { return graph_; }
  const Value& value(ValueId id) const { return graph_.value(id); }
  // A name that isn't taken: `base`, or `base_1`, …
  std::string unique_value_name(std::string_view base) const;

  // Sets the outputs and hands the graph over. Constants and nodes that no output needs are kept: see
  // graph/passes/passes.h. Refuses a graph that costs more than the limits above. The builder is spent.
  Expected<Graph> build(std::vector<ValueId> outputs) &&;

 private:
  Expected<ValueId> add_value(Value value);
  Graph graph_;
};

}  // namespace onnx_split
