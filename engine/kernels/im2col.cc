#include "engine/kernels/im2col.h"

#include <algorithm>
#include <cstring>

#include "engine/kernels/simd.h"
#include "graph/region.h"

namespace onnx_split {
namespace {

void zero(float* target, std::int64_t count) {
  if (count > 0) std::memset(target, 0, static_cast<std::size_t>(count) * sizeof(float));
}
void copy(float* target, const float* source, std::int64_t count) {
  if (count > 0) std::memcpy(target, source, static_cast<std::size_t>(count) * sizeof(float));
}

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// The output positions [begin, end) along one axis for which kernel element `k` meets the input.
Range meeting(const WindowAxis& axis, std::int64_t k) {
  const std::int64_t shift = k * axis.dilation - axis.pad_begin;  // input = output · stride + shift
  const std::int64_t begin = shift >= 0 ? 0 : ceil_div(-shift, axis.stride);
  const std::int64_t end = axis.input > shift ? ceil_div(axis.input - shift, axis.stride) : 0;
  return {std::min(begin, axis.output), std::clamp(end, std::min(begin, axis.output), axis.output)};
}

// One matrix row where stride is 1 and input and output are equally wide: one long copy, then zeros at the edges.
void shifted_row(const Im2colShape& shape, const float* plane, std::int64_t ky, std::int64_t kx, const Im2colTile& tile,
                 float* target) {
  const WindowAxis& y = shape.axes[1];
  const WindowAxis& x = shape.axes[2];
  const std::int64_t width = x.output;
  const Range rows = meeting(y, ky);
  const Range columns = meeting(x, kx);
  const std::int64_t shift = (ky * y.dilation - y.pad_begin) * width + kx * x.dilation - x.pad_begin;
  // Positions whose source lies in the plane; the others are in the padding anyway.
  const std::int64_t lowest = std::max({rows.begin * width, -shift, tile.position_begin});
  const std::int64_t highest = std::min({rows.end * width, shape.input_plane - shift, tile.position_end});
  const std::int64_t begin = std::min(lowest, tile.position_end);
  const std::int64_t end = std::max(begin, highest);
  zero(target, begin - tile.position_begin);
  copy(target + (begin - tile.position_begin), plane + begin + shift, end - begin);
  zero(target + (end - tile.position_begin), tile.position_end - end);
  if (columns.size() == width) return;
  for (std::int64_t row = begin / width; row * width < end; ++row) {
    const std::int64_t left = row * width;
    for (std::int64_t p = std::max(left, begin); p < std::min(left + columns.begin, end); ++p) {
      target[p - tile.position_begin] = 0.0F;
    }
    for (std::int64_t p = std::max(left + columns.end, begin); p < std::min(left + width, end); ++p) {
      target[p - tile.position_begin] = 0.0F;
    }
  }
}

// Part of one output row: columns [begin, end) from input row `source`.
void strided_run(const WindowAxis& x, std::int64_t kx, const Range& columns, const float* source, std::int64_t begin,
                 std::int64_t end, float* target) {
  const std::int64_t first = std::clamp(columns.begin, begin, end);
  const std::int64_t last = std::clamp(columns.end, first, end);
  const std::int64_t shift = kx * x.dilation - x.pad_begin;
  for (std::int64_t i = begin; i < first; ++i) target[i - begin] = 0.0F;
  float* const run = target + (first - begin);
  const float* const from = source + first * x.stride + shift;
  const std::int64_t count = last - first;
  if (x.stride == 1) {
    copy_run(run, from, count);
  } else if (x.stride == 2) {
    for (std::int64_t i = 0; i < count; ++i) run[i] = from[2 * i];
  } else {
    for (std::int64_t i = 0; i < count; ++i) run[i] = from[i * x.stride];
  }
  for (std::int64_t i = last; i < end; ++i) target[i - begin] = 0.0F;
}

// One matrix row of any convolution, an output row at a time. Counts instead of dividing: in small pictures the rows
// are short.
void general_row(const Im2colShape& shape, const float* plane, std::int64_t kz, std::int64_t ky, std::int64_t kx,
                 const Im2colTile& tile, float* target) {
  const auto& [z, y, x] = shape.axes;
  const Range columns = meeting(x, kx);
  const bool whole_runs = x.stride == 1 && columns.size() == x.output;
  const std::int64_t shift = kx * x.dilation - x.pad_begin;
  const std::int64_t row = tile.position_begin / x.output;
  std::int64_t begin = tile.position_begin - row * x.output;
  std::int64_t output_y = row % y.output;
  std::int64_t output_z = row / y.output;
  for (std::int64_t left = tile.position_end - tile.position_begin; left > 0;) {
    const std::int64_t end = std::min(x.output, begin + left);
    const std::int64_t input_z = z.begin(output_z) + kz * z.dilation;
    const std::int64_t input_y = y.begin(output_y) + ky * y.dilation;
    if (input_z < 0 || input_z >= z.input || input_y < 0 || input_y >= y.input) {
      zero(target, end - begin);
    } else if (const float* source = plane + (input_z * y.input + input_y) * x.input; whole_runs) {
      copy_run(target, source + begin + shift, end - begin);
    } else {
      strided_run(x, kx, columns, source, begin, end, target);
    }
    target += end - begin;
    left -= end - begin;
    begin = 0;
    if (++output_y == y.output) {
      output_y = 0;
      ++output_z;
    }
  }
}

}  // namespace

Im2colShape::Im2colShape(const Window& window)
    : input_plane(window.input_elements()),
      kernel_elements(window.kernel_elements()),
      output_plane(window.output_elements()) {
  CHECK(window.axes.size() <= axes.size());
  const WindowAxis one{.input = 1, .output = 1};
  axes.fill(one);
  std::copy(window.axes.rbegin(), window.axes.rend(), axes.rbegin());
  const auto& [z, y, x] = axes;
  shifted_plane =
      z.input == 1 && z.output == 1 && z.kernel == 1 && y.stride == 1 && x.stride == 1 && x.input == x.output;
}

void im2col(const Im2colShape& shape, const float* x, const Im2colTile& tile, float* matrix, std::int64_t stride) {
  const std::int64_t kernel_x = shape.axes[2].kernel;
  const std::int64_t kernel_y = shape.axes[1].kernel;
  for (std::int64_t row = tile.row_begin; row < tile.row_end; ++row, matrix += stride) {
    const float* plane = x + row / shape.kernel_elements * shape.input_plane;
    const std::int64_t k = row % shape.kernel_elements;
    const std::int64_t kx = k % kernel_x;
    const std::int64_t ky = k / kernel_x % kernel_y;
    if (shape.shifted_plane) {
      shifted_row(shape, plane, ky, kx, tile, matrix);
    } else {
      general_row(shape, plane, k / (kernel_x * kernel_y), ky, kx, tile, matrix);
    }
  }
}

}  // namespace onnx_split
