// Dividing a stage: from its nodes and a split to what each part computes, as a graph of its own.
//
// Each part's share of what the stage gives is pushed backwards through the operators' slice() (graph/operators.h);
// what arrives at the stage's edge is what the part needs from others. Where the stage sums over what is divided (a
// convolution over input channels, an average over rows), each part computes a partial sum of everything instead, and
// nodes that must see the sum itself are left over for a later stage.
#pragma once

#include <vector>

#include "partition/pipeline.h"
#include "partition/shares.h"

namespace onnx_split {

struct DividedPart {
  std::vector<ValueRegion> inputs;   // what it needs, in the order of the graph's inputs
  std::vector<ValueRegion> outputs;  // what it owns, in the order of the graph's outputs
  Graph graph;                       // tensors of inputs and outputs are named after their values
  std::int64_t macs = 0;
  std::int64_t repeated_macs = 0;  // of these, for elements that an earlier part computes too
};

struct DividedStage {
  std::vector<DividedPart> parts;
  StageNodes nodes;  // what the parts compute, in graph order
  StageNodes rest;   // the nodes that need the parts' sums: to be computed behind this stage
};

// What the parts' constants hold.
enum class PartWeights : std::uint8_t {
  kReal,
  kBlank,  // zeros that occupy no memory: enough to plan with
};

// `units`: channel_units(graph). Errors (kUnsupported) say why the stage can't be divided so. A `whole` stage's only
// part has the model's own nodes, attributes and weights; the parts of other splits have slices of them.
Expected<DividedStage> divide_stage(const Graph& graph, const StageNodes& nodes, const Division& division,
                                    const std::vector<std::int64_t>& units, PartWeights weights);

// How many of the nodes, from the first on, can be divided so; 0: none.
std::size_t longest_front(const Graph& graph, const StageNodes& nodes, const Division& division,
                          const std::vector<std::int64_t>& units);

}  // namespace onnx_split
