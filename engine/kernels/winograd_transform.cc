#include "engine/kernels/winograd_transform.h"

#include <array>
#include <cstring>

#include "base/check.h"
#include "engine/kernels/simd.h"

namespace onnx_split {
namespace {

constexpr std::int64_t kBlock = kFloat16Lanes;

template <std::int64_t kOutputs>
struct Winograd;

template <>
struct Winograd<2> {
  static constexpr std::array<std::array<double, 3>, 4> kG = {{{1, 0, 0}, {.5, .5, .5}, {.5, -.5, .5}, {0, 0, 1}}};
  ONNX_SPLIT_INLINE static void input(const Float16* d, std::int64_t s, Float16* v, std::int64_t t) {
    v[0 * t] = d[0 * s] - d[2 * s];
    v[1 * t] = d[1 * s] + d[2 * s];
    v[2 * t] = d[2 * s] - d[1 * s];
    v[3 * t] = d[1 * s] - d[3 * s];
  }
  ONNX_SPLIT_INLINE static void output(const Float16* m, std::int64_t s, Float16* y, std::int64_t t) {
    y[0 * t] = m[0 * s] + m[1 * s] + m[2 * s];
    y[1 * t] = m[1 * s] - m[2 * s] - m[3 * s];
  }
};

template <>
struct Winograd<4> {
  static constexpr std::array<std::array<double, 3>, 6> kG = {{{1.0 / 4, 0, 0},
                                                               {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                                                               {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                                                               {1.0 / 24, 1.0 / 12, 1.0 / 6},
                                                               {1.0 / 24, -1.0 / 12, 1.0 / 6},
                                                               {0, 0, 1}}};
  ONNX_SPLIT_INLINE static void input(const Float16* d, std::int64_t s, Float16* v, std::int64_t t) {
    const Float16 d1 = d[1 * s], d2 = d[2 * s], d3 = d[3 * s], d4 = d[4 * s];
    const Float16 even = d4 - d2 * 4.0F, odd = d3 - d1 * 4.0F;
    const Float16 even2 = d4 - d2, odd2 = (d3 - d1) * 2.0F;
    v[0 * t] = d[0 * s] * 4.0F - d2 * 5.0F + d4;
    v[1 * t] = even + odd;
    v[2 * t] = even - odd;
    v[3 * t] = even2 + odd2;
    v[4 * t] = even2 - odd2;
    v[5 * t] = d1 * 4.0F - d3 * 5.0F + d[5 * s];
  }
  ONNX_SPLIT_INLINE static void output(const Float16* m, std::int64_t s, Float16* y, std::int64_t t) {
    const Float16 sum1 = m[1 * s] + m[2 * s], difference1 = m[1 * s] - m[2 * s];
    const Float16 sum2 = m[3 * s] + m[4 * s], difference2 = m[3 * s] - m[4 * s];
    y[0 * t] = m[0 * s] + sum1 + sum2;
    y[1 * t] = difference1 + difference2 * 2.0F;
    y[2 * t] = sum1 + sum2 * 4.0F;
    y[3 * t] = difference1 + difference2 * 8.0F + m[5 * s];
  }
};

typedef double Double16 __attribute__((vector_size(128), may_alias));  // NOLINT(modernize-use-using)

template <std::int64_t kOutputs>
ONNX_SPLIT_INLINE void kernels_of(const float* kernels, std::int64_t channel, std::int64_t count, float* u,
                                  std::int64_t step) {
  constexpr std::int64_t kInputs = winograd_inputs(kOutputs);
  const auto& g = Winograd<kOutputs>::kG;
  alignas(Double16) double taps[9][kBlock] = {};
  for (std::int64_t c = 0; c < count; ++c) {
    for (std::int64_t k = 0; k < 9; ++k) taps[k][c] = static_cast<double>(kernels[c * channel + k]);
  }
  const auto tap = [&](std::size_t k) -> const Double16& { return *reinterpret_cast<const Double16*>(taps[k]); };
  for (std::size_t i = 0; i < kInputs; ++i) {
    Double16 row[3];  // of G g
    for (std::size_t b = 0; b < 3; ++b) row[b] = tap(b) * g[i][0] + tap(3 + b) * g[i][1] + tap(6 + b) * g[i][2];
    for (std::size_t j = 0; j < kInputs; ++j) {
      const Double16 sum = row[0] * g[j][0] + row[1] * g[j][1] + row[2] * g[j][2];
      double lanes[kBlock];
      std::memcpy(lanes, &sum, sizeof(lanes));
      float* to = u + static_cast<std::int64_t>(i * kInputs + j) * step;
      for (std::int64_t c = 0; c < count; ++c) to[c] = static_cast<float>(lanes[c]);
    }
  }
}

template <std::int64_t kOutputs>
ONNX_SPLIT_INLINE void input_of(const float* x, std::int64_t row, float* v, std::int64_t step) {
  constexpr std::int64_t kInputs = winograd_inputs(kOutputs);
  Float16 d[kInputs], columns[kInputs * kInputs];  // columns of Bᵀ d
  for (std::int64_t j = 0; j < kInputs; ++j) {
    for (std::int64_t i = 0; i < kInputs; ++i) d[i] = at(x + i * row + j * kBlock);
    Winograd<kOutputs>::input(d, 1, columns + j, kInputs);
  }
  for (std::int64_t i = 0; i < kInputs; ++i) {
    Float16 line[kInputs];
    Winograd<kOutputs>::input(columns + i * kInputs, 1, line, 1);
    for (std::int64_t j = 0; j < kInputs; ++j) *reinterpret_cast<Float16*>(v + (i * kInputs + j) * step) = line[j];
  }
}

template <std::int64_t kOutputs>
ONNX_SPLIT_INLINE void output_of(const float* m, std::int64_t step, float* y) {
  constexpr std::int64_t kInputs = winograd_inputs(kOutputs);
  Float16 d[kInputs], columns[kOutputs * kInputs];
  for (std::int64_t j = 0; j < kInputs; ++j) {
    for (std::int64_t i = 0; i < kInputs; ++i) d[i] = at(m + (i * kInputs + j) * step);
    Winograd<kOutputs>::output(d, 1, columns + j, kInputs);
  }
  for (std::int64_t i = 0; i < kOutputs; ++i) {
    Float16 line[kOutputs];
    Winograd<kOutputs>::output(columns + i * kInputs, 1, line, 1);
    for (std::int64_t j = 0; j < kOutputs; ++j) *reinterpret_cast<Float16*>(y + (i * kOutputs + j) * kBlock) = line[j];
  }
}

ONNX_SPLIT_CLONES void kernels_2(const float* kernels, std::int64_t channel, std::int64_t count, float* u,
                                 std::int64_t step) {
  kernels_of<2>(kernels, channel, count, u, step);
}
ONNX_SPLIT_CLONES void kernels_4(const float* kernels, std::int64_t channel, std::int64_t count, float* u,
                                 std::int64_t step) {
  kernels_of<4>(kernels, channel, count, u, step);
}
ONNX_SPLIT_CLONES void input_2(const float* x, std::int64_t row, float* v, std::int64_t step) {
  input_of<2>(x, row, v, step);
}
ONNX_SPLIT_CLONES void input_4(const float* x, std::int64_t row, float* v, std::int64_t step) {
  input_of<4>(x, row, v, step);
}
ONNX_SPLIT_CLONES void output_2(const float* m, std::int64_t step, float* y) { output_of<2>(m, step, y); }
ONNX_SPLIT_CLONES void output_4(const float* m, std::int64_t step, float* y) { output_of<4>(m, step, y); }

}  // namespace

void transform_kernels(std::int64_t outputs, const float* kernels, std::int64_t channel, std::int64_t count, float* u,
                       std::int64_t step) {
  CHECK(outputs == 2 || outputs == 4);
  CHECK(count >= 1 && count <= kBlock);
  outputs == 2 ? kernels_2(kernels, channel, count, u, step) : kernels_4(kernels, channel, count, u, step);
}

void transform_input(std::int64_t outputs, const float* x, std::int64_t row, float* v, std::int64_t step) {
  outputs == 2 ? input_2(x, row, v, step) : input_4(x, row, v, step);
}

void transform_output(std::int64_t outputs, const float* m, std::int64_t step, float* y) {
  outputs == 2 ? output_2(m, step, y) : output_4(m, step, y);
}

}  // namespace onnx_split
