// The im2col matrix of a convolution, in tiles: row (channel, kernel position), column (output position); element: the
// input that this kernel position meets there, 0 in the padding. The product weights · matrix is the convolution.
#pragma once

#include <array>

#include "graph/ops/conv.h"

namespace onnx_split {

// A convolution's window brought to three spatial axes: missing ones in front have extent 1.
struct Im2colShape {
  explicit Im2colShape(const Window& window);

  std::array<WindowAxis, 3> axes;
  std::int64_t input_plane;  // elements of one input channel
  std::int64_t kernel_elements;
  std::int64_t output_plane;
  bool shifted_plane;  // every matrix row is the input plane shifted, but for the edges: 2-D, stride 1, widths equal
};

struct Im2colTile {
  std::int64_t row_begin, row_end;            // of the matrix
  std::int64_t position_begin, position_end;  // its columns
};

// Writes the tile row by row, `stride` elements from one row to the next. `x` is the first input channel's plane.
void im2col(const Im2colShape& shape, const float* x, const Im2colTile& tile, float* matrix, std::int64_t stride);

}  // namespace onnx_split
