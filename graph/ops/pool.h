// MaxPool (ONNX MaxPool-12, first output only) and AveragePool (AveragePool-19), 1-D to 3-D, and their global forms.
// Attributes: kernel_shape, strides, dilations, pads (smaller than the dilated kernel), ceil_mode, count_include_pad. A
// window that meets no element of the input (dilation can jump over all) has maximum float's lowest and average 0.
#pragma once

#include "graph/ops/window.h"

namespace onnx_split {

struct PoolGeometry {
  std::int64_t batch = 0;
  std::int64_t channels = 0;
  Window window;
  bool count_include_pad =
      false;  // AveragePool: padding counts in the divisor (never the part beyond it that ceil_mode adds)
};

Expected<PoolGeometry> pool_geometry(const OpCall& call);

// GlobalMaxPool and GlobalAveragePool as a pool whose window is everything: one axis with all the spatial elements.
Expected<PoolGeometry> global_pool_geometry(const OpCall& call);

extern const Operator kMaxPoolOperator;
extern const Operator kAveragePoolOperator;
extern const Operator kGlobalMaxPoolOperator;
extern const Operator kGlobalAveragePoolOperator;

}  // namespace onnx_split
