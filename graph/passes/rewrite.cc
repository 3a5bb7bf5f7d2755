#include "graph/passes/rewrite.h"

#include "base/check.h"

namespace onnx_split {

Rewrite::Rewrite(const Graph& source) : source_(source), builder_(source.name()) {
  for (const ValueId id : source.inputs()) {
    const auto added = builder_.add_input(source.value(id).name, source.value(id).type);
    CHECK(added.has_value());  // the source's names are unique and its shapes checked
    standing_.emplace(id, *added);
  }
}

Expected<ValueId> Rewrite::value(ValueId old) {
  const auto found = standing_.find(old);
  if (found != standing_.end()) return found->second;
  const Value& value = source_.value(old);
  CHECK(value.constant.has_value());  // everything else has been copied before it is read
  TRY_ASSIGN(const ValueId added, builder_.add_constant(value.name, *value.constant));
  standing_.emplace(old, added);
  return added;
}

Expected<void> Rewrite::copy(const Node& node) {
  std::vector<ValueId> inputs;
  for (const ValueId id : node.inputs) {
    TRY_ASSIGN(const ValueId input, value(id));
    inputs.push_back(input);
  }
  return emit(node, std::move(inputs), node.outputs);
}

Expected<void> Rewrite::emit(const Node& node, std::vector<ValueId> inputs, const std::vector<ValueId>& outputs) {
  std::vector<std::string> names;
  for (const ValueId id : outputs) {
    const auto renamed = names_.find(id);
    names.push_back(renamed == names_.end() ? source_.value(id).name : renamed->second);
  }
  TRY_ASSIGN(const NodeId added,
             builder_.add_node(node.name, node.op, node.attributes, std::move(inputs), std::move(names)));
  const std::vector<ValueId> results = builder_.graph().node(added).outputs;
  for (std::size_t i = 0; i < outputs.size(); ++i) stand_for(outputs[i], results[i]);
  return {};
}

Expected<ValueId> Rewrite::add_constant(std::string_view name, Tensor data) {
  std::string candidate = builder_.unique_value_name(name);
  for (int i = 1; source_.find_value(candidate) || source_.find_node(candidate); ++i) {
    candidate = builder_.unique_value_name(fmt::format("{}_{}", name, i));
  }
  return builder_.add_constant(std::move(candidate), std::move(data));
}

Expected<ValueId> Rewrite::add_named_constant(std::string name, Tensor data) {
  return builder_.add_constant(std::move(name), std::move(data));
}

Expected<Graph> Rewrite::finish() && { return std::move(*this).finish(source_.outputs()); }

Expected<Graph> Rewrite::finish(const std::vector<ValueId>& old_outputs) && {
  std::vector<ValueId> outputs;
  for (const ValueId id : old_outputs) {
    TRY_ASSIGN(const ValueId output, value(id));
    outputs.push_back(output);
  }
  return std::move(builder_).build(std::move(outputs));
}

}  // namespace onnx_split
