#include "graph/ops/slicing.h"

#include <algorithm>

#include "base/check.h"

namespace onnx_split {
namespace {

// The elements of a box of these axes as one run [begin, end) of their flat indices; nothing where there are gaps.
std::optional<Range> run_of(std::span<const Range> ranges, std::span<const std::int64_t> extents) {
  Range run{0, 1};
  for (std::size_t axis = 0; axis < ranges.size(); ++axis) {
    const bool is_whole = ranges[axis].size() == extents[axis];
    if (run.size() > 1 && !is_whole) return std::nullopt;
    const std::int64_t begin = run.begin * extents[axis] + ranges[axis].begin;
    run = run.size() == 1 ? Range{begin, begin + ranges[axis].size()}
                          : Range{run.begin * extents[axis], run.end * extents[axis]};
  }
  return run;
}

// The other way: the box of these axes that is this run.
std::optional<std::vector<Range>> box_of(Range run, std::span<const std::int64_t> extents) {
  std::vector<Range> box(extents.size());
  for (std::size_t axis = extents.size(); axis-- > 0;) {
    const std::int64_t extent = extents[axis];
    if (run.begin % extent == 0 && run.end % extent == 0) {  // whole rows of this axis
      box[axis] = {0, extent};
      run = {run.begin / extent, run.end / extent};
      continue;
    }
    if (run.begin / extent != (run.end - 1) / extent) return std::nullopt;
    const std::int64_t row = run.begin / extent;
    box[axis] = {run.begin - row * extent, run.end - row * extent};
    run = {row, row + 1};
  }
  return box;
}

}  // namespace

Region broadcast_region(const Shape& input, const Region& region) {
  CHECK(input.rank() <= region.rank());
  const std::size_t missing = region.rank() - input.rank();
  Region result = Region::whole(input);
  for (std::size_t axis = 0; axis < input.rank(); ++axis) {
    if (input[axis] != 1) result[axis] = region[missing + axis];
  }
  return result;
}

Expected<void> expect_whole_axis(const Range& range, std::int64_t extent, std::size_t axis) {
  if (range.size() == extent) return {};
  return fail(ErrorCode::kUnsupported, "it can't be divided along axis {}: it needs all {} of it", axis, extent);
}

Expected<void> expect_summed(const Region& region, const Shape& input, const std::vector<bool>& summed) {
  for (std::size_t axis = 0; axis < input.rank(); ++axis) {
    if (summed[axis] || region[axis].size() == input[axis]) continue;
    return fail(ErrorCode::kUnsupported, "it doesn't sum over axis {} of its input", axis);
  }
  return {};
}

float share_of_mean(const Region& region, const Shape& input) {
  return static_cast<float>(static_cast<double>(region.shape().elements()) / static_cast<double>(input.elements()));
}

std::optional<Region> reshaped_region(const Region& region, const Shape& shape, const Shape& other) {
  CHECK(shape.elements() == other.elements() && !region.empty());
  // Groups of neighbouring axes with the same product correspond; within a group a box must be one run.
  Region result = Region::whole(other);
  std::size_t from = 0;
  std::size_t to = 0;
  while (from < shape.rank() && to < other.rank()) {
    const std::size_t first_from = from;
    const std::size_t first_to = to;
    std::int64_t left = shape[from++];
    std::int64_t right = other[to++];
    while (left != right) (left < right ? left *= shape[from++] : right *= other[to++]);
    std::vector<Range> ranges;
    for (std::size_t axis = first_from; axis < from; ++axis) ranges.push_back(region[axis]);
    const auto run = run_of(ranges, shape.dims().subspan(first_from, from - first_from));
    if (!run) return std::nullopt;
    const auto box = box_of(*run, other.dims().subspan(first_to, to - first_to));
    if (!box) return std::nullopt;
    std::copy(box->begin(), box->end(), &result[first_to]);
  }
  return result;  // what is left on either side has an extent of 1
}

}  // namespace onnx_split
