#include "graph/shape.h"

#include <algorithm>

#include "base/check.h"

namespace onnx_split {

Expected<Shape> Shape::checked(std::vector<std::int64_t> dims) {
  if (dims.size() > kMaxRank) {
    return fail(ErrorCode::kUnsupported, "rank {}: at most {} axes are supported", dims.size(), kMaxRank);
  }
  Shape shape(std::move(dims));
  std::int64_t elements = 1;
  for (const std::int64_t extent : shape) {
    if (extent < 0) return fail(ErrorCode::kInvalid, "shape {} has a negative extent", shape.to_string());
    // Extents of 0 aside, so that no product of some of the extents overflows either.
    if (extent == 0) continue;
    if (elements > kMaxElements / extent) {
      return fail(ErrorCode::kInvalid, "shape {} has more than {} elements", shape.to_string(), kMaxElements);
    }
    elements *= extent;
  }
  return shape;
}

std::int64_t Shape::elements() const { return elements(0, rank()); }

std::int64_t Shape::elements(std::size_t first, std::size_t last) const {
  CHECK(first <= last && last <= rank());
  std::int64_t product = 1;
  for (std::size_t axis = first; axis < last; ++axis) product *= dims_[axis];
  return product;
}

std::vector<std::int64_t> Shape::strides() const {
  std::vector<std::int64_t> strides(rank(), 1);
  for (std::size_t axis = rank(); axis-- > 1;) strides[axis - 1] = strides[axis] * dims_[axis];
  return strides;
}

std::string Shape::to_string() const {
  std::string text = "[";
  for (std::size_t axis = 0; axis < rank(); ++axis) {
    if (axis > 0) text += ',';
    text += std::to_string(dims_[axis]);
  }
  return text + "]";
}

Expected<Shape> broadcast(const Shape& a, const Shape& b) {
  const std::size_t rank = std::max(a.rank(), b.rank());
  std::vector<std::int64_t> dims(rank);
  for (std::size_t i = 0; i < rank; ++i) {
    const std::int64_t from_a = i < a.rank() ? a[a.rank() - 1 - i] : 1;
    const std::int64_t from_b = i < b.rank() ? b[b.rank() - 1 - i] : 1;
    if (from_a != from_b && from_a != 1 && from_b != 1) {
      return fail(ErrorCode::kInvalid, "shapes {} and {} don't broadcast", a.to_string(), b.to_string());
    }
    dims[rank - 1 - i] = from_a == 1 ? from_b : from_a;
  }
  return Shape::checked(std::move(dims));
}

Expected<std::size_t> normalize_axis(std::int64_t axis, std::size_t rank) {
  const auto signed_rank = static_cast<std::int64_t>(rank);
  if (axis < -signed_rank || axis >= signed_rank) {
    return fail(ErrorCode::kInvalid, "axis {} is outside a tensor of rank {}", axis, rank);
  }
  return static_cast<std::size_t>(axis < 0 ? axis + signed_rank : axis);
}

}  // namespace onnx_split
