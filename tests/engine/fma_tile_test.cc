#include "engine/kernels/fma_tile.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/half.h"
#include "base/random.h"

namespace onnx_split {
namespace {

constexpr std::int64_t kPlane = 20;  // positions that a block of the output has room for

std::vector<float> numbers(Random& random, std::int64_t count) {
  std::vector<float> result(static_cast<std::size_t>(count));
  for (float& x : result) x = random.uniform(-1.0F, 1.0F);
  return result;
}

bool has_fma(const std::string& target) {
  return target != "SCALAR" && target != "EMU128" && target != "SSSE3" && target != "SSE4";
}

struct Expect {
  const FmaTile& tile;
  const std::vector<float>& weights;
  std::int64_t panel;
  bool depthwise;

  // One chain of fused multiplications and additions.
  float at(std::int64_t position, std::int64_t channel) const {
    float sum = 0.0F;
    for (std::int64_t r = 0; r < tile.run_count; ++r) {
      const DepthRun& run = tile.runs[r];
      for (std::int64_t i = 0; i < (depthwise ? 1 : run.length); ++i) {
        const float x = tile.x[position * tile.x_step + run.offset + (depthwise ? channel : i)];
        sum = std::fma(x, weights[static_cast<std::size_t>((run.depth + i) * panel + channel)], sum);
      }
    }
    if (tile.bias != nullptr) sum += tile.bias[channel];
    if (tile.addend != nullptr) sum += tile.addend[channel / 16 * tile.y_block + position * 16 + channel % 16];
    if (tile.clamp) sum = sum < tile.low ? tile.low : sum > tile.high ? tile.high : sum;
    return sum;
  }
};

void check(Random& random, const std::string& target, const FmaTiles& tiles, bool depthwise) {
  const bool narrow = depthwise || random.integer(0, 1) == 0;
  const bool half = !depthwise && random.integer(0, 1) == 0;
  const std::int64_t panel = narrow ? 16 : tiles.panel;
  const std::int64_t positions = random.integer(1, depthwise ? tiles.most_depthwise_positions : tiles.most_positions);
  std::vector<DepthRun> runs;
  std::int64_t depth = 0;
  for (std::int64_t r = random.integer(0, 5); r > 0; --r) {
    runs.push_back({random.integer(0, 500), depthwise ? 16 : random.integer(1, 40), depth});
    depth += depthwise ? 1 : runs.back().length;
  }
  FmaTile tile;
  tile.x_step = std::array<std::int64_t, 4>{16, 32, 48, 3}[static_cast<std::size_t>(random.integer(0, 3))];
  const std::vector<float> x = numbers(random, 600 + 16 * tile.x_step);
  std::vector<float> weights = numbers(random, depth * panel + 1);
  std::vector<Half> halves(weights.size());
  if (half) {
    std::transform(weights.begin(), weights.end(), halves.begin(), to_half);
    std::transform(halves.begin(), halves.end(), weights.begin(), [](Half h) { return to_float(h); });
  }
  const std::vector<float> bias = numbers(random, panel), addend = numbers(random, 2 * kPlane * 16);
  constexpr float kUntouched = 77.0F;
  std::vector<float> y(static_cast<std::size_t>(2 * kPlane * 16), kUntouched);
  tile.x = x.data();
  tile.runs = runs.data();
  tile.run_count = static_cast<std::int64_t>(runs.size());
  tile.weights = half ? static_cast<const void*>(halves.data()) : weights.data();
  tile.y = y.data();
  tile.y_block = kPlane * 16;
  tile.blocks = panel / 16;
  if (random.integer(0, 1) == 0) tile.bias = bias.data();
  if (random.integer(0, 1) == 0) tile.addend = addend.data();
  tile.clamp = random.integer(0, 1) == 0;
  tile.low = -0.5F;
  tile.high = 1.0F;
  (depthwise ? tiles.depthwise(positions, tile.x_step) : tiles.function(positions, tile.x_step, narrow, half))(tile);
  const Expect expect{tile, weights, panel, depthwise};
  for (std::int64_t i = 0; i < 2 * kPlane * 16; ++i) {
    const std::int64_t block = i / (kPlane * 16), position = i / 16 % kPlane;
    const float found = y[static_cast<std::size_t>(i)];
    if (block >= tile.blocks || position >= positions) {
      ASSERT_EQ(found, kUntouched) << "written too far";
      continue;
    }
    const float expected = expect.at(position, block * 16 + i % 16);
    if (has_fma(target)) {
      ASSERT_EQ(found, expected);
    } else {
      ASSERT_NEAR(found, expected, 1e-4);
    }
  }
}

TEST(FmaTile, EveryInstructionSetGivesOneChainOfFusedSums) {
  const auto all = all_fma_tiles();
  ASSERT_FALSE(all.empty());
  for (const auto& [target, tiles] : all) {
    SCOPED_TRACE(target);
    Random random(1);
    for (int i = 0; i < 400; ++i) check(random, target, tiles, i % 2 == 0);
  }
}

TEST(FmaTile, NanStaysWhereItIsClamped) {
  for (const auto& [target, tiles] : all_fma_tiles()) {
    const std::vector<float> x(64, std::nanf("")), weights(32, 1.0F);
    std::vector<float> y(64, 0.0F);
    const DepthRun run{0, 1, 0};
    FmaTile tile;
    tile.x = x.data();
    tile.x_step = 16;
    tile.runs = &run;
    tile.run_count = 1;
    tile.weights = weights.data();
    tile.y = y.data();
    tile.clamp = true;
    tile.high = 6.0F;
    tiles.function(1, 16, true, false)(tile);
    EXPECT_TRUE(std::isnan(y[0])) << target;
  }
}

}  // namespace
}  // namespace onnx_split
