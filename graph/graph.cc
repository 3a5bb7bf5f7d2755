#include "graph/graph.h"

#include "graph/operators.h"

namespace onnx_split {

std::optional<ValueId> Graph::find_value(std::string_view name) const {
  const auto found = value_by_name_.find(std::string(name));
  if (found == value_by_name_.end()) return std::nullopt;
  return found->second;
}

std::optional<NodeId> Graph::find_node(std::string_view name) const {
  const auto found = node_by_name_.find(std::string(name));
  if (found == node_by_name_.end()) return std::nullopt;
  return found->second;
}

std::string describe(const Node& node) { return fmt::format("node \"{}\" ({})", node.name, op_name(node.op)); }

std::string to_text(const Graph& graph) {
  std::string text = fmt::format("graph {}\n", graph.name());
  const auto typed = [&](ValueId id) {
    const Value& value = graph.value(id);
    return fmt::format("{}: {}", value.name, value.type.to_string());
  };
  for (const ValueId id : graph.inputs()) text += fmt::format("input {}\n", typed(id));
  for (const Value& value : graph.values()) {
    if (value.constant) text += fmt::format("constant {}: {}\n", value.name, value.type.to_string());
  }
  for (const Node& node : graph.nodes()) {
    std::string results;
    std::string arguments;
    for (const ValueId id : node.outputs) results += (results.empty() ? "" : ", ") + typed(id);
    for (const ValueId id : node.inputs) arguments += (arguments.empty() ? "" : ", ") + graph.value(id).name;
    text += fmt::format("{} = {}({}) {}\n", results, op_name(node.op), arguments, node.attributes.to_string());
  }
  for (const ValueId id : graph.outputs()) text += fmt::format("output {}\n", graph.value(id).name);
  return text;
}

}  // namespace onnx_split
