// LRN (ONNX LRN-13), across channels: y = x / (bias + alpha/size · Σ x²)^beta, the sum over the channels from c -
// before to c + after that exist. x [N,C,…]. Attributes size, alpha 1e-4, beta 0.75, bias 1.
#pragma once

#include "graph/operators.h"

namespace onnx_split {

struct LrnGeometry {
  std::int64_t batch = 0;
  std::int64_t channels = 0;
  std::int64_t inner = 0;   // elements of one channel of one sample
  std::int64_t before = 0;  // floor((size - 1) / 2)
  std::int64_t after = 0;   // ceil((size - 1) / 2)
  std::int64_t size = 1;
  float alpha = 1e-4F;
  float beta = 0.75F;
  float bias = 1.0F;
};

Expected<LrnGeometry> lrn_geometry(const OpCall& call);

extern const Operator kLrnOperator;

}  // namespace onnx_split
