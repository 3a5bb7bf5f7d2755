// The network: nodes compute values from values; constants are values with data.
//
// A Graph is immutable and always valid: nodes stand in topological order, every type and shape is inferred and static,
// every name is unique. It is made by a GraphBuilder (graph/builder.h). Copying a Graph shares the constants' data.
// Safe to read from any number of threads.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/strong_id.h"
#include "graph/attributes.h"
#include "graph/op_type.h"
#include "graph/tensor.h"

namespace onnx_split {

using NodeId = StrongId<struct NodeTag>;
using ValueId = StrongId<struct ValueTag>;

struct Value {
  std::string name;
  TensorType type;
  std::optional<Tensor> constant;  // the data, where it is known
  NodeId producer;                 // invalid for graph inputs and constants
  std::vector<NodeId> consumers;   // once for each node that reads it, in node order

  const Shape& shape() const { return type.shape; }
};

struct Node {
  std::string name;
  OpType op;
  Attributes attributes;
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
};

class Graph {
 public:
  const std::string& name() const { return name_; }
  std::size_t node_count() const { return nodes_.size(); }
  std::size_t value_count() const { return values_.size(); }
  const Node& node(NodeId id) const { return nodes_[id.index()]; }
  const Value& value(ValueId id) const { return values_[id.index()]; }
  const std::vector<Node>& nodes() const { return nodes_; }  // in topological order; index == NodeId
  const std::vector<Value>& values() const { return values_; }
  const std::vector<ValueId>& inputs() const { return inputs_; }
  const std::vector<ValueId>& outputs() const { return outputs_; }

  std::optional<ValueId> find_value(std::string_view name) const;
  std::optional<NodeId> find_node(std::string_view name) const;
  // The same data of a constant, elsewhere.
  void move_data(ValueId id, Buffer data) {
    values_[id.index()].constant = Tensor(values_[id.index()].type, std::move(data));
  }
  // Drops a constant's data, whose type stays: somebody has them in another form.
  void forget_data(ValueId id) { values_[id.index()].constant = Tensor::forgotten(values_[id.index()].type); }
  bool is_output(ValueId id) const { return id.index() < is_output_.size() && is_output_[id.index()]; }

 private:
  friend class GraphBuilder;
  Graph() = default;

  std::string name_;
  std::vector<Node> nodes_;
  std::vector<Value> values_;
  std::vector<ValueId> inputs_;
  std::vector<ValueId> outputs_;
  std::vector<bool> is_output_;  // by value
  std::unordered_map<std::string, ValueId> value_by_name_;
  std::unordered_map<std::string, NodeId> node_by_name_;
};

// The whole graph as readable text, a node a line; for people and for tests.
std::string to_text(const Graph& graph);
// node "conv1" (Conv)
std::string describe(const Node& node);

}  // namespace onnx_split
