// The operator's own slow evaluate (graph/operators.h) as a kernel: for the cases no fast kernel covers, and for tests.
#pragma once

#include "engine/kernels/kernel.h"

namespace onnx_split {

std::unique_ptr<Kernel> make_reference_kernel(const KernelSpec& spec);

}  // namespace onnx_split
