#include "engine/kernels/loose_columns.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/random.h"

namespace onnx_split {
namespace {

std::vector<float> random_floats(Random& random, std::int64_t count) {
  std::vector<float> floats(static_cast<std::size_t>(count));
  for (float& x : floats) x = random.uniform(-1.0F, 1.0F);
  return floats;
}

TEST(LooseColumns, GiveTheProductOfAnySizeAddedOrNot) {
  Random random(1);
  for (int i = 0; i < 400; ++i) {
    const std::int64_t rows = random.integer(1, 13);
    const std::int64_t count = random.integer(1, kMostLooseColumns);
    const std::int64_t depth = random.integer(1, 70);
    const std::int64_t w_stride = depth + random.integer(0, 3);
    const std::int64_t stride = count + random.integer(0, 5);
    const std::int64_t y_stride = count + random.integer(0, 5);
    const std::vector<float> w = random_floats(random, rows * w_stride);
    const std::vector<float> matrix = random_floats(random, depth * stride);
    const std::vector<float> before = random_floats(random, rows * y_stride);
    const bool accumulate = i % 2 == 0;
    std::vector<float> columns(static_cast<std::size_t>(count * depth));
    gather_columns(matrix.data(), stride, count, depth, columns.data());
    std::vector<float> y = before;
    multiply_columns(w.data(), w_stride, columns.data(), y.data(), y_stride, rows, count, depth, accumulate);
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < y_stride; ++c) {
        const float old = before[static_cast<std::size_t>(r * y_stride + c)];
        double expected = accumulate || c >= count ? static_cast<double>(old) : 0.0;
        for (std::int64_t k = 0; k < depth && c < count; ++k) {
          expected += static_cast<double>(w[static_cast<std::size_t>(r * w_stride + k)]) *
                      static_cast<double>(matrix[static_cast<std::size_t>(k * stride + c)]);
        }
        ASSERT_NEAR(y[static_cast<std::size_t>(r * y_stride + c)], expected, 1e-5)
            << rows << " " << count << " " << depth;
      }
    }
  }
}

}  // namespace
}  // namespace onnx_split
