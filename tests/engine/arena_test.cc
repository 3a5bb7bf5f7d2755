#include "engine/arena.h"

#include <gtest/gtest.h>

#include "base/buffer.h"
#include "base/random.h"

namespace onnx_split {
namespace {

std::vector<ArenaItem> random_items(Random& random) {
  std::vector<ArenaItem> items;
  for (std::int64_t i = random.integer(0, 60); i > 0; --i) {
    const auto first = static_cast<std::size_t>(random.integer(0, 40));
    const auto size =
        static_cast<std::size_t>(random.integer(0, 3) == 0 ? random.integer(0, 70) : random.integer(0, 100000));
    items.push_back({size, first, first + static_cast<std::size_t>(random.integer(0, 8))});
  }
  return items;
}

TEST(Arena, WhatLivesAtTheSameTimeDoesNotOverlap) {
  Random random(1);
  for (int run = 0; run < 300; ++run) {
    const std::vector<ArenaItem> items = random_items(random);
    const ArenaPlan plan = plan_arena(items);
    ASSERT_EQ(plan.offsets.size(), items.size());
    for (std::size_t i = 0; i < items.size(); ++i) {
      EXPECT_EQ(plan.offsets[i] % kBufferAlignment, 0U);
      EXPECT_LE(plan.offsets[i] + items[i].size_bytes, plan.size_bytes);
      for (std::size_t j = 0; j < i; ++j) {
        if (items[i].last < items[j].first || items[j].last < items[i].first) continue;
        if (items[i].size_bytes == 0 || items[j].size_bytes == 0) continue;
        const bool apart = plan.offsets[i] + items[i].size_bytes <= plan.offsets[j] ||
                           plan.offsets[j] + items[j].size_bytes <= plan.offsets[i];
        EXPECT_TRUE(apart) << i << " and " << j;
      }
    }
  }
}

TEST(Arena, AChainNeedsTwoNeighboursAndADiamondThree) {
  const std::vector<ArenaItem> chain{{640, 0, 1}, {640, 1, 2}, {640, 2, 3}, {640, 3, 4}};
  EXPECT_EQ(plan_arena(chain).size_bytes, 1280U);
  const std::vector<ArenaItem> diamond{{640, 0, 2}, {640, 1, 3}, {640, 2, 3}, {640, 3, 4}};
  EXPECT_EQ(plan_arena(diamond).size_bytes, 1920U);
}

TEST(Arena, StaysNearThePeak) {
  Random random(2);
  double worst = 0.0;
  for (int run = 0; run < 200; ++run) {
    const std::vector<ArenaItem> items = random_items(random);
    std::size_t peak = 1;
    for (std::size_t step = 0; step < 60; ++step) {
      std::size_t alive = 0;
      for (const ArenaItem& item : items) {
        if (item.first <= step && step <= item.last) alive += (item.size_bytes + 63) / 64 * 64;
      }
      peak = std::max(peak, alive);
    }
    worst = std::max(worst, static_cast<double>(plan_arena(items).size_bytes) / static_cast<double>(peak));
  }
  EXPECT_LE(worst, 1.35);
}

}  // namespace
}  // namespace onnx_split
