#include "graph/passes/passes.h"
#include "graph/passes/rewrite.h"

namespace onnx_split {

Expected<Graph> remove_unused(const Graph& graph) {
  std::vector<bool> needed(graph.value_count(), false);
  for (const ValueId id : graph.outputs()) needed[id.index()] = true;
  std::vector<bool> kept(graph.node_count(), false);
  for (std::size_t i = graph.node_count(); i-- > 0;) {
    const Node& node = graph.nodes()[i];
    for (const ValueId id : node.outputs) kept[i] = kept[i] || needed[id.index()];
    if (!kept[i]) continue;
    for (const ValueId id : node.inputs) needed[id.index()] = true;
  }
  Rewrite rewrite(graph);
  for (std::size_t i = 0; i < graph.node_count(); ++i) {
    if (kept[i]) TRY(rewrite.copy(graph.nodes()[i]));
  }
  return std::move(rewrite).finish();
}

}  // namespace onnx_split
