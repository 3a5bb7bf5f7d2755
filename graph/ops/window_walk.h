// The window as the reference implementations walk it: every tap of one window position.
#pragma once

#include "graph/ops/walk.h"
#include "graph/ops/window.h"

namespace onnx_split {

// Calls body(tap, input) for every tap of the window at output `position` that meets the input: their flat indices in
// the kernel and in the input's spatial axes.
template <class Body>
void for_each_tap(const Window& window, const Index& position, Body&& body) {
  std::vector<std::int64_t> kernel;
  for (const WindowAxis& axis : window.axes) kernel.push_back(axis.kernel);
  for_each_index(Shape(kernel), [&](std::size_t flat, const Index& tap) {
    std::int64_t input = 0;
    for (std::size_t i = 0; i < window.axes.size(); ++i) {
      const WindowAxis& axis = window.axes[i];
      const std::int64_t at = axis.begin(position[i]) + tap[i] * axis.dilation;
      if (at < 0 || at >= axis.input) return;
      input = input * axis.input + at;
    }
    body(flat, static_cast<std::size_t>(input));
  });
}

// The shape of the window's positions.
inline Shape positions_of(const Window& window) {
  std::vector<std::int64_t> dims;
  for (const WindowAxis& axis : window.axes) dims.push_back(axis.output);
  return Shape(std::move(dims));
}

}  // namespace onnx_split
