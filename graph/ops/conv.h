// Conv: ONNX Conv-11, 1-D to 3-D, NCHW. Inputs: x [N,C,spatial…], w [M,C/group,kernel…], optionally b [M].
// Attributes: group, strides, dilations, pads (begins, then ends); defaults 1, 1…, 1…, 0….
#pragma once

#include "graph/ops/window.h"

namespace onnx_split {

struct ConvGeometry {
  std::int64_t batch = 0;
  std::int64_t groups = 0;
  std::int64_t input_channels = 0;   // all groups together
  std::int64_t output_channels = 0;  // all groups together
  Window window;                     // one axis per spatial axis
  bool has_bias = false;

  // Every group has one input channel: each output channel sees one input channel.
  bool depthwise() const { return groups == input_channels && groups > 1; }
  std::int64_t output_positions() const { return window.output_elements(); }
  std::int64_t kernel_elements() const { return window.kernel_elements(); }
};

// Checks ranks, types, channel counts and that the output isn't empty.
Expected<ConvGeometry> conv_geometry(const OpCall& call);

extern const Operator kConvOperator;

}  // namespace onnx_split
