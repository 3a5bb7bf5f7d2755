// Changes to ONNX models that leave them well-formed, and mostly nearly right.
#pragma once

#include "base/random.h"

namespace onnx {
class ModelProto;
}

namespace onnx_split::fuzz {

// A small network: convolutions, a shape subgraph, a pool, a matrix product.
void make_model(onnx::ModelProto& model);

// A few changes at random places.
void mutate_model(onnx::ModelProto& model, Random& random);

}  // namespace onnx_split::fuzz
