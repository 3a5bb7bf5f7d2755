// Builds one part's graph from what the part needs and computes.
#pragma once

#include "partition/divide.h"
#include "partition/stage_needs.h"

namespace onnx_split {

// repeated_macs is left at 0: one part doesn't know the others.
Expected<DividedPart> build_part(const Graph& graph, const StageRoles& roles, const PartNeeds& needs,
                                 PartWeights weights);

}  // namespace onnx_split
