#include "fleet/assemble.h"

#include <cstring>

#include "base/check.h"

namespace onnx_split {
namespace {

// Calls row(from_offset, to_offset, count), in elements, for each contiguous run along the last axis of the common box.
template <class Row>
void for_each_row(const Region& from, const Region& to, const Row& row) {
  const std::optional<Region> common = intersect(from, to);
  if (!common) return;
  const std::size_t rank = from.rank();
  if (rank == 0) return row(std::size_t{0}, std::size_t{0}, std::size_t{1});
  const std::vector<std::int64_t> from_strides = from.shape().strides();
  const std::vector<std::int64_t> to_strides = to.shape().strides();
  std::vector<std::int64_t> at(rank);
  for (std::size_t axis = 0; axis < rank; ++axis) at[axis] = (*common)[axis].begin;
  while (true) {
    std::int64_t from_offset = 0;
    std::int64_t to_offset = 0;
    for (std::size_t axis = 0; axis < rank; ++axis) {
      from_offset += (at[axis] - from[axis].begin) * from_strides[axis];
      to_offset += (at[axis] - to[axis].begin) * to_strides[axis];
    }
    row(static_cast<std::size_t>(from_offset), static_cast<std::size_t>(to_offset),
        static_cast<std::size_t>((*common)[rank - 1].size()));
    std::size_t axis = rank - 1;
    while (axis > 0 && ++at[axis - 1] == (*common)[axis - 1].end) {
      at[axis - 1] = (*common)[axis - 1].begin;
      --axis;
    }
    if (axis == 0) return;
  }
}

}  // namespace

void place(const RegionView& from, const MutableRegionView& to) {
  CHECK(from.tensor.type().type == to.tensor.type().type);
  const std::size_t bytes = element_bytes(from.tensor.type().type);
  const auto* source = static_cast<const std::byte*>(from.tensor.data());
  auto* target = static_cast<std::byte*>(to.tensor.data());
  for_each_row(from.region, to.region, [&](std::size_t from_offset, std::size_t to_offset, std::size_t count) {
    std::memcpy(target + to_offset * bytes, source + from_offset * bytes, count * bytes);
  });
}

void add(const RegionView& from, const MutableRegionView& to) {
  const std::span<const float> source = from.tensor.as<float>();
  const std::span<float> target = to.tensor.as<float>();
  for_each_row(from.region, to.region, [&](std::size_t from_offset, std::size_t to_offset, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) target[to_offset + i] += source[from_offset + i];
  });
}

}  // namespace onnx_split
