#include "graph/layout.h"

#include <gtest/gtest.h>

namespace onnx_split {
namespace {

constexpr auto kFloat = DataType::kFloat32;

TEST(Layout, FullBlocksAreChannelsFromAMultipleOf16ToOne) {
  const TensorType value{kFloat, Shape{2, 40, 6, 5}};
  EXPECT_TRUE(is_full_blocks(value, Region({{0, 2}, {0, 32}, {1, 3}, {0, 5}})));
  EXPECT_TRUE(is_full_blocks(value, Region({{1, 2}, {16, 32}, {0, 6}, {2, 5}})));
  EXPECT_FALSE(is_full_blocks(value, Region::whole(value.shape)));
  EXPECT_FALSE(is_full_blocks(value, Region({{0, 2}, {8, 24}, {0, 6}, {0, 5}})));
}

TEST(Layout, FullBlocksAreFloatsAtPositionsAndLeaveRoomForAnAxis) {
  const auto is_full = [](DataType type, Shape shape) { return is_full_blocks({type, shape}, Region::whole(shape)); };
  EXPECT_TRUE(is_full(kFloat, Shape{1, 16, 1}));
  EXPECT_TRUE(is_full(kFloat, Shape{1, 16, 1, 1, 1, 1, 1}));
  EXPECT_FALSE(is_full(kFloat, Shape{1, 16, 1, 1, 1, 1, 1, 1}));
  EXPECT_FALSE(is_full(kFloat, Shape{1, 16}));
  EXPECT_FALSE(is_full(DataType::kInt64, Shape{1, 16, 1}));
}

TEST(Layout, ARegionHasItsBlocksAndAllLanes) {
  const Region region({{0, 1}, {16, 64}, {2, 5}});
  EXPECT_EQ(in_layout(region, Layout::kPlain), region);
  EXPECT_EQ(in_layout(region, Layout::kBlocked), Region({{0, 1}, {1, 4}, {2, 5}, {0, 16}}));
}

}  // namespace
}  // namespace onnx_split
