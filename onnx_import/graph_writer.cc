#include "onnx_import/graph_writer.h"

#include "graph/operators.h"

namespace onnx_split {
namespace {

// Shape subgraphs work on a handful of numbers; anything larger is the constant-folding pass's work.
constexpr std::int64_t kMaxElementsComputed = 1024;
constexpr std::size_t kMaxInventedBytes = std::size_t{256} << 20;

// The work of these isn't bounded by the sizes of their inputs and outputs.
bool is_windowed(OpType op) {
  return op == OpType::kConv || op == OpType::kMaxPool || op == OpType::kAveragePool || op == OpType::kLrn;
}

}  // namespace

Expected<void> GraphWriter::add_input(const std::string& name, TensorType type) {
  TRY_ASSIGN(const ValueId id, builder_.add_input(name, std::move(type)));
  names_.emplace(name, Entry{id, {}});
  return {};
}

Expected<void> GraphWriter::define_constant(const std::string& name, Tensor data) {
  if (defines(name)) return fail(ErrorCode::kInvalid, "value \"{}\" is defined twice", name);
  if (!outputs_.contains(name)) {
    names_.emplace(name, Entry{{}, std::move(data)});
    return {};
  }
  TRY_ASSIGN(const ValueId constant, builder_.add_constant(fresh_name(name + "_constant"), std::move(data)));
  TRY_ASSIGN(const NodeId copy, add(fresh_name(name + "_copy"), OpType::kIdentity, {}, {constant}, {name}));
  names_.emplace(name, Entry{builder_.graph().node(copy).outputs.front(), {}});
  return {};
}

Expected<ValueId> GraphWriter::operand(const std::string& name) {
  const auto found = names_.find(name);
  CHECK(found != names_.end());
  Entry& entry = found->second;
  if (!entry.id.valid()) {
    TRY_ASSIGN(entry.id, builder_.add_constant(name, *entry.constant));
  }
  return entry.id;
}

const Tensor* GraphWriter::known(const std::string& name) const {
  const auto found = names_.find(name);
  if (found == names_.end()) return nullptr;
  if (found->second.constant) return &*found->second.constant;
  return known(found->second.id);
}

const Tensor* GraphWriter::known(ValueId id) const {
  const Value& value = builder_.value(id);
  if (value.constant) return &*value.constant;
  const auto found = computed_.find(id);
  return found == computed_.end() ? nullptr : &found->second;
}

Expected<void> GraphWriter::emit(OnnxNode node) {
  TRY_ASSIGN(const NodeId id, add(std::move(node.name), node.op, std::move(node.attributes), std::move(node.inputs),
                                  std::move(node.outputs)));
  for (const ValueId output : builder_.graph().node(id).outputs) {
    names_.emplace(builder_.value(output).name, Entry{output, {}});
  }
  return {};
}

Expected<ValueId> GraphWriter::emit_helper(const OnnxNode& node, std::string_view suffix, OpType op,
                                           Attributes attributes, std::vector<ValueId> inputs) {
  std::string name = fresh_name(fmt::format("{}_{}", node.outputs.front(), suffix));
  std::vector<std::string> outputs{name};
  TRY_ASSIGN(const NodeId id, add(std::move(name), op, std::move(attributes), std::move(inputs), std::move(outputs)));
  return builder_.graph().node(id).outputs.front();
}

std::string GraphWriter::fresh_name(const std::string& base) {
  std::string name = base;
  while (!reserved_.insert(name).second) name = fmt::format("{}_{}", base, ++numbered_[base]);
  return name;
}

bool GraphWriter::claim_bytes(std::size_t size_bytes) {
  if (size_bytes > kMaxInventedBytes - claimed_bytes_) return false;
  claimed_bytes_ += size_bytes;
  return true;
}

Expected<NodeId> GraphWriter::add(std::string name, OpType op, Attributes attributes, std::vector<ValueId> inputs,
                                  std::vector<std::string> outputs) {
  // What the builder would find too, but it would name the graph's node where our caller names ONNX's.
  const Operator& definition = operator_of(op);
  if (inputs.size() < definition.min_inputs || inputs.size() > definition.max_inputs) {
    return fail(ErrorCode::kInvalid, "expected {} to {} inputs, found {}", definition.min_inputs, definition.max_inputs,
                inputs.size());
  }
  std::vector<TensorType> types;
  for (const ValueId input : inputs) types.push_back(type(input));
  TRY(definition.infer({attributes, types, outputs.size()}));

  TRY_ASSIGN(const NodeId id,
             builder_.add_node(std::move(name), op, std::move(attributes), std::move(inputs), std::move(outputs)));
  TRY(compute_if_known(id));
  return id;
}

Expected<void> GraphWriter::compute_if_known(NodeId id) {
  const Node& node = builder_.graph().node(id);
  if (is_windowed(node.op)) return {};
  std::vector<Tensor> inputs;
  for (const ValueId input : node.inputs) {
    const Tensor* tensor = known(input);
    if (tensor == nullptr || tensor->shape().elements() > kMaxElementsComputed) return {};
    inputs.push_back(*tensor);
  }
  for (const ValueId output : node.outputs) {
    if (shape(output).elements() > kMaxElementsComputed || !claim_bytes(type(output).size_bytes())) return {};
  }
  TRY_ASSIGN(const std::vector<Tensor> outputs, evaluate(node.op, node.attributes, inputs, node.outputs.size()));
  for (std::size_t i = 0; i < outputs.size(); ++i) computed_.emplace(node.outputs[i], outputs[i]);
  return {};
}

}  // namespace onnx_split
