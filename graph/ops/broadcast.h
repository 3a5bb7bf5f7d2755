// Broadcasting as strides, and Expand (ONNX Expand-13; attribute shape, which broadcasts with the input's both ways).
#pragma once

#include <vector>

#include "graph/operators.h"

namespace onnx_split {

// The strides, in elements, with which an input is read in the coordinates of an output that it broadcasts to: one for
// each axis of the output, 0 where the input is repeated. The shapes must broadcast (infer has checked).
std::vector<std::int64_t> broadcast_strides(const Shape& input, const Shape& output);

extern const Operator kExpandOperator;

}  // namespace onnx_split
