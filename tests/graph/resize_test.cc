#include "graph/ops/resize.h"

#include "tests/graph/helpers.h"

namespace onnx_split {
namespace {

Attributes with(const char* mode, const char* coordinates, const Floats& scales) {
  return {
      {"mode", std::string(mode)}, {"coordinate_transformation_mode", std::string(coordinates)}, {"scales", scales}};
}

const Tensor kSquare = floats(Shape{1, 1, 4, 4}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16});

// Examples of the ONNX specification, by the names they have there.
TEST(Resize, UpsampleScalesNearest) {
  const Tensor x = floats(Shape{1, 1, 2, 2}, {1, 2, 3, 4});
  const Tensor y = apply(OpType::kResize, with("nearest", "half_pixel", {1, 1, 2, 3}), {x});
  EXPECT_EQ(to_vector(y), (std::vector<float>{1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2,  //
                                              3, 3, 3, 4, 4, 4, 3, 3, 3, 4, 4, 4}));
}

TEST(Resize, DownsampleScalesNearest) {
  const Tensor x = floats(Shape{1, 1, 2, 4}, {1, 2, 3, 4, 5, 6, 7, 8});
  const Tensor y = apply(OpType::kResize, with("nearest", "half_pixel", {1, 1, 0.6F, 0.6F}), {x});
  EXPECT_EQ(y.shape(), (Shape{1, 1, 1, 2}));
  EXPECT_EQ(to_vector(y), (std::vector<float>{1, 3}));
}

TEST(Resize, UpsampleScalesLinear) {
  const Tensor x = floats(Shape{1, 1, 2, 2}, {1, 2, 3, 4});
  expect_near(apply(OpType::kResize, with("linear", "half_pixel", {1, 1, 2, 2}), {x}),
              floats(Shape{1, 1, 4, 4}, {1, 1.25F, 1.75F, 2, 1.5F, 1.75F, 2.25F, 2.5F,  //
                                         2.5F, 2.75F, 3.25F, 3.5F, 3, 3.25F, 3.75F, 4}));
}

TEST(Resize, UpsampleScalesLinearAlignCorners) {
  const Tensor x = floats(Shape{1, 1, 2, 2}, {1, 2, 3, 4});
  const float third = 1.0F / 3.0F;
  expect_near(apply(OpType::kResize, with("linear", "align_corners", {1, 1, 2, 2}), {x}),
              floats(Shape{1, 1, 4, 4}, {1, 1 + third, 1 + 2 * third, 2, 1 + 2 * third, 2, 2 + third, 2 + 2 * third,  //
                                         2 + third, 2 + 2 * third, 3, 3 + third, 3, 3 + third, 3 + 2 * third, 4}));
}

TEST(Resize, DownsampleScalesLinear) {
  const Tensor x = floats(Shape{1, 1, 2, 4}, {1, 2, 3, 4, 5, 6, 7, 8});
  expect_near(apply(OpType::kResize, with("linear", "half_pixel", {1, 1, 0.6F, 0.6F}), {x}),
              floats(Shape{1, 1, 1, 2}, {2.6666665F, 4.3333331F}), 1e-6);
  expect_near(apply(OpType::kResize, with("linear", "align_corners", {1, 1, 0.6F, 0.6F}), {x}),
              floats(Shape{1, 1, 1, 2}, {1, 4}), 1e-6);
}

TEST(Resize, SizesLinearPytorchHalfPixel) {
  Attributes attributes = with("linear", "pytorch_half_pixel", {});
  attributes.set("sizes", Ints{1, 1, 3, 1});
  expect_near(apply(OpType::kResize, attributes, {kSquare}), floats(Shape{1, 1, 3, 1}, {1.6666666F, 7.0F, 12.333333F}),
              1e-6);
}

TEST(Resize, SizesNearestByEveryRounding) {
  const auto upsample = [](const char* coordinates, const char* rounding) {
    Attributes attributes = with("nearest", coordinates, {});
    attributes.set("sizes", Ints{8});
    attributes.set("nearest_mode", std::string(rounding));
    return to_vector(apply(OpType::kResize, attributes, {floats(Shape{4}, {1, 2, 3, 4})}));
  };
  EXPECT_EQ(upsample("half_pixel", "ceil"), (std::vector<float>{1, 2, 2, 3, 3, 4, 4, 4}));
  EXPECT_EQ(upsample("half_pixel", "floor"), (std::vector<float>{1, 1, 1, 2, 2, 3, 3, 4}));
  EXPECT_EQ(upsample("align_corners", "floor"), (std::vector<float>{1, 1, 1, 2, 2, 3, 3, 4}));
  EXPECT_EQ(upsample("asymmetric", "ceil"), (std::vector<float>{1, 2, 2, 3, 3, 4, 4, 4}));
  EXPECT_EQ(upsample("asymmetric", "round_prefer_floor"), (std::vector<float>{1, 1, 2, 2, 3, 3, 4, 4}));
  EXPECT_EQ(upsample("asymmetric", "round_prefer_ceil"), (std::vector<float>{1, 2, 2, 3, 3, 4, 4, 4}));
  EXPECT_EQ(upsample("tf_half_pixel_for_nn", "floor"), (std::vector<float>{1, 1, 2, 2, 3, 3, 4, 4}));
}

TEST(Resize, KeepsWhatItDoesNotResize) {
  Random random(71);
  const Tensor x = random_tensor(random, Shape{2, 3, 4});
  for (const char* mode : {"nearest", "linear"}) {
    for (const char* coordinates : {"half_pixel", "align_corners", "asymmetric", "tf_half_pixel_for_nn"}) {
      expect_same(apply(OpType::kResize, with(mode, coordinates, {1, 1, 1}), {x}), x);
    }
  }
}

TEST(Resize, LinearReproducesLines) {
  Random random(72);
  for (int round = 0; round < 50; ++round) {
    const std::int64_t from = random.integer(2, 9), to = random.integer(2, 20);
    Attributes attributes = with("linear", "align_corners", {});
    attributes.set("sizes", Ints{to});
    const Tensor y = apply(OpType::kResize, attributes, {counting(Shape{from})});
    for (std::int64_t i = 0; i < to; ++i) {
      const double expected = static_cast<double>(i * (from - 1)) / static_cast<double>(to - 1);
      EXPECT_NEAR(y.as<float>()[static_cast<std::size_t>(i)], expected, 1e-5);
    }
  }
}

TEST(Resize, RefusesWithWhatWasExpected) {
  const Tensor x = counting(Shape{2, 2});
  const auto error = [&](const Attributes& attributes) { return error_of(OpType::kResize, attributes, {x}); };
  EXPECT_THAT(error({}), testing::HasSubstr("scales expect 2 numbers (or sizes as many extents), found 0"));
  EXPECT_THAT(error({{"sizes", Ints{1}}}), testing::HasSubstr("sizes expect 2 extents, found 1"));
  EXPECT_THAT(error({{"scales", Floats{1, -1}}}), testing::HasSubstr("scales expect positive numbers, found -1"));
  EXPECT_THAT(error({{"scales", Floats{1, 1e38F}}}), testing::HasSubstr("scales expect positive numbers"));
  EXPECT_THAT(error({{"scales", Floats{1, std::nanf("")}}}), testing::HasSubstr("scales expect positive numbers"));
  EXPECT_THAT(error(with("cubic", "half_pixel", {1, 1})),
              testing::HasSubstr("mode expects one of nearest, linear, found \"cubic\""));
  EXPECT_THAT(error(with("linear", "tf_crop_and_resize", {1, 1})),
              testing::HasSubstr("coordinate_transformation_mode expects one of half_pixel"));
  EXPECT_THAT(error_of(OpType::kResize, {{"sizes", Ints{2}}}, {counting(Shape{0})}),
              testing::HasSubstr("axis 0 is empty and can't be resized to 2"));
}

}  // namespace
}  // namespace onnx_split
