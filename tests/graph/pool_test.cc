#include "graph/ops/pool.h"

#include <algorithm>
#include <limits>

#include "tests/graph/helpers.h"

namespace onnx_split {
namespace {

// One spatial axis, told tap by tap from the definition.
struct Line {
  std::int64_t input, kernel, stride, dilation, begin, end;
  bool ceil_mode;

  std::int64_t positions() const {
    std::int64_t count = 0;
    for (std::int64_t start = -begin;; start += stride) {
      const std::int64_t last = start + (kernel - 1) * dilation;
      const bool fits = last < input + end;
      // With ceil_mode a window may run over the edge if one ending at or behind the edge is the first to do so and it
      // doesn't begin in the right padding.
      const bool previous_reaches = count > 0 && last - stride >= input + end - 1;
      if (!fits && !(ceil_mode && !previous_reaches && start < input)) return count;
      ++count;
    }
  }
};

Line random_line(Random& random) {
  Line line{};
  line.kernel = random.integer(1, 4);
  line.dilation = random.integer(1, 3);
  line.stride = random.integer(1, 4);
  const std::int64_t reach = (line.kernel - 1) * line.dilation + 1;
  line.input = reach + random.integer(0, 6);
  line.begin = random.integer(0, std::min<std::int64_t>(reach - 1, 3));
  line.end = random.integer(0, std::min<std::int64_t>(reach - 1, 3));
  line.ceil_mode = random.integer(0, 1) == 1;
  return line;
}

TEST(Pool, EqualsBruteForceInOneDimension) {
  Random random(3);
  for (int round = 0; round < 500; ++round) {
    const Line line = random_line(random);
    const bool include = random.integer(0, 1) == 1;
    const Tensor x = random_tensor(random, Shape{1, 1, line.input});
    std::vector<float> highest;
    std::vector<float> average;
    for (std::int64_t p = 0; p < line.positions(); ++p) {
      float best = -std::numeric_limits<float>::infinity();
      double sum = 0.0;
      int count = 0;
      for (std::int64_t tap = 0; tap < line.kernel; ++tap) {
        const std::int64_t at = p * line.stride - line.begin + tap * line.dilation;
        const bool inside = at >= 0 && at < line.input;
        if (inside) best = std::max(best, x.as<float>()[static_cast<std::size_t>(at)]);
        if (inside) sum += static_cast<double>(x.as<float>()[static_cast<std::size_t>(at)]);
        if (inside || (include && at >= -line.begin && at < line.input + line.end)) ++count;
      }
      highest.push_back(best);
      average.push_back(count == 0 ? 0.0F : static_cast<float>(sum / count));
    }
    const Attributes attributes{
        {"kernel_shape", Ints{line.kernel}},         {"strides", Ints{line.stride}},
        {"dilations", Ints{line.dilation}},          {"pads", Ints{line.begin, line.end}},
        {"ceil_mode", std::int64_t{line.ceil_mode}}, {"count_include_pad", std::int64_t{include}}};
    const Shape y{1, 1, line.positions()};
    expect_same(apply(OpType::kMaxPool, attributes, {x}), floats(y, highest));
    expect_near(apply(OpType::kAveragePool, attributes, {x}), floats(y, average));
  }
}

// A maximum over a box is the maximum along one axis after the other; so is an average without padding.
TEST(Pool, SeparatesIntoAxes) {
  Random random(4);
  const Tensor x = random_tensor(random, Shape{2, 3, 7, 8, 6});
  const auto both = [&](OpType op, const Ints& pads) {
    const Attributes attributes{{"kernel_shape", Ints{3, 2, 2}}, {"strides", Ints{2, 1, 2}}, {"pads", pads}};
    Tensor y = x;
    for (std::size_t axis = 0; axis < 3; ++axis) {
      Ints kernel(3, 1), strides(3, 1), own(6, 0);
      kernel[axis] = Ints{3, 2, 2}[axis];
      strides[axis] = Ints{2, 1, 2}[axis];
      own[axis] = pads[axis];
      own[axis + 3] = pads[axis + 3];
      y = apply(op, {{"kernel_shape", kernel}, {"strides", strides}, {"pads", own}}, {y});
    }
    expect_near(apply(op, attributes, {x}), y);
  };
  both(OpType::kMaxPool, {1, 0, 1, 2, 1, 0});
  both(OpType::kAveragePool, {0, 0, 0, 0, 0, 0});
}

TEST(Pool, CeilModeExamplesOfTheSpecification) {
  // ONNX's test_maxpool_2d_ceil.
  const Tensor x = floats(Shape{1, 1, 4, 4}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16});
  const Attributes ceil{{"kernel_shape", Ints{3, 3}}, {"strides", Ints{2, 2}}, {"ceil_mode", std::int64_t{1}}};
  EXPECT_EQ(to_vector(apply(OpType::kMaxPool, ceil, {x})), (std::vector<float>{11, 12, 15, 16}));
  // ONNX's test_averagepool_2d_ceil.
  EXPECT_EQ(to_vector(apply(OpType::kAveragePool, ceil, {x})), (std::vector<float>{6, 7.5F, 12, 13.5F}));
  // PyTorch: the window that would begin in the right padding is dropped.
  const Attributes dropped{{"kernel_shape", Ints{1}}, {"strides", Ints{2}}, {"ceil_mode", std::int64_t{1}}};
  EXPECT_EQ(to_vector(apply(OpType::kMaxPool, dropped, {counting(Shape{1, 1, 4})})), (std::vector<float>{0, 2}));
}

TEST(Pool, CountIncludePadLeavesOutWhatCeilModeAdds) {
  // ONNX's test_averagepool_2d_pads_count_include_pad, its corner; and a window beyond the padding.
  const Attributes attributes{{"kernel_shape", Ints{3}},
                              {"strides", Ints{2}},
                              {"pads", Ints{1, 1}},
                              {"ceil_mode", std::int64_t{1}},
                              {"count_include_pad", std::int64_t{1}}};
  const Tensor x = floats(Shape{1, 1, 4}, {3, 6, 9, 12});
  // Windows: (pad 3 6)/3, (6 9 12)/3, (12 pad)/2: the third tap of the last lies beyond the padding.
  EXPECT_EQ(to_vector(apply(OpType::kAveragePool, attributes, {x})), (std::vector<float>{3, 9, 6}));
}

TEST(Pool, GlobalPoolsEqualReductions) {
  Random random(5);
  const Tensor x = random_tensor(random, Shape{2, 3, 4, 5});
  expect_near(apply(OpType::kGlobalAveragePool, {}, {x}), apply(OpType::kReduceMean, {{"axes", Ints{2, 3}}}, {x}));
  expect_same(apply(OpType::kGlobalMaxPool, {}, {x}), apply(OpType::kReduceMax, {{"axes", Ints{2, 3}}}, {x}));
  EXPECT_EQ(apply(OpType::kGlobalMaxPool, {}, {x}).shape(), (Shape{2, 3, 1, 1}));
}

TEST(Pool, RefusesWithWhatWasExpected) {
  const Tensor x = counting(Shape{1, 1, 4, 4});
  const auto error = [&](const Attributes& attributes) { return error_of(OpType::kMaxPool, attributes, {x}); };
  EXPECT_THAT(error({}), testing::HasSubstr("attribute \"kernel_shape\" is missing"));
  EXPECT_THAT(error({{"kernel_shape", Ints{2}}}),
              testing::HasSubstr("kernel expects 2 extents of at least 1, found [2]"));
  EXPECT_THAT(error({{"kernel_shape", Ints{2, 0}}}), testing::HasSubstr("found [2,0]"));
  EXPECT_THAT(error({{"kernel_shape", Ints{2, 2}}, {"pads", Ints{2, 0, 0, 0}}}),
              testing::HasSubstr("pads expect less than the kernel's span 2, found 2+0"));
  EXPECT_THAT(error({{"kernel_shape", Ints{5, 2}}}), testing::HasSubstr("doesn't fit"));
  constexpr std::int64_t kHuge = 1 << 20;
  EXPECT_THAT(error({{"kernel_shape", Ints{kHuge, 1}}, {"pads", Ints{kHuge - 1, 0, kHuge - 1, 0}}}),
              testing::HasSubstr("taps a channel are supported"));
  EXPECT_THAT(error_of(OpType::kGlobalMaxPool, {}, {counting(Shape{1, 2, 0})}),
              testing::HasSubstr("expects spatial axes with elements"));
}

}  // namespace
}  // namespace onnx_split
