#include "engine/kernels/gemv.h"

#include <algorithm>

#include "engine/kernels/simd.h"

namespace onnx_split {
namespace {

// kRows rows at once share the loads of x.
template <std::int64_t kRows>
ONNX_SPLIT_INLINE void rows_block(const float* w, std::int64_t stride, const float* x, float* y, std::int64_t depth) {
  Float16 sums[kRows] = {};
  const std::int64_t whole = depth / kFloat16Lanes * kFloat16Lanes;
  for (std::int64_t k = 0; k < whole; k += kFloat16Lanes) {
    const Float16& xs = at(x + k);
    for (std::int64_t r = 0; r < kRows; ++r) sums[r] += at(w + r * stride + k) * xs;
  }
  for (std::int64_t r = 0; r < kRows; ++r) {
    float tail = 0.0F;
    for (std::int64_t k = whole; k < depth; ++k) tail += w[r * stride + k] * x[k];
    y[r] = sum_lanes(sums[r]) + tail;
  }
}

}  // namespace

ONNX_SPLIT_CLONES void gemv_rows(const float* w, std::int64_t stride, const float* x, float* y, std::int64_t rows,
                                 std::int64_t depth) {
  std::int64_t r = 0;
  for (; r + 4 <= rows; r += 4) rows_block<4>(w + r * stride, stride, x, y + r, depth);
  for (; r < rows; ++r) rows_block<1>(w + r * stride, stride, x, y + r, depth);
}

ONNX_SPLIT_CLONES void gemv_columns(const float* w, std::int64_t stride, const float* x, float* y, std::int64_t columns,
                                    std::int64_t depth) {
  std::fill_n(y, columns, 0.0F);
  std::int64_t k = 0;
  for (; k + 4 <= depth; k += 4) {
    const float* row = w + k * stride;
    for (std::int64_t c = 0; c < columns; ++c) {
      float sum = y[c] + x[k] * row[c];
      sum += x[k + 1] * row[stride + c];
      sum += x[k + 2] * row[2 * stride + c];
      y[c] = sum + x[k + 3] * row[3 * stride + c];
    }
  }
  for (; k < depth; ++k) {
    for (std::int64_t c = 0; c < columns; ++c) y[c] += x[k] * w[k * stride + c];
  }
}

}  // namespace onnx_split
