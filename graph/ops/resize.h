// Resize (ONNX Resize-13) of any axes, by nearest neighbour or (multi)linear interpolation. One float32 input.
// Attributes: mode nearest|linear; coordinate_transformation_mode
// half_pixel|pytorch_half_pixel|align_corners|asymmetric| tf_half_pixel_for_nn; nearest_mode
// round_prefer_floor|round_prefer_ceil|floor|ceil; sizes (the output's shape) or scales (one an axis; output =
// floor(input·scale)). With sizes, the scale is output/input.
#pragma once

#include <vector>

#include "graph/operators.h"

namespace onnx_split {

enum class ResizeCoordinates : std::uint8_t {
  kHalfPixel,
  kPytorchHalfPixel,
  kAlignCorners,
  kAsymmetric,
  kTfHalfPixelForNn
};
enum class NearestRounding : std::uint8_t { kPreferFloor, kPreferCeil, kFloor, kCeil };

// The two neighbours that linear interpolation mixes, both inside the input: low·(1 - weight) + high·weight.
struct LinearSource {
  std::int64_t low = 0;
  std::int64_t high = 0;
  float weight = 0.0F;
};

struct ResizeAxis {
  std::int64_t input = 0;
  std::int64_t output = 0;
  float scale = 1.0F;
  ResizeCoordinates coordinates = ResizeCoordinates::kHalfPixel;
  NearestRounding rounding = NearestRounding::kPreferFloor;

  // Every position is its own source.
  bool identity() const { return input == output && scale == 1.0F; }
  // The input's coordinate of output position `position`, unclamped. In float, as onnxruntime computes it.
  float coordinate(std::int64_t position) const;
  // Where `position` comes from, clamped into the input.
  std::int64_t nearest(std::int64_t position) const;
  LinearSource linear(std::int64_t position) const;
};

struct ResizeGeometry {
  bool is_linear = false;        // otherwise nearest
  std::vector<ResizeAxis> axes;  // one for each axis of the input
};

Expected<ResizeGeometry> resize_geometry(const OpCall& call);

extern const Operator kResizeOperator;

}  // namespace onnx_split
