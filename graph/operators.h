// What each operator means: one row a operator in one explicit table (graph/operators.cc), one file a family in
// graph/ops/. Nothing outside this folder knows an operator by name but the importer's and the engine's own tables.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "graph/attributes.h"
#include "graph/graph.h"
#include "graph/op_type.h"
#include "graph/region.h"
#include "graph/tensor.h"

namespace onnx_split {

// One application of an operator: its attributes and the types of its inputs.
struct OpCall {
  const Attributes& attributes;
  std::span<const TensorType> inputs;
  std::size_t output_count = 1;
};

// A share of one application of an operator: a region of one output, or a partial sum. It is again an application of an
// operator, to regions of the same inputs (constants too: that is how a part comes by its share of the weights).
struct NodeSlice {
  OpType op;  // the operator's own, but for Split, whose slice is an Identity, and what one input is left of
  Attributes attributes;
  std::vector<std::optional<Region>> inputs;  // of each input, what it reads; nothing: the input is left out
  // What comes out, in the coordinates of the whole output. It contains the region asked for, and may be larger where
  // the operator can't do otherwise (a group's channels, a Resize's period, LRN's neighbours): a Slice has to follow.
  // What lies around the region asked for may hold anything.
  Region produced;
  // To multiply the result with: 1 but for partial sums of a mean.
  float scale = 1.0F;
};

// What an operator does to partial sums, that is to addends whose sum is its true input.
enum class Linearity : std::uint8_t {
  kNone,    // it must see the sum
  kPasses,  // one input; the sum of its results is the result of the sum
  kAdds,    // the same, for each of its inputs; an input that isn't a partial sum is added in one part only (those that
            // are must have the output's shape)
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

  // What computes `region` (inside the output's shape, not empty) of output number `output`. Evaluated on the regions
  // of the inputs that it names, it gives exactly what evaluate() gives there (but for how Resize rounds coordinates).
  // Where that would take all of an axis to compute some of it, it is refused (kUnsupported), and the error says why
  // the operator can't be divided so, along which axis. The whole output is always possible.
  Expected<NodeSlice> (*slice)(const OpCall& call, std::span<const TensorType> outputs, std::size_t output,
                               const Region& region);

  // The share of the output that `region` of input 0 accounts for: over regions that are disjoint and cover the input,
  // the results, times `scale`, add up to the output. What is added once (a bias) comes with the `first` share. Refused
  // (kUnsupported) where the region is partial along an axis that the operator doesn't sum over (it sums over a
  // convolution's and a matrix product's input channels, the axes that an average reduces), for a convolution in
  // several groups, of which no output channel sees all input channels, whatever the region, and for other types than
  // float32. Null for operators that don't sum.
  Expected<NodeSlice> (*partial_sum)(const OpCall& call, std::span<const TensorType> outputs, const Region& region,
                                     bool first) = nullptr;

  Linearity linearity = Linearity::kNone;
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

// slice() and partial_sum() of a node of a graph. An operator that doesn't sum is an error.
Expected<NodeSlice> slice_node(const Graph& graph, const Node& node, std::size_t output, const Region& region);
Expected<NodeSlice> partial_sum_of_node(const Graph& graph, const Node& node, const Region& region, bool first);

// Types of a node's inputs and outputs, and its OpCall (which refers to `input_types`).
std::vector<TensorType> input_types(const Graph& graph, const Node& node);
std::vector<TensorType> output_types(const Graph& graph, const Node& node);

// evaluate() on whole tensors: allocates and returns the outputs.
Expected<std::vector<Tensor>> evaluate(OpType op, const Attributes& attributes, std::span<const Tensor> inputs,
                                       std::size_t output_count = 1);

}  // namespace onnx_split
