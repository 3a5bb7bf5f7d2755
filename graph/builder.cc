#include "graph/builder.h"

#include <unordered_set>

#include "base/utf8.h"
#include "graph/operators.h"

namespace onnx_split {

Expected<ValueId> GraphBuilder::add_value(Value value) {
  if (value.name.empty()) return fail(ErrorCode::kInvalid, "a value has no name");
  if (!is_utf8(value.name)) return fail(ErrorCode::kInvalid, "value \"{}\": its name isn't UTF-8", value.name);
  const ValueId id(graph_.values_.size());
  if (!graph_.value_by_name_.emplace(value.name, id).second) {
    return fail(ErrorCode::kInvalid, "value \"{}\" is defined twice", value.name);
  }
  graph_.values_.push_back(std::move(value));
  return id;
}

Expected<ValueId> GraphBuilder::add_input(std::string name, TensorType type) {
  if (auto checked = Shape::checked(type.shape.vector()); !checked) {
    return fail_in(fmt::format("input \"{}\"", name), std::move(checked.error()));
  }
  TRY_ASSIGN(
      const ValueId id,
      add_value({.name = std::move(name), .type = std::move(type), .constant = {}, .producer = {}, .consumers = {}}));
  graph_.inputs_.push_back(id);
  return id;
}

Expected<ValueId> GraphBuilder::add_constant(std::string name, Tensor data) {
  TensorType type = data.type();
  return add_value(
      {.name = std::move(name), .type = std::move(type), .constant = std::move(data), .producer = {}, .consumers = {}});
}

Expected<NodeId> GraphBuilder::add_node(std::string name, OpType op, Attributes attributes, std::vector<ValueId> inputs,
                                        std::vector<std::string> outputs) {
  if (name.empty() && !outputs.empty()) name = outputs.front();
  Node node{std::move(name), op, std::move(attributes), std::move(inputs), {}};
  const std::string context = describe(node);
  const Operator& definition = operator_of(op);
  if (!is_utf8(node.name)) return fail(ErrorCode::kInvalid, "{}: its name isn't UTF-8", context);
  if (graph_.node_by_name_.contains(node.name)) return fail(ErrorCode::kInvalid, "{}: defined twice", context);
  std::unordered_set<std::string_view> names;
  for (const std::string& output : outputs) {
    if (output.empty() || graph_.value_by_name_.contains(output) || !names.insert(output).second) {
      return fail(ErrorCode::kInvalid, "{}: value \"{}\" is empty or defined twice", context, output);
    }
  }

  const std::vector<TensorType> types = input_types(graph_, node);
  auto inferred = definition.infer({node.attributes, types, outputs.size()});
  if (!inferred) return fail_in(context, std::move(inferred.error()));
  if (inferred->size() != outputs.size()) {
    return fail(ErrorCode::kInvalid, "{}: gives {} outputs, {} are named", context, inferred->size(), outputs.size());
  }

  const NodeId id(graph_.nodes_.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    TRY_ASSIGN(const ValueId output, add_value({.name = std::move(outputs[i]),
                                                .type = std::move((*inferred)[i]),
                                                .constant = {},
                                                .producer = id,
                                                .consumers = {}}));
    node.outputs.push_back(output);
  }
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    std::vector<NodeId>& consumers = graph_.values_[node.inputs[i].index()].consumers;
    if (consumers.empty() || consumers.back() != id) consumers.push_back(id);
  }
  graph_.node_by_name_.emplace(node.name, id);
  graph_.nodes_.push_back(std::move(node));
  return id;
}

Expected<ValueId> GraphBuilder::add(std::string name, OpType op, Attributes attributes, std::vector<ValueId> inputs) {
  std::vector<std::string> outputs{name};
  TRY_ASSIGN(const NodeId id,
             add_node(std::move(name), op, std::move(attributes), std::move(inputs), std::move(outputs)));
  return graph_.node(id).outputs.front();
}

std::string GraphBuilder::unique_value_name(std::string_view base) const {
  std::string name(base);
  for (int i = 1; graph_.value_by_name_.contains(name) || graph_.node_by_name_.contains(name); ++i) {
    name = fmt::format("{}_{}", base, i);
  }
  return name;
}

Expected<Graph> GraphBuilder::build(std::vector<ValueId> outputs) && {
  if (outputs.empty()) return fail(ErrorCode::kInvalid, "graph \"{}\" has no outputs", graph_.name_);
  std::int64_t macs = 0, activation_bytes = 0;
  for (const Node& node : graph_.nodes_) {
    const NodeCost cost = node_cost(graph_, node);
    if (cost.macs > kMaxGraphMacs - macs || cost.activation_bytes > kMaxGraphActivationBytes - activation_bytes) {
      return fail(ErrorCode::kUnsupported, "graph \"{}\": more than {} multiply-accumulates or {} bytes of activations",
                  graph_.name_, kMaxGraphMacs, kMaxGraphActivationBytes);
    }
    macs += cost.macs;
    activation_bytes += cost.activation_bytes;
  }
  graph_.outputs_ = std::move(outputs);
  graph_.is_output_.assign(graph_.values_.size(), false);
  for (const ValueId id : graph_.outputs_) graph_.is_output_[id.index()] = true;
  return std::move(graph_);
}

}  // namespace onnx_split
