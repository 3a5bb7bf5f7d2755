// ReduceMean, ReduceSum, ReduceMax (ONNX ReduceSum-13). Attributes axes (ints; missing or empty: all axes) and keepdims
// (1). float32; ReduceMax and ReduceSum take int64 too. Over no elements a sum is 0, a mean NaN and a maximum an error.
#pragma once

#include <vector>

#include "graph/operators.h"

namespace onnx_split {

// Output element number f is the kept coordinate number f in row-major order; it combines the input elements at
// (kept coordinate · kept_strides) + (every reduced coordinate · reduced_strides). Strides are in elements.
struct ReduceGeometry {
  Shape kept;
  std::vector<std::int64_t> kept_strides;
  Shape reduced;
  std::vector<std::int64_t> reduced_strides;
  std::vector<bool> is_reduced;  // by axis of the input
  Shape output;                  // kept, with keepdims an extent of 1 at each reduced axis

  std::int64_t count() const { return reduced.elements(); }  // input elements an output element combines
};

Expected<ReduceGeometry> reduce_geometry(const OpCall& call);

extern const Operator kReduceMaxOperator;
extern const Operator kReduceMeanOperator;
extern const Operator kReduceSumOperator;

}  // namespace onnx_split
