// Moving elements of any type, for the reference implementations of operators that don't compute.
#pragma once

#include <cstring>

#include "graph/tensor.h"

namespace onnx_split {

// Elements [from, from + count) of `input` become elements [to, …) of `output`. Both have the same element type.
inline void copy_elements(const TensorView& input, std::int64_t from, const MutableTensorView& output, std::int64_t to,
                          std::int64_t count = 1) {
  CHECK(input.type().type == output.type().type);
  if (count == 0) return;
  const std::size_t size = element_bytes(input.type().type);
  std::memcpy(static_cast<std::byte*>(output.data()) + static_cast<std::size_t>(to) * size,
              static_cast<const std::byte*>(input.data()) + static_cast<std::size_t>(from) * size,
              static_cast<std::size_t>(count) * size);
}

}  // namespace onnx_split
