// The shape of a tensor: its extent along each axis, outermost first. Rank 0 is a scalar.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"

namespace onnx_split {

inline constexpr std::size_t kMaxRank = 8;
// More elements than any network of ours needs, few enough that sizes in bytes can't overflow.
inline constexpr std::int64_t kMaxElements = std::int64_t{1} << 40;

class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> dims) : dims_(dims) {}
  explicit Shape(std::vector<std::int64_t> dims) : dims_(std::move(dims)) {}

  // Refuses negative extents, more than kMaxRank axes and more than kMaxElements elements.
  static Expected<Shape> checked(std::vector<std::int64_t> dims);

  std::size_t rank() const { return dims_.size(); }
  std::int64_t operator[](std::size_t axis) const { return dims_[axis]; }
  std::int64_t& operator[](std::size_t axis) { return dims_[axis]; }
  std::span<const std::int64_t> dims() const { return dims_; }
  const std::vector<std::int64_t>& vector() const { return dims_; }
  auto begin() const { return dims_.begin(); }
  auto end() const { return dims_.end(); }
  std::int64_t back() const { return dims_.back(); }

  std::int64_t elements() const;
  // The product of the extents of axes [first, last).
  std::int64_t elements(std::size_t first, std::size_t last) const;
  // Row-major strides, in elements.
  std::vector<std::int64_t> strides() const;
  std::string to_string() const;  // [1,3,224,224]

  bool operator==(const Shape&) const = default;

 private:
  std::vector<std::int64_t> dims_;
};

// NumPy's and ONNX's multidirectional broadcasting.
Expected<Shape> broadcast(const Shape& a, const Shape& b);

// An axis in [-rank, rank) as one in [0, rank).
Expected<std::size_t> normalize_axis(std::int64_t axis, std::size_t rank);

}  // namespace onnx_split
