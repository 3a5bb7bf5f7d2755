#include "graph/layout.h"

#include <utility>
#include <vector>

#include "base/check.h"

namespace onnx_split {
namespace {

bool is_whole_blocks(const Range& channels) {
  return channels.begin % kChannelBlock == 0 && channels.end % kChannelBlock == 0;
}

}  // namespace

bool is_full_blocks(const TensorType& value, const Region& region) {
  if (!can_be_blocked(value) || value.shape.rank() == kMaxRank) return false;
  return is_whole_blocks(region[kChannelAxis]);
}

Region in_layout(const Region& region, Layout layout) {
  if (layout == Layout::kPlain) return region;
  std::vector<Range> ranges;
  for (std::size_t axis = 0; axis < region.rank(); ++axis) ranges.push_back(region[axis]);
  Range& channels = ranges[kChannelAxis];
  CHECK(is_whole_blocks(channels));
  channels = {channels.begin / kChannelBlock, channels.end / kChannelBlock};
  ranges.push_back({0, kChannelBlock});
  return Region(std::move(ranges));
}

}  // namespace onnx_split
