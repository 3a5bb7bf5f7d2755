#include "partition/divide.h"

#include "partition/part_builder.h"
#include "partition/stage_needs.h"

namespace onnx_split {
namespace {

// MACs for elements that an earlier part computes too.
std::int64_t repeated_macs(const std::vector<PartNeeds>& parts, std::size_t part) {
  std::int64_t repeated = 0;
  for (const ComputedRegion& own : parts[part].computed) {
    std::vector<Region> earlier;
    for (std::size_t p = 0; p < part; ++p) {
      for (const ComputedRegion& other : parts[p].computed) {
        if (other.node == own.node) earlier.push_back(other.region);
      }
    }
    const std::int64_t elements = own.region.shape().elements();
    repeated += own.macs / elements * covered_elements(own.region, earlier);
  }
  return repeated;
}

}  // namespace

Expected<DividedStage> divide_stage(const Graph& graph, const StageNodes& nodes, const Division& division,
                                    const std::vector<std::int64_t>& units, PartWeights weights) {
  TRY_ASSIGN(const StageNeeds needs, find_stage_needs(graph, nodes, division, units));
  DividedStage result;
  for (std::size_t p = 0; p < needs.parts.size(); ++p) {
    TRY_ASSIGN(DividedPart part, build_part(graph, needs.roles, needs.parts[p], weights));
    part.repeated_macs = repeated_macs(needs.parts, p);
    result.parts.push_back(std::move(part));
  }
  for (std::size_t i = 0; i < needs.roles.nodes.size(); ++i) {
    (needs.roles.roles[i] == Role::kRest ? result.rest : result.nodes).push_back(needs.roles.nodes[i]);
  }
  return result;
}

std::size_t longest_front(const Graph& graph, const StageNodes& nodes, const Division& division,
                          const std::vector<std::int64_t>& units) {
  StageNodes front = nodes;
  while (!front.empty() && !find_stage_needs(graph, front, division, units)) front.pop_back();
  return front.size();
}

}  // namespace onnx_split
