// Random valid applications of every operator, for the tests of what operators can be divided into. They are small, so
// that thousands are computed in seconds, and as odd as infer accepts: negative axes, defaults left out, empty pieces,
// windows that meet nothing but padding.
#pragma once

#include <string>
#include <vector>

#include "base/random.h"
#include "graph/attributes.h"
#include "graph/op_type.h"
#include "graph/tensor.h"

namespace onnx_split {

struct Application {
  OpType op;
  Attributes attributes;
  std::vector<Tensor> inputs;
  std::size_t output_count = 1;
};

std::string describe(const Application& application);  // "Conv {group=2} float32[1,4,5] float32[6,2,3]"

// Makes an application of `op`, one of those that it is the generator of. Null: `op` has none.
using Generator = Application (*)(Random& random, OpType op);
Generator generator_of(OpType op);

}  // namespace onnx_split
