// From a plan to the graphs of its parts: each a graph of its own, with only its own weights.
#pragma once

#include <cstdint>
#include <vector>

#include "graph/graph.h"
#include "partition/plan.h"

namespace onnx_split {

struct PartGraph {
  PartId id;
  Graph graph;  // its inputs and outputs stand in the order of the plan's Part::inputs and Part::outputs
};

// One graph a part, in the order of part_ids(plan). The plan must fit the graph (check_plan). Tensor names in the parts
// are the values' names; node names are the model's, so that the plan's kernel choices apply. An error where dividing
// the stages anew doesn't give the regions that the plan names.
Expected<std::vector<PartGraph>> extract_parts(const Graph& graph, const Plan& plan);

// The same of one of the plan's stages. `units`: channel_units(graph).
Expected<std::vector<PartGraph>> extract_stage(const Graph& graph, const Plan& plan, std::size_t stage,
                                               const std::vector<std::int64_t>& units);

// Bytes of its weights that aren't the graph's own but copies: slices, and parity's sums. A bound: a slice that is one
// run of the graph's memory counts, too.
Expected<std::uint64_t> copied_weight_bytes(const Graph& graph, const Plan& plan, std::size_t stage,
                                            const std::vector<std::int64_t>& units);

// The same checks, without making any weights.
Expected<void> check_parts(const Graph& graph, const Plan& plan);

}  // namespace onnx_split
