#include "graph/region.h"

#include <algorithm>

#include "base/check.h"

namespace onnx_split {

Region Region::whole(const Shape& shape) {
  std::vector<Range> ranges;
  ranges.reserve(shape.rank());
  for (const std::int64_t extent : shape) ranges.push_back({0, extent});
  return Region(std::move(ranges));
}

Shape Region::shape() const {
  std::vector<std::int64_t> dims;
  dims.reserve(rank());
  for (const Range& range : ranges_) dims.push_back(range.size());
  return Shape(std::move(dims));
}

bool Region::empty() const {
  return std::any_of(ranges_.begin(), ranges_.end(), [](const Range& range) { return range.size() <= 0; });
}

bool Region::inside(const Shape& shape) const {
  if (rank() != shape.rank()) return false;
  for (std::size_t axis = 0; axis < rank(); ++axis) {
    const Range& range = ranges_[axis];
    if (range.begin < 0 || range.begin > range.end || range.end > shape[axis]) return false;
  }
  return true;
}

bool Region::contains(const Region& other) const {
  CHECK(rank() == other.rank());
  for (std::size_t axis = 0; axis < rank(); ++axis) {
    if (other[axis].begin < ranges_[axis].begin || other[axis].end > ranges_[axis].end) return false;
  }
  return true;
}

std::string Region::to_string() const {
  std::string text = "[";
  for (std::size_t axis = 0; axis < rank(); ++axis) {
    if (axis > 0) text += ',';
    text += fmt::format("{}:{}", ranges_[axis].begin, ranges_[axis].end);
  }
  return text + "]";
}

bool overlap(const Region& a, const Region& b) {
  CHECK(a.rank() == b.rank());
  for (std::size_t axis = 0; axis < a.rank(); ++axis) {
    if (std::max(a[axis].begin, b[axis].begin) >= std::min(a[axis].end, b[axis].end)) return false;
  }
  return true;
}

std::optional<Region> intersect(const Region& a, const Region& b) {
  CHECK(a.rank() == b.rank());
  std::vector<Range> ranges(a.rank());
  for (std::size_t axis = 0; axis < a.rank(); ++axis) {
    ranges[axis] = {std::max(a[axis].begin, b[axis].begin), std::min(a[axis].end, b[axis].end)};
    if (ranges[axis].size() <= 0) return std::nullopt;
  }
  return Region(std::move(ranges));
}

Region bounding_box(const Region& a, const Region& b) {
  CHECK(a.rank() == b.rank());
  std::vector<Range> ranges(a.rank());
  for (std::size_t axis = 0; axis < a.rank(); ++axis) {
    ranges[axis] = {std::min(a[axis].begin, b[axis].begin), std::max(a[axis].end, b[axis].end)};
  }
  return Region(std::move(ranges));
}

std::int64_t covered_elements(const Region& region, const std::vector<Region>& others) {
  // The edges of all boxes cut the region into cells, each of which is covered or not.
  std::vector<Region> boxes;
  for (const Region& other : others) {
    if (const auto common = intersect(region, other)) boxes.push_back(*common);
  }
  if (boxes.empty()) return 0;
  std::vector<std::vector<std::int64_t>> edges(region.rank());
  for (std::size_t axis = 0; axis < region.rank(); ++axis) {
    for (const Region& box : boxes) edges[axis].insert(edges[axis].end(), {box[axis].begin, box[axis].end});
    std::sort(edges[axis].begin(), edges[axis].end());
    edges[axis].erase(std::unique(edges[axis].begin(), edges[axis].end()), edges[axis].end());
  }
  std::int64_t covered = 0;
  std::vector<std::size_t> at(region.rank(), 0);
  while (true) {
    std::vector<Range> cell(region.rank());
    for (std::size_t axis = 0; axis < region.rank(); ++axis)
      cell[axis] = {edges[axis][at[axis]], edges[axis][at[axis] + 1]};
    const Region box(std::move(cell));
    if (std::any_of(boxes.begin(), boxes.end(), [&](const Region& other) { return other.contains(box); })) {
      covered += box.shape().elements();
    }
    std::size_t axis = region.rank();
    while (axis > 0 && ++at[axis - 1] == edges[axis - 1].size() - 1) at[--axis] = 0;
    if (axis == 0) return covered;
  }
}

}  // namespace onnx_split
