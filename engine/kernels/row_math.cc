#include "engine/kernels/row_math.h"

#include <algorithm>
#include <limits>

#include "engine/kernels/simd.h"

namespace onnx_split {
namespace {

// Sixteen partial results in a fixed order, then the rest one by one.
template <bool kMax>
ONNX_SPLIT_INLINE float combine_all(const float* x, std::int64_t count) {
  constexpr std::int64_t kLanes = 16;
  float lanes[kLanes];
  std::fill_n(lanes, kLanes, kMax ? -std::numeric_limits<float>::infinity() : 0.0F);
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      const float value = x[i + lane];
      lanes[lane] = kMax ? (value > lanes[lane] ? value : lanes[lane]) : lanes[lane] + value;
    }
  }
  for (std::int64_t lane = 0; i < count; ++i, ++lane) {
    lanes[lane] = kMax ? (x[i] > lanes[lane] ? x[i] : lanes[lane]) : lanes[lane] + x[i];
  }
  for (std::int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (std::int64_t lane = 0; lane < half; ++lane) {
      const float value = lanes[lane + half];
      lanes[lane] = kMax ? (value > lanes[lane] ? value : lanes[lane]) : lanes[lane] + value;
    }
  }
  return lanes[0];
}

}  // namespace

ONNX_SPLIT_CLONES float sum_of(const float* x, std::int64_t count) { return combine_all<false>(x, count); }
ONNX_SPLIT_CLONES float max_of(const float* x, std::int64_t count) { return combine_all<true>(x, count); }

ONNX_SPLIT_CLONES void add_into(const float* x, float* y, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) y[i] += x[i];
}
ONNX_SPLIT_CLONES void max_into(const float* x, float* y, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) y[i] = x[i] > y[i] ? x[i] : y[i];
}

}  // namespace onnx_split
