// What must be true of every model that can be imported.
#pragma once

#include "graph/graph.h"

namespace onnx_split::fuzz {

// Written as ONNX and read again, the graph is the same, simplified or not. It is planned with stages of some split
// (chosen by `pick`), or refused; a plan fits the graph, and its parts are graphs that come back the same, too. Graphs
// that are large in memory are let pass: a small file may describe one, and it takes its time.
void check_imported(const Graph& graph, unsigned pick);

}  // namespace onnx_split::fuzz
