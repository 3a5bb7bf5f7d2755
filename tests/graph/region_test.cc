#include "graph/region.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace onnx_split {
namespace {

Region random_region(Random& random) {
  std::vector<Range> ranges;
  for (int axis = 0; axis < 3; ++axis) {
    const std::int64_t begin = random.integer(0, 5);
    ranges.push_back({begin, begin + random.integer(1, 4)});
  }
  return Region(ranges);
}

TEST(Region, IntersectionAndBoundingBoxAreTheLargestAndSmallest) {
  Random random(81);
  for (int round = 0; round < 500; ++round) {
    const Region a = random_region(random);
    const Region b = random_region(random);
    const Region box = bounding_box(a, b);
    EXPECT_TRUE(box.contains(a) && box.contains(b));
    EXPECT_EQ(bounding_box(b, a), box);
    const auto common = intersect(a, b);
    EXPECT_EQ(intersect(b, a), common);
    // Point by point: in the intersection exactly where in both.
    for (std::int64_t i = 0; i < 9 * 9 * 9; ++i) {
      const Region point({{i % 9, i % 9 + 1}, {i / 9 % 9, i / 9 % 9 + 1}, {i / 81, i / 81 + 1}});
      EXPECT_EQ(common && common->contains(point), a.contains(point) && b.contains(point));
    }
  }
}

TEST(Region, WholeIsEverything) {
  const Region whole = Region::whole(Shape{2, 3});
  EXPECT_EQ(whole.to_string(), "[0:2,0:3]");
  EXPECT_EQ(whole.shape(), (Shape{2, 3}));
  EXPECT_TRUE(whole.inside(Shape{2, 3}));
  EXPECT_FALSE(whole.inside(Shape{2, 2}));
  EXPECT_FALSE(whole.inside(Shape{2}));
  EXPECT_FALSE(Region({{2, 1}}).inside(Shape{3}));
  EXPECT_FALSE(Region({{-1, 1}}).inside(Shape{3}));
}

TEST(Region, Emptiness) {
  EXPECT_TRUE(Region::whole(Shape{2, 0}).empty());
  EXPECT_FALSE(Region::whole(Shape{}).empty());
  EXPECT_EQ(intersect(Region({{0, 2}}), Region({{2, 4}})), std::nullopt);
}

}  // namespace
}  // namespace onnx_split
