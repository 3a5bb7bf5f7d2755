// Operators that keep the elements and their order and only change the shape: Reshape (attribute shape, every extent
// named), Flatten (axis 1), Squeeze (axes; missing: all extents of 1), Unsqueeze (axes, in the output) and Identity.
// Any element type; to compute one is to copy the bytes.
#pragma once

#include "graph/operators.h"

namespace onnx_split {

// Whether `op` is of this family: its output may share its input's memory.
bool keeps_bytes(OpType op);

extern const Operator kFlattenOperator;
extern const Operator kIdentityOperator;
extern const Operator kReshapeOperator;
extern const Operator kSqueezeOperator;
extern const Operator kUnsqueezeOperator;

}  // namespace onnx_split
