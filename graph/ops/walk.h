// Walking all coordinates of a shape, for the reference implementations.
#pragma once

#include <array>
#include <span>

#include "graph/shape.h"

namespace onnx_split {

using Index = std::array<std::int64_t, kMaxRank>;

// The element that `index` reaches with the given strides.
inline std::int64_t offset_of(const Index& index, std::span<const std::int64_t> strides) {
  std::int64_t offset = 0;
  for (std::size_t axis = 0; axis < strides.size(); ++axis) offset += index[axis] * strides[axis];
  return offset;
}

// Calls body(flat, index) for every coordinate in row-major order; `flat` counts from 0. A scalar has one.
template <class Body>
void for_each_index(const Shape& shape, Body&& body) {
  const std::int64_t elements = shape.elements();
  Index index{};
  for (std::int64_t flat = 0; flat < elements; ++flat) {
    body(static_cast<std::size_t>(flat), static_cast<const Index&>(index));
    for (std::size_t axis = shape.rank(); axis-- > 0;) {
      if (++index[axis] < shape[axis]) break;
      index[axis] = 0;
    }
  }
}

}  // namespace onnx_split
