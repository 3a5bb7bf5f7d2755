// What a graph's convolutions and matrix products hold: for the tests that parts hold every weight once.
#pragma once

#include <map>
#include <string>

#include "graph/graph.h"

namespace onnx_split::testing {

// Elements of each layer's weights, biases left aside, by the node's name.
inline std::map<std::string, std::int64_t> layer_weights(const Graph& graph) {
  std::map<std::string, std::int64_t> elements;
  for (const Node& node : graph.nodes()) {
    const bool is_layer = node.op == OpType::kGemm || node.op == OpType::kMatMul || node.op == OpType::kConv;
    if (is_layer) elements[node.name] += graph.value(node.inputs[1]).shape().elements();
  }
  return elements;
}

}  // namespace onnx_split::testing
