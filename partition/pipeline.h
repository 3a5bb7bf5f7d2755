// Cutting a graph into pipeline stages: which nodes belong to which stage.
//
// A cut is a position in the graph's topological order. Any position will do: several values may cross it, and a value
// may be needed several stages later.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace onnx_split {

using StageNodes = std::vector<NodeId>;  // of one stage, in graph order

// Cuts into `stages` stages so that the largest stage's MACs are as few as possible, and among all such cuttings the
// one in which the fewest bytes cross cuts (a value needed in k later stages counts k times). Exact, by dynamic
// programming, in O(stages · nodes²). Asking for more stages than nodes is refused. Nodes that depend on constants
// alone join the first stage that needs them; stages that had no others disappear.
Expected<std::vector<StageNodes>> balance_stages(const Graph& graph, std::size_t stages);

// Cuts behind these numbers of nodes in graph order (increasing, the last is all of them); constants as above.
Expected<std::vector<StageNodes>> stages_at(const Graph& graph, const std::vector<std::size_t>& cuts);

// Cuts by hand: stage i computes what the values until[i] need and no earlier stage has computed; what is left over
// is one more stage. Unknown, constant and input values, and stages with nothing to compute, are refused.
Expected<std::vector<StageNodes>> stages_until(const Graph& graph, const std::vector<std::vector<std::string>>& until);

}  // namespace onnx_split
