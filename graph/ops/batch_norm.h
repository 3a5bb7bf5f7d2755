// BatchNormalization (ONNX BatchNormalization-15, inference): y = (x - mean) / sqrt(var + epsilon) * scale + B along
// axis 1. Inputs: x [N,C,…] (or [N]: one channel), scale, B, mean, var, each [C]. Attribute epsilon, 1e-5.
#pragma once

#include "graph/operators.h"

namespace onnx_split {

struct BatchNormGeometry {
  std::int64_t batch = 0;
  std::int64_t channels = 0;
  std::int64_t inner = 0;  // elements of one channel of one sample
  float epsilon = 1e-5F;
};

Expected<BatchNormGeometry> batch_norm_geometry(const OpCall& call);

// What one channel's normalisation is as y = x·scale + shift, computed in double.
struct ScaleShift {
  double scale = 1.0;
  double shift = 0.0;
};
ScaleShift batch_norm_channel(float scale, float bias, float mean, float variance, float epsilon);

extern const Operator kBatchNormalizationOperator;

}  // namespace onnx_split
