// Pad (ONNX Pad-13). Attributes mode constant|edge|reflect, pads (begins, then ends; negative ones crop), value
// (constant's filling, 0). Any element type.
#pragma once

#include <vector>

#include "graph/operators.h"

namespace onnx_split {

enum class PadMode : std::uint8_t { kConstant, kEdge, kReflect };

struct PadAxis {
  std::int64_t input = 0;
  std::int64_t begin = 0;
  std::int64_t end = 0;

  std::int64_t output() const { return input + begin + end; }
};

struct PadGeometry {
  PadMode mode = PadMode::kConstant;
  float value = 0.0F;
  std::vector<PadAxis> axes;

  // The input index along `axis` that output position `position` shows; -1 where it shows `value`.
  std::int64_t source(std::size_t axis, std::int64_t position) const;
};

Expected<PadGeometry> pad_geometry(const OpCall& call);

extern const Operator kPadOperator;

}  // namespace onnx_split
