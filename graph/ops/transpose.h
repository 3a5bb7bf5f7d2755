// Transpose (ONNX Transpose-13). Attribute perm: output axis i is input axis perm[i]; missing, the axes are reversed.
// Any element type.
#pragma once

#include <vector>

#include "graph/operators.h"

namespace onnx_split {

struct TransposeGeometry {
  std::vector<std::size_t> perm;
  Shape output;
  std::vector<std::int64_t> input_strides;  // for each output axis the step in the input, in elements
};

Expected<TransposeGeometry> transpose_geometry(const OpCall& call);

extern const Operator kTransposeOperator;

}  // namespace onnx_split
