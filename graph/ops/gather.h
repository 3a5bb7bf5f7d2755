// Gather (ONNX Gather-13): takes the entries `indices` (int64, negative ones count from the end) of `data` along `axis`
// (default 0). Data of any element type.
#pragma once

#include "graph/operators.h"

namespace onnx_split {

// Output (o, j, i) is data (o, indices[j], i): data holds outer·extent·inner elements, the output outer·count·inner.
struct GatherGeometry {
  std::int64_t outer = 0;
  std::int64_t extent = 0;  // of the axis
  std::int64_t inner = 0;
  std::int64_t count = 0;  // number of indices
};

Expected<GatherGeometry> gather_geometry(const OpCall& call);

// An index in [-extent, extent) as one in [0, extent).
Expected<std::int64_t> gather_index(std::int64_t index, std::int64_t extent);

extern const Operator kGatherOperator;

}  // namespace onnx_split
