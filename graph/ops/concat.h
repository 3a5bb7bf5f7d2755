// Concat (ONNX Concat-13; attribute axis) and its inverse Split (Split-13; attributes axis, default 0, and split, the
// pieces' extents; missing: equal pieces). Any element type.
#pragma once

#include <vector>

#include "graph/operators.h"

namespace onnx_split {

// The whole and its pieces along one axis. For each of `outer` blocks the whole holds extent·inner elements in a row:
// piece 0's extents[0]·inner of that block, then piece 1's, …
struct PiecesGeometry {
  std::size_t axis = 0;
  std::int64_t outer = 0;
  std::int64_t inner = 0;             // elements behind the axis
  std::int64_t extent = 0;            // of the whole along the axis
  std::vector<std::int64_t> extents;  // of the pieces
};

Expected<PiecesGeometry> concat_geometry(const OpCall& call);
Expected<PiecesGeometry> split_geometry(const OpCall& call);

extern const Operator kConcatOperator;
extern const Operator kSplitOperator;

}  // namespace onnx_split
