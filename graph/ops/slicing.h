// What the operators' slice functions have in common (graph/operators.h says what a slice is).
#pragma once

#include <optional>

#include "graph/operators.h"

namespace onnx_split {

// The region that an input has to give for `region` of an output that it broadcasts to.
Region broadcast_region(const Shape& input, const Region& region);

// An operator whose output elements each depend on the input elements at the same place, with broadcasting.
template <OpType op>
Expected<NodeSlice> slice_elementwise(const OpCall& call, std::span<const TensorType>, std::size_t,
                                      const Region& region) {
  NodeSlice slice{op, call.attributes, {}, region};
  for (const TensorType& input : call.inputs) slice.inputs.emplace_back(broadcast_region(input.shape, region));
  return slice;
}

// An error where `range` isn't all of an axis that the operator can't be divided along: "it needs all 1000 of axis 1".
Expected<void> expect_whole_axis(const Range& range, std::int64_t extent, std::size_t axis);

// An error where a share of a sum is partial along an axis that isn't summed over. `summed`: one flag for each axis.
Expected<void> expect_summed(const Region& region, const Shape& input, const std::vector<bool>& summed);

// What the mean of a share counts for in the mean of all: its part of the elements.
float share_of_mean(const Region& region, const Shape& input);

// The box that holds the same elements, in the same order, after a change of shape from `shape` to `other`, which has
// as many elements; nothing where they don't form one box.
std::optional<Region> reshaped_region(const Region& region, const Shape& shape, const Shape& other);

}  // namespace onnx_split
