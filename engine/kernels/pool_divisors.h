#pragma once

#include <cstdint>
#include <vector>

#include "graph/ops/window.h"

namespace onnx_split {

// For each output position along an axis: how many window elements count in an average's divisor.
std::vector<std::int64_t> pool_divisors(const WindowAxis& axis, bool include_pad);

}  // namespace onnx_split
