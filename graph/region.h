// A region: a box inside a value, per axis a half-open range [begin, end) in the value's own coordinates. What parts
// own, what they need and what travels between them are regions; see docs/architecture.md.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "graph/shape.h"

namespace onnx_split {

struct Range {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  std::int64_t size() const { return end - begin; }
  bool operator==(const Range&) const = default;
};

class Region {
 public:
  Region() = default;
  explicit Region(std::vector<Range> ranges) : ranges_(std::move(ranges)) {}
  // The whole of a value.
  static Region whole(const Shape& shape);

  std::size_t rank() const { return ranges_.size(); }
  const Range& operator[](std::size_t axis) const { return ranges_[axis]; }
  Range& operator[](std::size_t axis) { return ranges_[axis]; }
  Shape shape() const;
  bool empty() const;
  // Every range is ordered and lies inside `shape`, and the ranks agree.
  bool inside(const Shape& shape) const;
  bool contains(const Region& other) const;
  std::string to_string() const;  // [0:1,0:64,10:20]

  bool operator==(const Region&) const = default;

 private:
  std::vector<Range> ranges_;
};

// Whether there is a common box. Ranks must agree.
bool overlap(const Region& a, const Region& b);
// The common box; nothing where there is none. Ranks must agree.
std::optional<Region> intersect(const Region& a, const Region& b);
// The smallest box around both.
Region bounding_box(const Region& a, const Region& b);
// The number of elements of `region` that lie in at least one of `others`. Ranks must agree.
std::int64_t covered_elements(const Region& region, const std::vector<Region>& others);

}  // namespace onnx_split
