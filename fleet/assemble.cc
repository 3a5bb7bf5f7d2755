#include "fleet/assemble.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>

#include "base/check.h"

namespace onnx_split {
namespace {

// Calls row(from_offset, to_offset, count), in elements, for each contiguous run of the common box. Allocates nothing:
// it is on every request's way.
template <class Row>
void for_each_row(const Region& from, const Region& to, const Row& row) {
  const std::size_t rank = from.rank();
  CHECK(rank == to.rank() && rank <= kMaxRank);
  if (rank == 0) return row(std::size_t{0}, std::size_t{0}, std::size_t{1});
  std::array<Range, kMaxRank> common;
  std::array<std::int64_t, kMaxRank> from_strides, to_strides, at;
  std::int64_t from_stride = 1;
  std::int64_t to_stride = 1;
  for (std::size_t axis = rank; axis-- > 0;) {
    common[axis] = {std::max(from[axis].begin, to[axis].begin), std::min(from[axis].end, to[axis].end)};
    if (common[axis].size() <= 0) return;
    at[axis] = common[axis].begin;
    from_strides[axis] = from_stride;
    to_strides[axis] = to_stride;
    from_stride *= from[axis].size();
    to_stride *= to[axis].size();
  }
  // Axes that both have whole, and the one in front of them, are one run.
  std::size_t runs = rank - 1;  // axes in front of the run
  while (runs > 0 && common[runs] == from[runs] && common[runs] == to[runs]) --runs;
  const std::int64_t count = common[runs].size() * from_strides[runs];
  while (true) {
    std::int64_t from_offset = 0;
    std::int64_t to_offset = 0;
    for (std::size_t axis = 0; axis < rank; ++axis) {
      from_offset += (at[axis] - from[axis].begin) * from_strides[axis];
      to_offset += (at[axis] - to[axis].begin) * to_strides[axis];
    }
    row(static_cast<std::size_t>(from_offset), static_cast<std::size_t>(to_offset), static_cast<std::size_t>(count));
    std::size_t axis = runs;
    while (axis > 0 && ++at[axis - 1] == common[axis - 1].end) {
      at[axis - 1] = common[axis - 1].begin;
      --axis;
    }
    if (axis == 0) return;
  }
}

// The same channels, counted from the first one of its own.
Region from_first_channel(Region region) {
  region[kChannelAxis] = {0, region[kChannelAxis].size()};
  return region;
}

template <class Combine>
void combine(const RegionView& from, const MutableRegionView& to, const Combine& combined) {
  const std::span<const float> source = from.tensor.as<float>();
  const std::span<float> target = to.tensor.as<float>();
  for_each_row(from.region, to.region, [&](std::size_t from_offset, std::size_t to_offset, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      target[to_offset + i] = combined(target[to_offset + i], source[from_offset + i]);
    }
  });
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

void add(const RegionView& from, const MutableRegionView& to) { combine(from, to, std::plus<>()); }

void subtract(const RegionView& from, const MutableRegionView& to) { combine(from, to, std::minus<>()); }

void decode(const RegionView& parity, std::span<const RegionView> others, const MutableRegionView& lost) {
  const Region target = from_first_channel(lost.region);
  place(parity, {target, lost.tensor});
  for (const RegionView& other : others) {
    const Region region = from_first_channel(other.region);
    subtract({region, other.tensor}, {target, lost.tensor});
  }
}

void take_piece(const RegionView& from, Combine combine, bool is_first, const MutableRegionView& to) {
  combine == Combine::kPlace || is_first ? place(from, to) : add(from, to);
}

}  // namespace onnx_split
