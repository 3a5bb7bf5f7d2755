// Max, Min, Mean and Sum of one or more inputs, element by element, with multidirectional broadcasting. float32; Max
// and Min take int64 too. Inputs are combined in their order.
#pragma once

#include "graph/operators.h"

namespace onnx_split {

// Two elements combined (Mean adds; the caller divides at the end). NaN stays NaN.
template <class T>
T combine_variadic(OpType op, T a, T b) {
  switch (op) {
    case OpType::kMax: return a > b || a != a ? a : b;
    case OpType::kMin: return a < b || a != a ? a : b;
    default: return a + b;
  }
}

extern const Operator kMaxOperator;
extern const Operator kMeanOperator;
extern const Operator kMinOperator;
extern const Operator kSumOperator;

}  // namespace onnx_split
