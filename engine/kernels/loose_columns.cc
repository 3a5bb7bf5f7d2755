#include "engine/kernels/loose_columns.h"

#include "engine/kernels/simd.h"

namespace onnx_split {
namespace {

struct Operands {
  const float* w;
  std::int64_t w_stride;
  const float* columns;
  float* y;
  std::int64_t y_stride;
  std::int64_t depth;
  bool accumulate;
};

// Rows and columns at once share loads and sum side by side. Unrolled by request: otherwise the sums stay in memory.
template <std::int64_t kRows, std::int64_t kColumns>
ONNX_SPLIT_INLINE void multiply_block(const Operands& o, std::int64_t row, std::int64_t column) {
  const float* w = o.w + row * o.w_stride;
  const float* x = o.columns + column * o.depth;
  const std::int64_t depth = o.depth;
  const std::int64_t w_stride = o.w_stride;
  const std::int64_t whole = depth / kFloat16Lanes * kFloat16Lanes;
  Float16 sums[kRows * kColumns];
#pragma GCC unroll 16
  for (std::int64_t i = 0; i < kRows * kColumns; ++i) sums[i] = Float16{};
  for (std::int64_t k = 0; k < whole; k += kFloat16Lanes) {
#pragma GCC unroll 16
    for (std::int64_t i = 0; i < kRows * kColumns; ++i) {
      sums[i] += at(w + i / kColumns * w_stride + k) * at(x + i % kColumns * depth + k);
    }
  }
#pragma GCC unroll 16
  for (std::int64_t i = 0; i < kRows * kColumns; ++i) {
    const std::int64_t r = i / kColumns;
    const std::int64_t c = i % kColumns;
    float sum = sum_lanes(sums[i]);
    for (std::int64_t k = whole; k < depth; ++k) sum += w[r * w_stride + k] * x[c * depth + k];
    float* y = o.y + (row + r) * o.y_stride + column + c;
    *y = o.accumulate ? *y + sum : sum;
  }
}

template <std::int64_t kColumns>
ONNX_SPLIT_INLINE void multiply_strip(const Operands& o, std::int64_t rows, std::int64_t column) {
  std::int64_t row = 0;
  for (; row + 4 <= rows; row += 4) multiply_block<4, kColumns>(o, row, column);
  for (; row < rows; ++row) multiply_block<1, kColumns>(o, row, column);
}

}  // namespace

std::int64_t loose_columns(std::int64_t columns, std::int64_t depth) {
  constexpr std::int64_t kLeastDepth = 32;
  const std::int64_t loose = columns % kFloat16Lanes;
  return depth >= kLeastDepth && loose <= kMostLooseColumns ? loose : 0;
}

void gather_columns(const float* matrix, std::int64_t stride, std::int64_t count, std::int64_t depth, float* columns) {
  for (std::int64_t k = 0; k < depth; ++k) {
    for (std::int64_t c = 0; c < count; ++c) columns[c * depth + k] = matrix[k * stride + c];
  }
}

ONNX_SPLIT_CLONES void multiply_columns(const float* w, std::int64_t w_stride, const float* columns, float* y,
                                        std::int64_t y_stride, std::int64_t rows, std::int64_t count,
                                        std::int64_t depth, bool accumulate) {
  const Operands o{w, w_stride, columns, y, y_stride, depth, accumulate};
  std::int64_t column = 0;
  for (; column + 4 <= count; column += 4) multiply_strip<4>(o, rows, column);
  for (; column < count; ++column) multiply_strip<1>(o, rows, column);
}

}  // namespace onnx_split
