// Slice (ONNX Slice-13). Attributes starts, ends (clamped as ONNX does), axes (default 0, 1, …), steps (default 1;
// negative ones walk backwards). Any element type.
#pragma once

#include <vector>

#include "graph/operators.h"

namespace onnx_split {

struct SliceAxis {
  std::int64_t begin = 0;  // first input index taken
  std::int64_t step = 1;
  std::int64_t count = 0;  // the output's extent

  std::int64_t source(std::int64_t position) const { return begin + position * step; }
};

struct SliceGeometry {
  std::vector<SliceAxis> axes;  // one for each axis of the input, in order
};

Expected<SliceGeometry> slice_geometry(const OpCall& call);

extern const Operator kSliceOperator;

}  // namespace onnx_split
