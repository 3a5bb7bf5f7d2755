#include "graph/passes/passes.h"

namespace onnx_split {

Expected<Graph> simplify(const Graph& graph) {
  Graph current = graph;
  for (;;) {
    const std::size_t before = current.node_count();
    TRY_ASSIGN(current, remove_unused(current));
    TRY_ASSIGN(current, fold_constants(current));
    TRY_ASSIGN(current, drop_identities(current));
    TRY_ASSIGN(current, fold_batch_norm(current));
    TRY_ASSIGN(current, remove_unused(current));
    // One may find what another has uncovered.
    if (current.node_count() == before) return current;
  }
}

}  // namespace onnx_split
