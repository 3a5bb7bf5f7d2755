#include "onnx_import/export.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "base/file.h"
#include "onnx/onnx.pb.h"
#include "onnx_import/op_table.h"
#include "onnx_import/tensor_proto.h"

namespace onnx_split {
namespace {

constexpr std::int64_t kOpset = 17;
// Only where opset 17 has no form for a node: AveragePool has dilations since 19.
constexpr std::int64_t kLaterOpset = 19;
constexpr std::int64_t kIrVersion = 8;

// Smaller constants of integers stay inside the model, where a reader of the graph sees them.
constexpr std::size_t kEmbeddedBytes = 1024;

std::int64_t opset_for(const Graph& graph) {
  for (const Node& node : graph.nodes()) {
    if (node.op == OpType::kAveragePool && node.attributes.has("dilations")) return kLaterOpset;
  }
  return kOpset;
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void describe_value(const Value& value, onnx::ValueInfoProto& info) {
  info.set_name(value.name);
  onnx::TypeProto::Tensor& type = *info.mutable_type()->mutable_tensor_type();
  type.set_elem_type(export_type(value.type.type));
  type.mutable_shape();  // a scalar's shape is there and empty
  for (const std::int64_t extent : value.shape()) type.mutable_shape()->add_dim()->set_dim_value(extent);
}

void write_attribute(const std::string& name, const AttributeValue& value, onnx::NodeProto& proto) {
  onnx::AttributeProto& attribute = *proto.add_attribute();
  attribute.set_name(name);
  if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    attribute.set_type(onnx::AttributeProto::INT);
    attribute.set_i(*integer);
  } else if (const auto* number = std::get_if<float>(&value)) {
    attribute.set_type(onnx::AttributeProto::FLOAT);
    attribute.set_f(*number);
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    attribute.set_type(onnx::AttributeProto::STRING);
    attribute.set_s(*text);
  } else if (const auto* integers = std::get_if<Ints>(&value)) {
    attribute.set_type(onnx::AttributeProto::INTS);
    attribute.mutable_ints()->Add(integers->begin(), integers->end());
  } else {
    const Floats& numbers = std::get<Floats>(value);
    attribute.set_type(onnx::AttributeProto::FLOATS);
    attribute.mutable_floats()->Add(numbers.begin(), numbers.end());
  }
}

// An attribute as the tensor that ONNX takes in its place. Attributes with an input's place are numbers or lists.
Tensor parameter_tensor(const AttributeValue& value) {
  if (const auto* integers = std::get_if<Ints>(&value)) return Tensor::ints(*integers);
  if (const auto* numbers = std::get_if<Floats>(&value)) {
    return Tensor::floats(Shape{static_cast<std::int64_t>(numbers->size())}, *numbers);
  }
  if (const auto* integer = std::get_if<std::int64_t>(&value))
    return Tensor::from<std::int64_t>({}, std::span(integer, 1));
  const auto* number = std::get_if<float>(&value);
  CHECK(number != nullptr);
  return Tensor::scalar(*number);
}

// Pad's value has the type of its data in ONNX; without the input it is 0 of whatever type.
bool is_default(const Node& node, const std::string& name, const AttributeValue& value) {
  return node.op == OpType::kPad && name == "value" && value == AttributeValue(0.0F);
}

class Exporter {
 public:
  // An empty name keeps all constants inside the model.
  Exporter(const Graph& graph, const std::string& weights_name)
      : graph_(graph), opset_(opset_for(graph)), proto_(*model_.mutable_graph()) {
    exported_.weights_name = weights_name;
    for (const Value& value : graph.values()) names_.insert(value.name);
  }

  Expected<ExportedModel> run() {
    model_.set_ir_version(kIrVersion);
    model_.set_producer_name("onnx-split");
    model_.add_opset_import()->set_version(opset_);
    proto_.set_name(graph_.name().empty() ? kUnnamedGraph : graph_.name());
    for (const ValueId input : graph_.inputs()) describe_value(graph_.value(input), *proto_.add_input());
    for (const ValueId output : graph_.outputs()) describe_value(graph_.value(output), *proto_.add_output());
    for (const Value& value : graph_.values()) {
      if (value.constant) write_constant(value.name, *value.constant);
    }
    for (const Node& node : graph_.nodes()) {
      auto written = write_node(node);
      if (!written) return fail_in(describe(node), std::move(written.error()));
    }
    if (!model_.SerializeToString(&exported_.model)) {
      return fail(ErrorCode::kExhausted, "graph \"{}\": its description has more than 2 GB", graph_.name());
    }
    return std::move(exported_);
  }

 private:
  void write_constant(const std::string& name, const Tensor& tensor);
  std::uint64_t place(const Buffer& data);
  Expected<void> write_node(const Node& node);
  void write_parameter(const Node& node, const Parameter& parameter, onnx::NodeProto& proto);

  const Graph& graph_;
  std::int64_t opset_;
  onnx::ModelProto model_;
  onnx::GraphProto& proto_;
  ExportedModel exported_;
  std::unordered_set<std::string> names_;
  std::map<std::pair<const std::byte*, std::size_t>, std::uint64_t> placed_;
};

void Exporter::write_constant(const std::string& name, const Tensor& tensor) {
  onnx::TensorProto& proto = *proto_.add_initializer();
  describe_tensor(tensor.type(), name, proto);
  const std::size_t size_bytes = tensor.buffer().size();
  if (exported_.weights_name.empty() || size_bytes == 0 ||
      (tensor.type().type != DataType::kFloat32 && size_bytes < kEmbeddedBytes)) {
    proto.set_raw_data(std::string(as_text(tensor.buffer().bytes())));
    return;
  }
  proto.set_data_location(onnx::TensorProto::EXTERNAL);
  const auto entry = [&](const char* key, std::string value) {
    onnx::StringStringEntryProto& added = *proto.add_external_data();
    added.set_key(key);
    added.set_value(std::move(value));
  };
  entry("location", exported_.weights_name);
  entry("offset", std::to_string(place(tensor.buffer())));
  entry("length", std::to_string(size_bytes));
}

// Where the bytes stand in the weights file; constants that share their memory share it there too.
std::uint64_t Exporter::place(const Buffer& data) {
  const std::uint64_t end = (exported_.weights_bytes + kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment;
  const auto [placed, is_new] = placed_.try_emplace({data.bytes().data(), data.size()}, end);
  if (is_new) {
    exported_.weights.push_back({end, data});
    exported_.weights_bytes = end + data.size();
  }
  return placed->second;
}

Expected<void> Exporter::write_node(const Node& node) {
  const OpRow* row = find_row(op_name(node.op), opset_);
  CHECK(row != nullptr && row->op == node.op);
  onnx::NodeProto& proto = *proto_.add_node();
  proto.set_name(node.name);
  proto.set_op_type(std::string(row->name));
  for (const ValueId input : node.inputs) proto.add_input(graph_.value(input).name);
  for (const ValueId output : node.outputs) proto.add_output(graph_.value(output).name);
  for (const auto& [name, value] : node.attributes.values()) {
    const Parameter* parameter = nullptr;
    for (const Parameter& candidate : row->parameters) {
      if (candidate.kind != Parameter::Kind::kNone && candidate.name == name) parameter = &candidate;
    }
    if (parameter != nullptr) {
      if (!is_default(node, name, value)) write_parameter(node, *parameter, proto);
    } else if (node.op == OpType::kCast && name == "to") {
      TRY_ASSIGN(const DataType type, data_type_from_name(node.attributes.string_or("to", "")));
      write_attribute(name, std::int64_t{export_type(type)}, proto);
    } else if (understands(*row, name)) {
      write_attribute(name, value, proto);
    } else {
      return fail(ErrorCode::kUnsupported, "attribute \"{}\" has no form in ONNX's opset {}", name, opset_);
    }
  }
  // Otherwise ONNX takes an extent of 0 for "as in the input".
  const Ints shape = node.op == OpType::kReshape ? node.attributes.ints_or("shape", {}) : Ints{};
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) write_attribute("allowzero", std::int64_t{1}, proto);
  return {};
}

void Exporter::write_parameter(const Node& node, const Parameter& parameter, onnx::NodeProto& proto) {
  const std::string base = fmt::format("{}_{}", node.name, parameter.name);
  std::string name = base;
  for (int i = 1; !names_.insert(name).second; ++i) name = fmt::format("{}_{}", base, i);
  const Tensor tensor = parameter_tensor(node.attributes.values().find(parameter.name)->second);
  onnx::TensorProto& initializer = *proto_.add_initializer();
  describe_tensor(tensor.type(), name, initializer);
  initializer.set_raw_data(std::string(as_text(tensor.buffer().bytes())));
  while (static_cast<std::size_t>(proto.input_size()) <= parameter.input) proto.add_input();  // "": not there
  proto.set_input(static_cast<int>(parameter.input), name);
}

std::filesystem::path weights_path(const std::filesystem::path& path) {
  std::filesystem::path weights = path;
  return weights.replace_extension(".weights");
}

Expected<void> write_weights(AtomicFile& file, const ExportedModel& model) {
  std::uint64_t at = 0;
  for (const ExportedModel::Piece& piece : model.weights) {
    TRY(file.pad(piece.offset - at));
    TRY(file.write(piece.data.bytes()));
    at = piece.offset + piece.data.size();
  }
  return {};
}

}  // namespace

Expected<ExportedModel> export_onnx(const Graph& graph, const std::string& weights_name) {
  const std::filesystem::path name(weights_name);
  if (weights_name.empty() || name != name.filename() || weights_name == "." || weights_name == "..") {
    return fail(ErrorCode::kInvalid, "weights file \"{}\": expected a plain file name", weights_name);
  }
  return Exporter(graph, weights_name).run();
}

Expected<std::string> export_onnx_bytes(const Graph& graph) {
  TRY_ASSIGN(ExportedModel exported, Exporter(graph, "").run());
  return std::move(exported.model);
}

Expected<void> export_onnx_file(const Graph& graph, const std::filesystem::path& path) {
  const std::filesystem::path weights = weights_path(path);
  if (weights == path) return fail(ErrorCode::kInvalid, "{}: the name is that of its weights", path.string());
  TRY_ASSIGN(const ExportedModel exported, export_onnx(graph, weights.filename().string()));
  TRY_ASSIGN(AtomicFile model_file, AtomicFile::create(path));
  TRY(model_file.write(exported.model));
  if (exported.weights.empty()) return model_file.commit();
  TRY_ASSIGN(AtomicFile weights_file, AtomicFile::create(weights));
  TRY(write_weights(weights_file, exported));
  TRY(weights_file.commit());
  auto committed = model_file.commit();
  if (!committed) {
    std::error_code ignored;  // the error to report is the one we have
    std::filesystem::remove(weights, ignored);
  }
  return committed;
}

}  // namespace onnx_split
