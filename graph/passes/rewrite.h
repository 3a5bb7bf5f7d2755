// A new graph made of an old one, node by node: what every pass has in common.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "graph/builder.h"

namespace onnx_split {

// Walk the old graph's nodes in order and, for each, copy() it, emit() another one in its place, or stand_for() its
// outputs. Inputs are there from the beginning; a constant comes along when something first reads it, so that those
// nobody reads any more disappear. Refers to `source`. An error ends the rewrite.
class Rewrite {
 public:
  explicit Rewrite(const Graph& source);

  // What stands for a value of the old graph.
  Expected<ValueId> value(ValueId old);
  void stand_for(ValueId old, ValueId replacement) { standing_.insert_or_assign(old, replacement); }
  // The name that a value will have instead of its own when its node is copied.
  void rename(ValueId old, std::string name) { names_.insert_or_assign(old, std::move(name)); }

  // The node with what stands for its inputs, under its own name, giving the same outputs.
  Expected<void> copy(const Node& node);
  // A node with the given inputs (of the new graph), whose outputs stand for `outputs`.
  Expected<void> emit(const Node& node, std::vector<ValueId> inputs, const std::vector<ValueId>& outputs);
  // A new constant, named `name` or something like it that neither graph uses.
  Expected<ValueId> add_constant(std::string_view name, Tensor data);
  // The same under exactly this name, which must be free.
  Expected<ValueId> add_named_constant(std::string name, Tensor data);

  // The new graph; its outputs are what stands for the old one's.
  Expected<Graph> finish() &&;
  // The same with what stands for these values of the old graph as outputs.
  Expected<Graph> finish(const std::vector<ValueId>& old_outputs) &&;

 private:
  const Graph& source_;
  GraphBuilder builder_;
  std::unordered_map<ValueId, ValueId> standing_;
  std::unordered_map<ValueId, std::string> names_;
};

}  // namespace onnx_split
