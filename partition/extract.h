// From a plan to the graphs of its parts: each a graph of its own, with only its own weights.
#pragma once

#include <vector>

#include "graph/graph.h"
#include "partition/pipeline.h"
#include "partition/plan.h"

namespace onnx_split {

struct PartGraph {
  PartId id;
  Graph graph;  // its inputs and outputs stand in the order of the plan's Part::inputs and Part::outputs
};

// The part that a whole stage is: what it needs from before, what it gives to later stages and to the outside, its
// costs. Devices are left empty.
Expected<Part> whole_part(const Graph& graph, const std::vector<StageNodes>& stages, std::size_t stage);

// One graph a part, in the order of part_ids(plan). The plan must fit the graph (check_plan). Tensor names in the parts
// are the values' names; node names are the model's, so that the plan's kernel choices apply.
Expected<std::vector<PartGraph>> extract_parts(const Graph& graph, const Plan& plan);

}  // namespace onnx_split
