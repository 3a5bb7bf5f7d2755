// What each operator means: one row a operator in one explicit table (graph/operators.cc), one file a family in
// graph/ops/. Nothing outside this folder knows an operator by name but the importer's and the engine's own tables.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "graph/attributes.h"
#include "graph/graph.h"
#include "graph/op_type.h"
#include "graph/tensor.h"

namespace onnx_split {

// One application of an operator: its attributes and the types of its inputs.
struct OpCall {
  const Attributes& attributes;
  std::span<const TensorType> inputs;
  std::size_t output_count = 1;
};

struct Operator {
  OpType type;
  std::string_view name;
  std::size_t min_inputs;
  std::size_t max_inputs;

  // Checks the attributes and the inputs' types and gives the outputs' types. Nothing below is called on a call that
  // infer hasn't accepted. Errors say what was expected and what was found, without naming the node.
  Expected<std::vector<TensorType>> (*infer)(const OpCall& call);

  // Multiply-accumulates of one application (0 for operators that only move or map elements).
  std::int64_t (*macs)(const OpCall& call, std::span<const TensorType> outputs);

  // The reference: computes the outputs in the slowest, most obvious way, with sums in double. It folds constants
  // and is what every fast kernel is tested against. Fails only where data decides (an index out of range).
  Expected<void> (*evaluate)(const OpCall& call, std::span<const TensorView> inputs,
                             std::span<const MutableTensorView> outputs);
};

const Operator& operator_of(OpType op);
std::span<const Operator> all_operators();

// What a node costs.
struct NodeCost {
  std::int64_t macs = 0;
  std::int64_t weight_bytes = 0;      // constants it reads
  std::int64_t activation_bytes = 0;  // values it writes
};
NodeCost node_cost(const Graph& graph, const Node& node);

// Types of a node's inputs and outputs, and its OpCall (which refers to `input_types`).
std::vector<TensorType> input_types(const Graph& graph, const Node& node);
std::vector<TensorType> output_types(const Graph& graph, const Node& node);

// evaluate() on whole tensors: allocates and returns the outputs.
Expected<std::vector<Tensor>> evaluate(OpType op, const Attributes& attributes, std::span<const Tensor> inputs,
                                       std::size_t output_count = 1);

}  // namespace onnx_split
