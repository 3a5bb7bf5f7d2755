#include "engine/kernels/gemv.h"

#include <algorithm>

#include "engine/kernels/highway_targets.h"
#include "engine/kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/gemv.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "engine/kernels/widen-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onnx_split {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// A row's sum is sixteen, one for every sixteenth product, whatever the vector's width.
using Floats = hn::CappedTag<float, 16>;
constexpr std::int64_t kSums = 16;
constexpr std::int64_t kLanes = hn::MaxLanes(Floats());
constexpr std::int64_t kVectors = kSums / kLanes;

// kRows rows at once share the loads of x.
template <std::int64_t kRows, class Weight>
HWY_INLINE void rows_block(const Weight* HWY_RESTRICT w, std::int64_t stride, const float* HWY_RESTRICT x, float* y,
                           std::int64_t depth) {
  const Floats d;
  hn::Vec<Floats> sums[kRows][kVectors];
#pragma GCC unroll 16
  for (std::int64_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (std::int64_t v = 0; v < kVectors; ++v) sums[r][v] = hn::Zero(d);
  }
  const std::int64_t whole = depth / kSums * kSums;
  for (std::int64_t k = 0; k < whole; k += kSums) {
#pragma GCC unroll 16
    for (std::int64_t v = 0; v < kVectors; ++v) {
      const auto xs = hn::LoadU(d, x + k + v * kLanes);
#pragma GCC unroll 16
      for (std::int64_t r = 0; r < kRows; ++r) {
        sums[r][v] = hn::MulAdd(load_weights(d, w + r * stride + k + v * kLanes), xs, sums[r][v]);
      }
    }
  }
  for (std::int64_t r = 0; r < kRows; ++r) {
    HWY_ALIGN float lanes[kSums];
    for (std::int64_t v = 0; v < kVectors; ++v) hn::Store(sums[r][v], d, lanes + v * kLanes);
    for (std::int64_t half = kSums / 2; half > 0; half /= 2) {
      for (std::int64_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    }
    float tail = 0.0F;
    for (std::int64_t k = whole; k < depth; ++k) tail += to_float(w[r * stride + k]) * x[k];
    y[r] = lanes[0] + tail;
  }
}

template <class Weight>
void rows_of(const Weight* w, std::int64_t stride, const float* x, float* y, std::int64_t rows, std::int64_t depth) {
  std::int64_t r = 0;
  for (; r + 4 <= rows; r += 4) rows_block<4>(w + r * stride, stride, x, y + r, depth);
  for (; r < rows; ++r) rows_block<1>(w + r * stride, stride, x, y + r, depth);
}

void float_rows(const float* w, std::int64_t stride, const float* x, float* y, std::int64_t rows, std::int64_t depth) {
  rows_of(w, stride, x, y, rows, depth);
}
void half_rows(const Half* w, std::int64_t stride, const float* x, float* y, std::int64_t rows, std::int64_t depth) {
  rows_of(w, stride, x, y, rows, depth);
}

}  // namespace HWY_NAMESPACE
}  // namespace onnx_split
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onnx_split {

HWY_EXPORT(float_rows);
HWY_EXPORT(half_rows);

void gemv_rows(const float* w, std::int64_t stride, const float* x, float* y, std::int64_t rows, std::int64_t depth) {
  HWY_DYNAMIC_DISPATCH(float_rows)(w, stride, x, y, rows, depth);
}

void gemv_rows(const Half* w, std::int64_t stride, const float* x, float* y, std::int64_t rows, std::int64_t depth) {
  HWY_DYNAMIC_DISPATCH(half_rows)(w, stride, x, y, rows, depth);
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
#endif
