// A region of a tensor as a tensor of its own.
#pragma once

#include "graph/region.h"
#include "graph/tensor.h"

namespace onnx_split {

// Elements `region` of `tensor`, any type. Shares the memory where the region is one run of it, otherwise copies. The
// region must lie inside the tensor.
Tensor cut_out(const Tensor& tensor, const Region& region);

}  // namespace onnx_split
