// Which region of each value the parts of a divided stage need, own and compute: everything about a division but the
// parts' graphs. Cheap: it costs microseconds a node, so that a search can ask it thousands of times.
#pragma once

#include <optional>
#include <unordered_map>
#include <vector>

#include "graph/operators.h"
#include "partition/pipeline.h"
#include "partition/shares.h"

namespace onnx_split {

// What becomes of a node in the parts of a divided stage.
enum class Role : std::uint8_t {
  kPlaced,  // each part computes a region of its output
  kSums,    // each part computes its share of the sum
  kLinear,  // works on partial sums
  kRest,    // must see the sum: not in the parts
};

struct StageRoles {
  StageNodes nodes;              // in graph order
  std::vector<Role> roles;       // by index in `nodes`
  std::vector<ValueId> given;    // values that later stages or the outside need and the parts give
  std::vector<bool> is_partial;  // by value: the parts have partial sums of it
};

// One part's shares: of each given value that isn't a partial sum, and of the input of each node that sums.
struct PartShares {
  std::unordered_map<ValueId, Region> given;
  std::unordered_map<NodeId, Region> summed;
  bool first = false;  // the part that adds what is added once
};

// What a part computes of one node; of a node with several outputs, each by itself where it doesn't need all.
struct NodeStep {
  NodeSlice slice;
  std::vector<std::size_t> outputs;  // that it gives: one, slice.produced of it, or all of them, whole
};

// The elements of a node's output that a part computes, and what they cost.
struct ComputedRegion {
  NodeId node;
  Region region;
  std::int64_t macs = 0;
  std::optional<Region> weights;  // of its second input, where that is a constant
};

// Multiply-accumulates of a step.
std::int64_t macs_of(const Graph& graph, const Node& node, const NodeStep& step);

struct PartNeeds {
  PartShares shares;
  std::vector<std::optional<Region>>
      values;  // by value: what the part needs of it; of partial sums: nothing, they are whole
  std::vector<std::vector<NodeStep>> steps;  // by index in StageRoles::nodes
  std::vector<ComputedRegion> computed;      // of nodes that are placed and have MACs
};

struct StageNeeds {
  StageRoles roles;
  std::vector<PartNeeds> parts;
};

// A convolution or matrix product of which every output channel needs every input channel.
bool is_dense_layer(const Graph& graph, const Node& node);

// `units`: channel_units(graph). Errors (kUnsupported) say why the stage can't be divided so.
Expected<StageNeeds> find_stage_needs(const Graph& graph, const StageNodes& nodes, const Division& division,
                                      const std::vector<std::int64_t>& units);

}  // namespace onnx_split
