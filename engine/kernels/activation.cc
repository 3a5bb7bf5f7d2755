#include "engine/kernels/activation.h"

#include <bit>
#include <cstdint>

#include "engine/kernels/simd.h"

namespace onnx_split {
namespace {

// exp(x) = 2^n · exp(r), r in [-ln2/2, ln2/2], exp(r) by the polynomial of Cephes' expf. No branch, so that it
// vectorises.
ONNX_SPLIT_INLINE float fast_exp(float x) {
  constexpr float kLow = -87.5F;  // exp is 0 from here down, infinite from kHigh up
  constexpr float kHigh = 89.0F;
  constexpr float kRound = 12582912.0F;  // 1.5·2^23: adding it rounds to an integer, found in the low bits
  x = x < kLow ? kLow : x;
  x = x > kHigh ? kHigh : x;
  const float shifted = x * 1.44269504088896341F + kRound;
  const float n = shifted - kRound;
  float r = x - n * 0.693359375F;
  r = r - n * -2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * (r * r) + r + 1.0F;
  // 2^(n-1), because 2^128 is no float but half of it times two may come out finite.
  const std::uint32_t exponent = std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(kRound);
  return p * std::bit_cast<float>((exponent + 126U) << 23) * 2.0F;
}

template <OpType kOp>
ONNX_SPLIT_INLINE void map_row(UnaryParams params, const float* x, float* y, std::size_t count) {
  params.op = kOp;
  for (std::size_t i = 0; i < count; ++i) y[i] = apply_unary(params, x[i]);
}

}  // namespace

ONNX_SPLIT_CLONES void exp_row(const float* x, float* y, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) y[i] = fast_exp(x[i]);
}

ONNX_SPLIT_CLONES void apply_activation(const UnaryParams& params, const float* x, float* y, std::size_t count) {
  switch (params.op) {
    case OpType::kIdentity:
      if (x != y) map_row<OpType::kIdentity>(params, x, y, count);
      break;
    case OpType::kSigmoid:
      for (std::size_t i = 0; i < count; ++i) y[i] = 1.0F / (1.0F + fast_exp(-x[i]));
      break;
    case OpType::kExp:
      for (std::size_t i = 0; i < count; ++i) y[i] = fast_exp(x[i]);
      break;
    case OpType::kAbs: map_row<OpType::kAbs>(params, x, y, count); break;
    case OpType::kClip: map_row<OpType::kClip>(params, x, y, count); break;
    case OpType::kElu: map_row<OpType::kElu>(params, x, y, count); break;
    case OpType::kHardSigmoid: map_row<OpType::kHardSigmoid>(params, x, y, count); break;
    case OpType::kHardSwish: map_row<OpType::kHardSwish>(params, x, y, count); break;
    case OpType::kLeakyRelu: map_row<OpType::kLeakyRelu>(params, x, y, count); break;
    case OpType::kNeg: map_row<OpType::kNeg>(params, x, y, count); break;
    case OpType::kRelu: map_row<OpType::kRelu>(params, x, y, count); break;
    case OpType::kSelu: map_row<OpType::kSelu>(params, x, y, count); break;
    case OpType::kSoftplus: map_row<OpType::kSoftplus>(params, x, y, count); break;
    case OpType::kSqrt: map_row<OpType::kSqrt>(params, x, y, count); break;
    case OpType::kTanh: map_row<OpType::kTanh>(params, x, y, count); break;
    default: CHECK(is_unary(params.op));
  }
}

ONNX_SPLIT_CLONES static void add_to_row(float* y, std::size_t count, const float* bias, const float* addend) {
  const float b = bias == nullptr ? 0.0F : *bias;
  if (bias != nullptr && addend != nullptr) {
    for (std::size_t i = 0; i < count; ++i) y[i] = (y[i] + b) + addend[i];
  } else if (bias != nullptr) {
    for (std::size_t i = 0; i < count; ++i) y[i] = y[i] + b;
  } else if (addend != nullptr) {
    for (std::size_t i = 0; i < count; ++i) y[i] = y[i] + addend[i];
  }
}

void finish_row(float* y, std::size_t count, const float* bias, const float* addend, const UnaryParams& activation) {
  add_to_row(y, count, bias, addend);
  apply_activation(activation, y, y, count);
}

}  // namespace onnx_split
