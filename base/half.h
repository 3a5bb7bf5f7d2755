// Half-precision floats (IEEE 754 binary16), for keeping weights in half the memory.
#pragma once

#include <bit>
#include <cstdint>

namespace onnx_split {

struct Half {
  std::uint16_t bits = 0;
};

// To the nearest, ties to the even one. What is larger than the largest half (65,504) becomes that, infinities too: a
// network with such a weight stays finite. NaN stays NaN here; widened where the processor has no instruction for it,
// it may become a number.
inline Half to_half(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000U);
  const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  constexpr std::uint32_t kInfinity = 0x7F800000U, kLargest = 0x477FE000U, kSmallestNormal = 0x38800000U;
  const auto make = [sign](std::uint32_t rest) { return Half{static_cast<std::uint16_t>(sign | rest)}; };
  if (magnitude > kInfinity) return make(0x7E00U);
  if (magnitude >= kLargest) return make(0x7BFFU);
  if (magnitude < kSmallestNormal) {
    // Adding 0.5 rounds the bits below 2^-24 away.
    const float rounded = std::bit_cast<float>(magnitude) + 0.5F;
    return make(std::bit_cast<std::uint32_t>(rounded) - std::bit_cast<std::uint32_t>(0.5F));
  }
  const std::uint32_t odd = magnitude >> 13 & 1U;
  return make((magnitude + 0x0FFFU + odd - (std::uint32_t{112} << 23)) >> 13);
}

inline float to_float(float value) { return value; }
// Exact.
inline float to_float(Half half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half.bits & 0x8000U) << 16;
  const std::uint32_t rest = half.bits & 0x7FFFU;
  if (rest >= 0x7C00U) return std::bit_cast<float>(sign | 0x7F800000U | (rest & 0x03FFU) << 13);
  if (rest < 0x0400U) {
    const float magnitude = static_cast<float>(rest) * 0x1p-24F;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
  }
  return std::bit_cast<float>(sign | ((rest << 13) + (std::uint32_t{112} << 23)));
}

}  // namespace onnx_split
