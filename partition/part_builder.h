// Builds one part's graph: which region of each value it needs, backwards, then its nodes, forwards.
#pragma once

#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "graph/builder.h"
#include "graph/operators.h"
#include "partition/divide.h"

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

// The elements of a node's output that a part computes, and what they cost.
struct ComputedRegion {
  NodeId node;
  Region region;
  std::int64_t macs = 0;
  std::optional<Region> weights;  // of its second input, where that is a constant
};

struct BuiltPart {
  DividedPart part;
  std::vector<ComputedRegion> computed;  // of nodes that are placed and have MACs
};

Expected<BuiltPart> build_part(const Graph& graph, const StageRoles& roles, const PartShares& shares,
                               PartWeights weights);

}  // namespace onnx_split
