#include "graph/shape.h"

#include <gtest/gtest.h>

#include "graph/tensor.h"
#include "tests/graph/helpers.h"

namespace onnx_split {
namespace {

std::string error_of(std::vector<std::int64_t> dims) {
  const auto shape = Shape::checked(std::move(dims));
  return shape ? "" : shape.error().message;
}

TEST(Shape, CheckedRefusesWhatCouldOverflow) {
  EXPECT_EQ(error_of({}), "");
  EXPECT_EQ(error_of({0, 3}), "");
  EXPECT_EQ(error_of({kMaxElements}), "");
  EXPECT_EQ(error_of({3, -1}), "shape [3,-1] has a negative extent");
  EXPECT_EQ(error_of({0, -1}), "shape [0,-1] has a negative extent");
  EXPECT_EQ(error_of({2, kMaxElements}), "shape [2,1099511627776] has more than 1099511627776 elements");
  EXPECT_NE(error_of({kIntMax, kIntMax}), "");
  EXPECT_NE(error_of({0, kIntMax, kIntMax}), "");  // strides would overflow
  EXPECT_EQ(error_of(std::vector<std::int64_t>(9, 1)), "rank 9: at most 8 axes are supported");
}

TEST(Shape, CountsElementsAndStrides) {
  const Shape shape{2, 3, 4};
  EXPECT_EQ(shape.elements(), 24);
  EXPECT_EQ(shape.elements(1, 3), 12);
  EXPECT_EQ(shape.elements(1, 1), 1);
  EXPECT_EQ(shape.strides(), (std::vector<std::int64_t>{12, 4, 1}));
  EXPECT_EQ(Shape{}.elements(), 1);
  EXPECT_EQ((Shape{2, 0}).elements(), 0);
  EXPECT_EQ(shape.to_string(), "[2,3,4]");
}

TEST(Shape, BroadcastsBothWays) {
  EXPECT_EQ(*broadcast(Shape{2, 1, 3}, Shape{4, 1}), (Shape{2, 4, 3}));
  EXPECT_EQ(*broadcast(Shape{}, Shape{5}), Shape{5});
  EXPECT_EQ(*broadcast(Shape{1}, Shape{0}), Shape{0});
  EXPECT_EQ(broadcast(Shape{2}, Shape{0}).error().message, "shapes [2] and [0] don't broadcast");
  EXPECT_FALSE(broadcast(Shape{std::int64_t{1} << 30, 1}, Shape{std::int64_t{1} << 30}).has_value());
}

TEST(Shape, NormalizesAxes) {
  EXPECT_EQ(*normalize_axis(-1, 3), 2U);
  EXPECT_EQ(*normalize_axis(0, 3), 0U);
  EXPECT_EQ(normalize_axis(3, 3).error().message, "axis 3 is outside a tensor of rank 3");
  EXPECT_FALSE(normalize_axis(kIntMin, 3).has_value());
  EXPECT_FALSE(normalize_axis(0, 0).has_value());
}

TEST(Tensor, KeepsElementsAndSharesThem) {
  const Tensor tensor = Tensor::ints(std::vector<std::int64_t>{4, 5});
  const Tensor copy = tensor;
  EXPECT_EQ(copy.as<std::int64_t>()[1], 5);
  EXPECT_EQ(copy.as<std::int64_t>().data(), tensor.as<std::int64_t>().data());
  EXPECT_EQ(tensor.type().to_string(), "int64[2]");
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.buffer().bytes().data()) % kBufferAlignment, 0U);
}

}  // namespace
}  // namespace onnx_split
