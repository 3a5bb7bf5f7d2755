// From ONNX's many forms of an operator to the graph's one (graph/op_type.h): explicit pads, axes that aren't negative,
// extents that are all named. One function a family; the operator table says which row uses which. Each emits the node,
// or defines its output as a constant.
#pragma once

#include "onnx_import/graph_writer.h"

namespace onnx_split {

// The node means the same in the graph.
Expected<void> convert_plain(OnnxNode node, GraphWriter& writer);

// convert_shape.cc: moving elements about
Expected<void> convert_axis(OnnxNode node, GraphWriter& writer);  // one attribute "axis": Concat, Flatten, Gather
Expected<void> convert_concat_1(OnnxNode node, GraphWriter& writer);
Expected<void> convert_expand(OnnxNode node, GraphWriter& writer);
Expected<void> convert_pad(OnnxNode node, GraphWriter& writer);
Expected<void> convert_reshape(OnnxNode node, GraphWriter& writer);
Expected<void> convert_slice(OnnxNode node, GraphWriter& writer);
Expected<void> convert_split(OnnxNode node, GraphWriter& writer);
Expected<void> convert_squeeze(OnnxNode node, GraphWriter& writer);
Expected<void> convert_transpose(OnnxNode node, GraphWriter& writer);
Expected<void> convert_unsqueeze(OnnxNode node, GraphWriter& writer);

// convert_window.cc: windows and resampling
Expected<void> convert_conv(OnnxNode node, GraphWriter& writer);
Expected<void> convert_pool(OnnxNode node, GraphWriter& writer);
Expected<void> convert_resize(OnnxNode node, GraphWriter& writer);
Expected<void> convert_upsample(OnnxNode node, GraphWriter& writer);  // Resize-10 too

// convert_arithmetic.cc: computing elements
Expected<void> convert_binary_1(OnnxNode node, GraphWriter& writer);  // with the attributes broadcast and axis
Expected<void> convert_cast(OnnxNode node, GraphWriter& writer);
Expected<void> convert_dropout(OnnxNode node, GraphWriter& writer);
Expected<void> convert_prelu_1(OnnxNode node, GraphWriter& writer);  // one slope a channel
Expected<void> convert_reduce(OnnxNode node, GraphWriter& writer);
Expected<void> convert_softmax(OnnxNode node, GraphWriter& writer);
Expected<void> convert_softmax_1(OnnxNode node, GraphWriter& writer);  // over all axes from `axis` on

// convert_constant.cc: what is known without running the network
Expected<void> convert_constant(OnnxNode node, GraphWriter& writer);
Expected<void> convert_constant_of_shape(OnnxNode node, GraphWriter& writer);
Expected<void> convert_shape(OnnxNode node, GraphWriter& writer);

}  // namespace onnx_split
