// Putting values together from regions, and cutting regions out of them: the copying half of routing.
#pragma once

#include <span>

#include "graph/region.h"
#include "graph/tensor.h"
#include "partition/plan.h"

namespace onnx_split {

// A tensor that holds `region` of some value, in the value's own coordinates; its shape is region.shape().
struct RegionView {
  const Region& region;
  TensorView tensor;
};
struct MutableRegionView {
  const Region& region;
  MutableTensorView tensor;
};

// Copies what both have in common. Types must agree.
void place(const RegionView& from, const MutableRegionView& to);

// Adds what both have in common to `to`. float32 only.
void add(const RegionView& from, const MutableRegionView& to);

// Takes what both have in common from `to`. float32 only.
void subtract(const RegionView& from, const MutableRegionView& to);

// What a lost part would have given, all of it: what the parity part gives less what the others do (Spare::kParity).
void decode(const RegionView& parity, std::span<const RegionView> others, const MutableRegionView& lost);

// One of several pieces on its way into `to`, which need not be initialised: they are placed, or, but for the first,
// added.
void take_piece(const RegionView& from, Combine combine, bool is_first, const MutableRegionView& to);

}  // namespace onnx_split
