// Softmax and LogSoftmax (ONNX Softmax-13: along one axis). Attribute axis, default the last.
#pragma once

#include "graph/operators.h"

namespace onnx_split {

// Element (o, a, i) lies at (o·extent + a)·inner + i.
struct SoftmaxGeometry {
  std::int64_t outer = 0;
  std::int64_t extent = 0;  // of the axis; 0 only in a tensor without elements
  std::int64_t inner = 0;
};

Expected<SoftmaxGeometry> softmax_geometry(const OpCall& call);

extern const Operator kLogSoftmaxOperator;
extern const Operator kSoftmaxOperator;

}  // namespace onnx_split
