#include "base/random.h"

#include <gtest/gtest.h>

#include <limits>

namespace onnx_split {
namespace {

// The published sequence of splitmix64 from seed 0: every machine must give it.
TEST(Random, IsSplitmix64) {
  Random random(0);
  EXPECT_EQ(random.next(), 0xe220a8397b1dcdafULL);
  EXPECT_EQ(random.next(), 0x6e789e6aa1b965f4ULL);
  EXPECT_EQ(random.next(), 0x06c45d188009454fULL);
}

TEST(Random, SameSeedSameNumbers) {
  Random a(5), b(5), c(6);
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    const auto x = a.next();
    EXPECT_EQ(x, b.next());
    differs = differs || x != c.next();
  }
  EXPECT_TRUE(differs);
}

TEST(Random, StaysInItsRange) {
  Random random(7);
  double sum = 0;
  double squares = 0;
  bool low = false;
  bool high = false;
  constexpr int kCount = 20000;
  for (int i = 0; i < kCount; ++i) {
    const float u = random.uniform();
    ASSERT_TRUE(u >= 0.0F && u < 1.0F);
    const auto n = random.integer(-2, 3);
    ASSERT_TRUE(n >= -2 && n <= 3);
    low = low || n == -2;
    high = high || n == 3;
    const auto x = static_cast<double>(random.normal());
    ASSERT_TRUE(std::isfinite(x));
    sum += x;
    squares += x * x;
  }
  EXPECT_TRUE(low && high);
  EXPECT_NEAR(sum / kCount, 0.0, 0.05);
  EXPECT_NEAR(squares / kCount, 1.0, 0.05);
  random.integer(std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max());
}

}  // namespace
}  // namespace onnx_split
