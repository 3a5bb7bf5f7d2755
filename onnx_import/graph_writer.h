// A graph being written from ONNX's names: which value each name stands for, and what is already known of it.
//
// Constants enter the graph when a node first reads them as an operand; those that only parametrise (a Reshape's shape)
// never do. A node whose inputs are all known is computed at once where that is cheap, so that what a shape subgraph
// gives (Shape → Gather → Concat) is known when a Reshape asks for it. The nodes stay: removing them is the passes'
// work.
#pragma once

#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "graph/builder.h"
#include "graph/tensor.h"

namespace onnx_split {

struct OpRow;

// One ONNX node on its way into the graph. A converter changes it into what the graph's operator means and emits it.
struct OnnxNode {
  std::string name;
  OpType op = OpType::kIdentity;
  std::int64_t opset = 0;
  Attributes attributes;  // the node's, and those that it has as inputs, by the names of the operator table
  std::map<std::string, Tensor, std::less<>> tensors;  // attributes that are tensors
  std::vector<ValueId> inputs;                         // operands only
  std::vector<std::string> outputs;                    // all named
};

class GraphWriter {
 public:
  // `reserved`: every name in the model, which invented names must avoid. `outputs`: the names of the graph's outputs.
  GraphWriter(std::string graph_name, std::unordered_set<std::string> reserved, std::unordered_set<std::string> outputs)
      : builder_(std::move(graph_name)), reserved_(std::move(reserved)), outputs_(std::move(outputs)) {}

  Expected<void> add_input(const std::string& name, TensorType type);
  // A graph's outputs are computed: one that is constant becomes the Identity of a constant. Errors: the name is taken.
  Expected<void> define_constant(const std::string& name, Tensor data);
  bool defines(const std::string& name) const { return names_.contains(name); }

  // The value in the graph, for a name that is defined.
  Expected<ValueId> operand(const std::string& name);
  // Its data, where that is known without running the network.
  const Tensor* known(const std::string& name) const;
  const Tensor* known(ValueId id) const;
  const TensorType& type(ValueId id) const { return builder_.value(id).type; }
  const Shape& shape(ValueId id) const { return type(id).shape; }

  // Adds the node as it stands. Errors don't name the node.
  Expected<void> emit(OnnxNode node);
  // Adds a node before `node` that has one output, with a name made from `node`'s.
  Expected<ValueId> emit_helper(const OnnxNode& node, std::string_view suffix, OpType op, Attributes attributes,
                                std::vector<ValueId> inputs);
  // A name like `base` that nothing in the model or the graph has.
  std::string fresh_name(const std::string& base);
  // Takes `size_bytes` from what constants that don't stand in the file may have together; false where that is spent. A
  // small file could otherwise ask for any amount of memory.
  bool claim_bytes(std::size_t size_bytes);

  // The builder is spent.
  Expected<Graph> build(std::vector<ValueId> outputs) && { return std::move(builder_).build(std::move(outputs)); }

 private:
  struct Entry {
    ValueId id;  // invalid while no node has read the constant
    std::optional<Tensor> constant;
  };

  Expected<NodeId> add(std::string name, OpType op, Attributes attributes, std::vector<ValueId> inputs,
                       std::vector<std::string> outputs);
  Expected<void> compute_if_known(NodeId id);

  GraphBuilder builder_;
  std::unordered_set<std::string> reserved_;
  std::unordered_set<std::string> outputs_;
  std::unordered_map<std::string, Entry> names_;
  std::unordered_map<ValueId, Tensor> computed_;
  std::unordered_map<std::string, int> numbered_;  // how often a name was varied
  std::size_t claimed_bytes_ = 0;
};

}  // namespace onnx_split
