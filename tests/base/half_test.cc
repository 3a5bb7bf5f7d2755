#include "base/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace onnx_split {
namespace {

constexpr std::uint16_t kInfinity = 0x7C00, kLargest = 0x7BFF;

// By the definition of IEEE 754: sign, five bits of exponent, ten of fraction.
double value_of(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double magnitude = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

TEST(Half, EveryFiniteOneIsWidenedExactlyAndComesBack) {
  for (std::uint32_t bits = 0; bits <= 0xFFFF; ++bits) {
    const Half half{static_cast<std::uint16_t>(bits)};
    if ((bits & 0x7FFF) >= kInfinity) continue;
    ASSERT_EQ(static_cast<double>(to_float(half)), value_of(half.bits)) << bits;
    ASSERT_EQ(std::signbit(to_float(half)), (bits & 0x8000) != 0) << bits;
    ASSERT_EQ(to_half(to_float(half)).bits, bits);
  }
}

TEST(Half, RoundsToTheNearestAndTiesToTheEvenOne) {
  for (std::uint16_t bits = 0; bits < kLargest; ++bits) {
    const auto next = static_cast<std::uint16_t>(bits + 1);
    const auto middle = static_cast<float>((value_of(bits) + value_of(next)) / 2);
    for (const float sign : {1.0F, -1.0F}) {
      const std::uint16_t sign_bit = sign < 0 ? 0x8000 : 0;
      ASSERT_EQ(to_half(sign * middle).bits, sign_bit | (bits % 2 == 0 ? bits : next)) << bits;
      ASSERT_EQ(to_half(sign * std::nextafter(middle, 0.0F)).bits, sign_bit | bits) << bits;
      ASSERT_EQ(to_half(sign * std::nextafter(middle, 1e9F)).bits, sign_bit | next) << bits;
    }
  }
}

TEST(Half, WhatIsTooLargeBecomesTheLargestAndNanStays) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (const float large : {65504.0F, 65520.0F, 1e30F, kInf}) {
    EXPECT_EQ(to_float(to_half(large)), 65504.0F) << large;
    EXPECT_EQ(to_float(to_half(-large)), -65504.0F) << large;
  }
  EXPECT_TRUE(std::isnan(to_float(to_half(std::nanf("")))));
  EXPECT_EQ(to_float(Half{kInfinity}), kInf);
}

}  // namespace
}  // namespace onnx_split
