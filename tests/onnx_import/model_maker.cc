#include "tests/onnx_import/model_maker.h"

#include <numeric>
#include <optional>

#include "base/random.h"
#include "graph/operators.h"

namespace onnx_split {
namespace {

onnx::AttributeProto& add(onnx::NodeProto& node, const std::string& name, onnx::AttributeProto::AttributeType type) {
  onnx::AttributeProto& attribute = *node.add_attribute();
  attribute.set_name(name);
  attribute.set_type(type);
  return attribute;
}

}  // namespace

NodeMaker& NodeMaker::name(const std::string& text) {
  node_->set_name(text);
  return *this;
}
NodeMaker& NodeMaker::domain(const std::string& text) {
  node_->set_domain(text);
  return *this;
}
NodeMaker& NodeMaker::attribute(const std::string& name, std::int64_t value) {
  add(*node_, name, onnx::AttributeProto::INT).set_i(value);
  return *this;
}
NodeMaker& NodeMaker::attribute(const std::string& name, float value) {
  add(*node_, name, onnx::AttributeProto::FLOAT).set_f(value);
  return *this;
}
NodeMaker& NodeMaker::attribute(const std::string& name, const char* value) {
  add(*node_, name, onnx::AttributeProto::STRING).set_s(value);
  return *this;
}
NodeMaker& NodeMaker::attribute(const std::string& name, const Dims& values) {
  add(*node_, name, onnx::AttributeProto::INTS).mutable_ints()->Add(values.begin(), values.end());
  return *this;
}
NodeMaker& NodeMaker::attribute(const std::string& name, const std::vector<float>& values) {
  add(*node_, name, onnx::AttributeProto::FLOATS).mutable_floats()->Add(values.begin(), values.end());
  return *this;
}

ModelMaker::ModelMaker(std::int64_t opset) {
  model_.set_ir_version(8);
  model_.add_opset_import()->set_version(opset);
  model_.mutable_graph()->set_name("made");
}

ModelMaker& ModelMaker::input(const std::string& name, const Dims& dims, int type) {
  onnx::ValueInfoProto& info = *model_.mutable_graph()->add_input();
  info.set_name(name);
  onnx::TypeProto::Tensor& tensor = *info.mutable_type()->mutable_tensor_type();
  tensor.set_elem_type(type);
  tensor.mutable_shape();
  for (const std::int64_t extent : dims) tensor.mutable_shape()->add_dim()->set_dim_value(extent);
  return *this;
}

ModelMaker& ModelMaker::output(const std::string& name, int type) {
  onnx::ValueInfoProto& info = *model_.mutable_graph()->add_output();
  info.set_name(name);
  info.mutable_type()->mutable_tensor_type()->set_elem_type(type);
  return *this;
}

ModelMaker& ModelMaker::floats(const std::string& name, const Dims& dims, const std::vector<float>& values) {
  onnx::TensorProto& tensor = *model_.mutable_graph()->add_initializer();
  tensor.set_name(name);
  tensor.set_data_type(onnx::TensorProto::FLOAT);
  tensor.mutable_dims()->Add(dims.begin(), dims.end());
  tensor.set_raw_data(values.data(), values.size() * sizeof(float));
  return *this;
}

ModelMaker& ModelMaker::ints(const std::string& name, const std::vector<std::int64_t>& values) {
  onnx::TensorProto& tensor = *model_.mutable_graph()->add_initializer();
  tensor.set_name(name);
  tensor.set_data_type(onnx::TensorProto::INT64);
  tensor.add_dims(static_cast<std::int64_t>(values.size()));
  tensor.mutable_int64_data()->Add(values.begin(), values.end());
  return *this;
}

NodeMaker ModelMaker::node(const std::string& op, const Names& inputs, const Names& outputs) {
  onnx::NodeProto& node = *model_.mutable_graph()->add_node();
  node.set_op_type(op);
  for (const std::string& input : inputs) node.add_input(input);
  for (const std::string& output : outputs) node.add_output(output);
  return NodeMaker(node);
}

Expected<Graph> ModelMaker::import(const ImportOptions& options) const { return import_string(bytes(), {}, options); }

Expected<Graph> import_string(const std::string& bytes, const std::filesystem::path& folder,
                              const ImportOptions& options) {
  return import_onnx_bytes(std::as_bytes(std::span(bytes)), folder, options);
}

std::vector<float> counting(std::size_t count, float first) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), first);
  return values;
}

std::vector<float> seeded(std::size_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = random.normal();
  return values;
}

Expected<std::vector<Tensor>> reference_run(const Graph& graph, std::span<const Tensor> inputs) {
  std::vector<std::optional<Tensor>> values(graph.value_count());
  for (std::size_t i = 0; i < graph.value_count(); ++i) values[i] = graph.value(ValueId(i)).constant;
  for (std::size_t i = 0; i < inputs.size(); ++i) values[graph.inputs()[i].index()] = inputs[i];
  for (const Node& node : graph.nodes()) {
    std::vector<Tensor> arguments;
    for (const ValueId input : node.inputs) arguments.push_back(*values[input.index()]);
    TRY_ASSIGN(const std::vector<Tensor> results, evaluate(node.op, node.attributes, arguments, node.outputs.size()));
    for (std::size_t i = 0; i < results.size(); ++i) values[node.outputs[i].index()] = results[i];
  }
  std::vector<Tensor> outputs;
  for (const ValueId output : graph.outputs()) outputs.push_back(*values[output.index()]);
  return outputs;
}

}  // namespace onnx_split
