#pragma once

#include "engine/kernels/kernel.h"
#include "graph/layout.h"

namespace onnx_split {

// Copies a tensor from its other layout `to` this one.
std::unique_ptr<Kernel> make_reorder(const TensorType& type, Layout to);

}  // namespace onnx_split
