// When values are born and die, as functions apart from execution.
#pragma once

#include <cstddef>
#include <vector>

#include "graph/graph.h"

namespace onnx_split {

// The steps (node indices, in graph order) between which a value's memory is in use, both ends included.
struct Lifetime {
  std::size_t first = 0;
  std::size_t last = 0;
};

// One for each value. Graph inputs live from step 0; graph outputs to the last step.
std::vector<Lifetime> lifetimes(const Graph& graph);

// The most bytes of non-constant values alive at one step, not counting any overhead of placement.
std::size_t peak_activation_bytes(const Graph& graph);

}  // namespace onnx_split
