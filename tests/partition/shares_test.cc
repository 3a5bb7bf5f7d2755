#include "partition/shares.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/random.h"
#include "tests/support/expect.h"

namespace onnx_split {
namespace {

using testing::must;

TEST(Shares, SevenRowsOnThreeDevicesAreSpreadEvenly) {
  const std::vector<std::int64_t> equal{1, 1, 1};
  EXPECT_EQ(must(share(7, equal)), (std::vector<Range>{{0, 2}, {2, 4}, {4, 7}}));
}

TEST(Shares, FollowTheDevicesSpeeds) {
  const std::vector<std::int64_t> speeds{1, 2, 1};
  EXPECT_EQ(must(share(8, speeds)), (std::vector<Range>{{0, 2}, {2, 6}, {6, 8}}));
}

TEST(Shares, AreDisjointCoveringNeverEmptyAndNearTheirWeights) {
  Random random(1);
  for (int i = 0; i < 5000; ++i) {
    std::vector<std::int64_t> weights(static_cast<std::size_t>(random.integer(1, 9)));
    for (std::int64_t& weight : weights) weight = random.integer(1, 1000);
    const std::int64_t unit = random.integer(1, 4);
    const auto count = static_cast<std::int64_t>(weights.size());
    const std::int64_t extent = unit * random.integer(count, count + 60);
    const std::vector<Range> ranges = must(share(extent, weights, unit));
    const auto total = static_cast<double>(std::accumulate(weights.begin(), weights.end(), std::int64_t{0}));
    std::int64_t begin = 0;
    for (std::size_t p = 0; p < ranges.size(); ++p) {
      EXPECT_EQ(ranges[p].begin, begin);
      EXPECT_GT(ranges[p].size(), 0);
      EXPECT_EQ(ranges[p].end % unit, 0);
      begin = ranges[p].end;
      // Within a unit of the exact share, but for what nobody may be left without.
      const double exact = static_cast<double>(extent) * static_cast<double>(weights[p]) / total;
      EXPECT_LE(std::abs(static_cast<double>(ranges[p].size()) - exact), static_cast<double>(unit * count));
    }
    EXPECT_EQ(begin, extent);
  }
}

TEST(Shares, MorePartsThanElementsAreRefused) {
  const std::vector<std::int64_t> equal(4, 1);
  EXPECT_FALSE(share(3, equal).has_value());
  EXPECT_FALSE(share(6, equal, 2).has_value());
}

}  // namespace
}  // namespace onnx_split
