#include "onnx_import/import.h"

#include <algorithm>
#include <fstream>

#include "base/file.h"
#include "graph/passes/passes.h"
#include "onnx/onnx.pb.h"
#include "onnx_import/export.h"
#include "onnx_import/graph_writer.h"
#include "onnx_import/model_nodes.h"
#include "onnx_import/tensor_proto.h"

namespace onnx_split {
namespace {

Expected<std::int64_t> opset_of(const onnx::ModelProto& model) {
  if (!model.has_ir_version() || !model.has_graph())
    return fail(ErrorCode::kInvalid, "not an ONNX file: it has no graph");
  std::int64_t opset = 0;
  for (const onnx::OperatorSetIdProto& entry : model.opset_import()) {
    if (entry.domain().empty() || entry.domain() == "ai.onnx") opset = std::max<std::int64_t>(opset, entry.version());
  }
  // Models of the first two versions of the format have no opset: they mean the first.
  if (opset == 0 && model.ir_version() < 3) return 1;
  if (opset == 0) return fail(ErrorCode::kInvalid, "opset_import names no version of ONNX's operators");
  if (opset < kFirstOpset || opset > kLastOpset) {
    return fail(ErrorCode::kUnsupported, "opset {} isn't supported: expected {} to {}", opset, kFirstOpset, kLastOpset);
  }
  return opset;
}

tl::unexpected<Error> refuse(const std::vector<UnsupportedNode>& nodes) {
  std::string list;
  for (const UnsupportedNode& node : nodes) {
    list += fmt::format("{}node \"{}\" ({}, opset {}): {}", list.empty() ? "" : "; ", node.name, node.op, node.opset,
                        node.reason);
  }
  return fail(ErrorCode::kUnsupported, "{} unsupported operator{}: {}", nodes.size(), nodes.size() == 1 ? "" : "s",
              list);
}

// One model on its way into a graph.
class Importer {
 public:
  Importer(OnnxModel model, std::int64_t opset, const std::filesystem::path& folder, const ImportOptions& options)
      : model_(std::move(model)),
        proto_(*model_.proto->mutable_graph()),
        opset_(opset),
        options_(options),
        external_(folder),
        writer_(proto_.name().empty() ? kUnnamedGraph : proto_.name(), all_names(proto_), output_names(proto_)) {}

  Expected<Graph> import() {
    if (options_.batch < 1) return fail(ErrorCode::kInvalid, "batch {}: expected at least 1", options_.batch);
    if (proto_.sparse_initializer_size() > 0)
      return fail(ErrorCode::kUnsupported, "sparse initializers aren't supported");
    TRY_ASSIGN(ModelNodes matched, match_nodes(proto_, opset_));
    if (!matched.unsupported.empty()) return refuse(matched.unsupported);
    find_uses(matched.nodes);
    TRY(add_inputs());
    TRY(add_initializers());
    TRY_ASSIGN(std::vector<ModelNode> nodes, ordered(std::move(matched.nodes), given_));
    for (ModelNode& node : nodes) {
      auto added = add_node(node);
      if (!added) return fail_in(describe(node), std::move(added.error()));
    }
    return finish();
  }

 private:
  static std::unordered_set<std::string> all_names(const onnx::GraphProto& graph) {
    std::unordered_set<std::string> names;
    for (const onnx::ValueInfoProto& input : graph.input()) names.insert(input.name());
    for (const onnx::TensorProto& tensor : graph.initializer()) names.insert(tensor.name());
    for (const onnx::NodeProto& node : graph.node()) {
      names.insert(node.name());
      names.insert(node.output().begin(), node.output().end());
    }
    return names;
  }

  static std::unordered_set<std::string> output_names(const onnx::GraphProto& graph) {
    std::unordered_set<std::string> names;
    for (const onnx::ValueInfoProto& output : graph.output()) names.insert(output.name());
    return names;
  }

  void find_uses(const std::vector<ModelNode>& nodes);
  Expected<Shape> input_shape(const onnx::ValueInfoProto& input);
  Expected<void> add_inputs();
  Expected<void> add_initializers();
  Expected<void> add_node(ModelNode& node);
  Expected<std::vector<std::string>> outputs_of(const ModelNode& node);
  Expected<void> read_parameter(const Parameter& parameter, const std::string& input, Attributes& attributes);
  Expected<Graph> finish();

  OnnxModel model_;
  onnx::GraphProto& proto_;
  std::int64_t opset_;
  ImportOptions options_;
  ExternalData external_;
  GraphWriter writer_;
  std::unordered_set<std::string> given_;          // inputs and initializers
  std::unordered_set<std::string> used_;           // names that a node or an output reads
  std::unordered_set<std::string> operands_;       // those among them that aren't read as parameters only
  std::unordered_set<std::string> batch_symbols_;  // names of the inputs' first dimensions
};

void Importer::find_uses(const std::vector<ModelNode>& nodes) {
  for (const ModelNode& node : nodes) {
    for (int i = 0; i < node.proto->input_size(); ++i) {
      used_.insert(node.proto->input(i));
      if (parameter_at(*node.row, static_cast<std::size_t>(i)) == nullptr) operands_.insert(node.proto->input(i));
    }
  }
  for (const onnx::ValueInfoProto& output : proto_.output()) {
    used_.insert(output.name());
    operands_.insert(output.name());
  }
  for (const onnx::ValueInfoProto& input : proto_.input()) {
    const onnx::TensorShapeProto& shape = input.type().tensor_type().shape();
    if (shape.dim_size() > 0 && !shape.dim(0).dim_param().empty()) batch_symbols_.insert(shape.dim(0).dim_param());
  }
}

// The first dimension may be open: it is the batch, and so is every other one of the same name.
Expected<Shape> Importer::input_shape(const onnx::ValueInfoProto& input) {
  if (!input.type().tensor_type().has_shape()) return fail(ErrorCode::kInvalid, "has no shape");
  std::vector<std::int64_t> dims;
  for (const onnx::TensorShapeProto::Dimension& dim : input.type().tensor_type().shape().dim()) {
    const bool known = dim.has_dim_value() && dim.dim_value() >= 0;
    if (!known && !dims.empty() && !batch_symbols_.contains(dim.dim_param())) {
      return fail(ErrorCode::kUnsupported, "dimension {} (\"{}\") is open: only the first one, the batch, may be",
                  dims.size(), dim.dim_param());
    }
    dims.push_back(known ? dim.dim_value() : options_.batch);
  }
  return Shape::checked(std::move(dims));
}

Expected<void> Importer::add_inputs() {
  std::unordered_set<std::string> initializers;
  for (const onnx::TensorProto& tensor : proto_.initializer()) initializers.insert(tensor.name());
  for (const onnx::ValueInfoProto& input : proto_.input()) {
    if (initializers.contains(input.name())) continue;  // before IR version 4 initializers were inputs too
    const std::string context = fmt::format("input \"{}\"", input.name());
    if (!input.type().has_tensor_type()) return fail(ErrorCode::kUnsupported, "{} isn't a tensor", context);
    auto type = import_type(input.type().tensor_type().elem_type());
    if (!type) return fail_in(context, std::move(type.error()));
    auto shape = input_shape(input);
    if (!shape) return fail_in(context, std::move(shape.error()));
    TRY(writer_.add_input(input.name(), {*type, std::move(*shape)}));
    given_.insert(input.name());
  }
  return {};
}

// Those that something reads; in the model's order, so that a graph that was exported comes back the same.
Expected<void> Importer::add_initializers() {
  for (int i = 0; i < proto_.initializer_size(); ++i) {
    onnx::TensorProto& tensor = *proto_.mutable_initializer(i);
    const std::string name = tensor.name();
    TensorBytes bytes = std::move(model_.initializer_bytes[static_cast<std::size_t>(i)]);
    if (!given_.insert(name).second) return fail(ErrorCode::kInvalid, "initializer \"{}\" is defined twice", name);
    if (!used_.contains(name)) continue;
    auto data = take_tensor(tensor, std::move(bytes), external_);
    if (!data) return fail_in(fmt::format("initializer \"{}\"", name), std::move(data.error()));
    TRY(writer_.define_constant(name, std::move(*data)));
    if (operands_.contains(name)) TRY(writer_.operand(name));
  }
  return {};
}

Expected<std::vector<std::string>> Importer::outputs_of(const ModelNode& node) {
  std::vector<std::string> outputs;
  for (const std::string& output : node.proto->output()) {
    if (outputs.size() < node.row->max_outputs) {
      outputs.push_back(output.empty() ? writer_.fresh_name(node.name + "_unused") : output);
    } else if (used_.contains(output) && !output.empty()) {
      return fail(ErrorCode::kUnsupported, "output \"{}\" (number {}) isn't supported", output, outputs.size());
    }
  }
  // An optional output that nothing reads isn't made. Where any number may stand (Split), the number means something.
  const bool optional = node.row->max_outputs != kAnyOutputs;
  while (optional && outputs.size() > 1 && !used_.contains(outputs.back())) outputs.pop_back();
  return outputs;
}

Expected<void> Importer::add_node(ModelNode& node) {
  OnnxNode converted{.name = node.name,
                     .op = node.row->op,
                     .opset = opset_,
                     .attributes = std::move(node.attributes),
                     .tensors = {},
                     .inputs = {},
                     .outputs = {}};
  TRY_ASSIGN(converted.outputs, outputs_of(node));
  int last = node.proto->input_size();
  while (last > 0 && node.proto->input(last - 1).empty()) --last;
  for (int i = 0; i < last; ++i) {
    const std::string& input = node.proto->input(i);
    const Parameter* parameter = parameter_at(*node.row, static_cast<std::size_t>(i));
    if (parameter != nullptr) {
      if (!input.empty()) TRY(read_parameter(*parameter, input, converted.attributes));
      continue;
    }
    if (input.empty()) return fail(ErrorCode::kInvalid, "input {} is missing", i);
    TRY_ASSIGN(const ValueId operand, writer_.operand(input));
    converted.inputs.push_back(operand);
  }
  for (onnx::AttributeProto& attribute : *node.proto->mutable_attribute()) {
    if (!attribute.has_t()) continue;
    auto tensor = take_tensor(*attribute.mutable_t(), {}, external_);
    if (!tensor) return fail_in(fmt::format("attribute \"{}\"", attribute.name()), std::move(tensor.error()));
    converted.tensors.emplace(attribute.name(), std::move(*tensor));
  }
  return node.row->convert(std::move(converted), writer_);
}

// The numbers of a float32, int64 or bool tensor, as `To`.
template <class To>
std::vector<To> numbers(const Tensor& tensor) {
  std::vector<To> result;
  const auto append = [&](auto elements) {
    for (const auto element : elements) result.push_back(static_cast<To>(element));
  };
  switch (tensor.type().type) {
    case DataType::kFloat32: append(tensor.as<float>()); break;
    case DataType::kInt64: append(tensor.as<std::int64_t>()); break;
    case DataType::kBool: append(tensor.as<bool>()); break;
  }
  return result;
}

Expected<void> Importer::read_parameter(const Parameter& parameter, const std::string& input, Attributes& attributes) {
  using Kind = Parameter::Kind;
  const Tensor* tensor = writer_.known(input);
  if (tensor == nullptr) {
    return fail(ErrorCode::kUnsupported, "{} (input \"{}\") must be constant: it can't depend on the network's input",
                parameter.name, input);
  }
  const TensorType& type = tensor->type();
  const bool wants_integers = parameter.kind == Kind::kInts || parameter.kind == Kind::kInt;
  const bool wants_one = parameter.kind == Kind::kInt || parameter.kind == Kind::kFloat;
  if ((wants_integers && type.type == DataType::kFloat32) ||
      (parameter.kind == Kind::kFloats && type.type != DataType::kFloat32)) {
    return fail(ErrorCode::kInvalid, "{} (input \"{}\") expects {}, found {}", parameter.name, input,
                wants_integers ? "int64" : "float32", type.to_string());
  }
  if (type.shape.rank() > 1 || (wants_one && type.shape.elements() != 1)) {
    return fail(ErrorCode::kInvalid, "{} (input \"{}\") expects {}, found {}", parameter.name, input,
                wants_one ? "one number" : "a list", type.to_string());
  }
  const std::string name(parameter.name);
  switch (parameter.kind) {
    case Kind::kInts: attributes.set(name, numbers<std::int64_t>(*tensor)); break;
    case Kind::kFloats: attributes.set(name, numbers<float>(*tensor)); break;
    case Kind::kInt: attributes.set(name, numbers<std::int64_t>(*tensor).front()); break;
    case Kind::kFloat: attributes.set(name, numbers<float>(*tensor).front()); break;
    case Kind::kNone: break;
  }
  return {};
}

Expected<Graph> Importer::finish() {
  std::vector<ValueId> outputs;
  std::unordered_set<ValueId> listed;
  for (const onnx::ValueInfoProto& output : proto_.output()) {
    const std::string context = fmt::format("output \"{}\"", output.name());
    if (!writer_.defines(output.name())) return fail(ErrorCode::kInvalid, "{} isn't computed by any node", context);
    TRY_ASSIGN(const ValueId id, writer_.operand(output.name()));
    if (!listed.insert(id).second) return fail(ErrorCode::kInvalid, "{} is listed twice", context);
    if (output.type().tensor_type().has_elem_type()) {
      auto type = import_type(output.type().tensor_type().elem_type());
      if (!type) return fail_in(context, std::move(type.error()));
      if (*type != writer_.type(id).type) {
        return fail(ErrorCode::kInvalid, "{} is declared {}, its node gives {}", context, data_type_name(*type),
                    writer_.type(id).to_string());
      }
    }
    outputs.push_back(id);
  }
  TRY_ASSIGN(Graph graph, std::move(writer_).build(std::move(outputs)));
  return options_.simplify ? simplify(graph) : graph;
}

Expected<Graph> import_model(Expected<OnnxModel> model, const std::filesystem::path& folder,
                             const ImportOptions& options) {
  if (!model) return tl::unexpected(std::move(model.error()));
  TRY_ASSIGN(const std::int64_t opset, opset_of(*model->proto));
  return Importer(std::move(*model), opset, folder, options).import();
}

Expected<std::vector<UnsupportedNode>> unsupported_in(const std::filesystem::path& path) {
  TRY_ASSIGN(OnnxModel model, read_model(path));
  TRY_ASSIGN(const std::int64_t opset, opset_of(*model.proto));
  TRY_ASSIGN(ModelNodes nodes, match_nodes(*model.proto->mutable_graph(), opset));
  return std::move(nodes.unsupported);
}

}  // namespace

Expected<Graph> import_onnx(const std::filesystem::path& path, const ImportOptions& options) {
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  auto graph = import_model(read_model(path), folder, options);
  if (!graph) return fail_in(path.string(), std::move(graph.error()));
  return graph;
}

Expected<Graph> import_onnx_bytes(std::span<const std::byte> bytes, const std::filesystem::path& folder,
                                  const ImportOptions& options) {
  return import_model(read_model(bytes), folder, options);
}

Expected<std::vector<UnsupportedNode>> list_unsupported(const std::filesystem::path& path) {
  auto nodes = unsupported_in(path);
  if (!nodes) return fail_in(path.string(), std::move(nodes.error()));
  return nodes;
}

Expected<Tensor> import_tensor(const std::filesystem::path& path) {
  constexpr std::uint64_t kMaxTensorFileBytes = 1ULL << 30;
  TRY_ASSIGN(const std::string bytes, read_file(path, kMaxTensorFileBytes));
  onnx::TensorProto proto;
  if (!proto.ParseFromString(bytes) || !proto.has_data_type()) {
    return fail(ErrorCode::kInvalid, "{}: not a tensor file (ONNX's TensorProto)", path.string());
  }
  ExternalData none({});
  auto tensor = take_tensor(proto, {}, none);
  if (!tensor) return fail_in(path.string(), std::move(tensor.error()));
  return tensor;
}

}  // namespace onnx_split
