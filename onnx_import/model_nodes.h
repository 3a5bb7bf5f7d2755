// A model's nodes before they enter the graph: named, matched with their rows of the operator table, and in an order in
// which each node's inputs come before it.
#pragma once

#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "graph/attributes.h"
#include "onnx_import/import.h"
#include "onnx_import/op_table.h"

namespace onnx {
class GraphProto;
class NodeProto;
}  // namespace onnx

namespace onnx_split {

struct ModelNode {
  onnx::NodeProto* proto = nullptr;
  const OpRow* row = nullptr;
  std::string name;       // unique; the first output's where the model gives none
  Attributes attributes;  // all but the tensors
};

struct ModelNodes {
  std::vector<ModelNode> nodes;  // as the model lists them; those that are unsupported are missing
  std::vector<UnsupportedNode> unsupported;
};

// node "conv1" (Conv)
std::string describe(const ModelNode& node);

// Errors: a malformed node. What is well-formed but not supported is collected.
Expected<ModelNodes> match_nodes(onnx::GraphProto& graph, std::int64_t opset);

// Sorts the nodes topologically, otherwise keeping their order. Checks that each value has one origin, and that each
// input has one; `given` are the graph's inputs and constants. Errors: a value defined twice, an input that nothing
// gives, a cycle.
Expected<std::vector<ModelNode>> ordered(std::vector<ModelNode> nodes, const std::unordered_set<std::string>& given);

}  // namespace onnx_split
