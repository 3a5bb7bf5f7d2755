#include "graph/passes/passes.h"
#include "graph/passes/rewrite.h"

namespace onnx_split {
namespace {

// By value: where the chain of identities that gives it begins.
std::vector<ValueId> origins(const Graph& graph) {
  std::vector<ValueId> origin;
  for (std::size_t i = 0; i < graph.value_count(); ++i) origin.emplace_back(i);
  for (const Node& node : graph.nodes()) {
    if (node.op == OpType::kIdentity) origin[node.outputs[0].index()] = origin[node.inputs[0].index()];
  }
  return origin;
}

}  // namespace

Expected<Graph> drop_identities(const Graph& graph) {
  Rewrite rewrite(graph);
  const std::vector<ValueId> origin = origins(graph);
  std::vector<bool> has_output_name(graph.value_count(), false);
  std::vector<bool> stays(graph.node_count(), false);
  for (const ValueId output : graph.outputs()) {
    const Value& value = graph.value(output);
    const ValueId source = origin[output.index()];
    if (source == output || stays[value.producer.index()] || has_output_name[output.index()]) continue;
    const bool can_take_name = graph.value(source).producer.valid() && !graph.is_output(source);
    if (can_take_name && !has_output_name[source.index()]) {
      rewrite.rename(source, value.name);
      has_output_name[source.index()] = true;
      has_output_name[output.index()] = true;  // an output listed twice needs no second name
    } else {
      stays[value.producer.index()] = true;
    }
  }
  for (std::size_t i = 0; i < graph.node_count(); ++i) {
    const Node& node = graph.nodes()[i];
    if (node.op != OpType::kIdentity) {
      TRY(rewrite.copy(node));
      continue;
    }
    TRY_ASSIGN(const ValueId source, rewrite.value(origin[node.inputs[0].index()]));
    if (stays[i]) {
      TRY(rewrite.emit(node, {source}, node.outputs));
    } else {
      rewrite.stand_for(node.outputs[0], source);
    }
  }
  return std::move(rewrite).finish();
}

}  // namespace onnx_split
