#include <algorithm>
#include <numeric>

#include "onnx_import/converters.h"
#include "onnx_import/tensor_proto.h"

namespace onnx_split {
namespace {

// How opsets before 6 wrote Cast's target.
std::int64_t onnx_type_of_name(std::string_view name) {
  if (name == "FLOAT") return 1;
  if (name == "INT32" || name == "INT64") return 7;
  if (name == "BOOL") return 9;
  return 0;
}

// An inference drops nothing: the mask "will contain all ones" (ONNX's Dropout-12).
Expected<void> define_mask(const std::string& name, const Shape& shape, GraphWriter& writer) {
  const TensorType type{DataType::kBool, shape};
  if (!writer.claim_bytes(type.size_bytes())) {
    return fail(ErrorCode::kUnsupported, "the mask, {}, is too large for a constant", type.to_string());
  }
  TensorBuilder mask(type);
  std::ranges::fill(mask.as<bool>(), true);
  return writer.define_constant(name, std::move(mask).build());
}

}  // namespace

// Before opset 7, B's axes stood under A's axes from `axis` on (by default under the last ones), and only with
// broadcast=1.
Expected<void> convert_binary_1(OnnxNode node, GraphWriter& writer) {
  if (node.inputs.size() != 2) return fail(ErrorCode::kInvalid, "expected 2 inputs, found {}", node.inputs.size());
  TRY_ASSIGN(const std::int64_t broadcasts, node.attributes.get_int("broadcast", 0));
  const Shape& a = writer.shape(node.inputs[0]);
  const Shape& b = writer.shape(node.inputs[1]);
  if (broadcasts == 0 && a != b) {
    return fail(ErrorCode::kInvalid, "expected equal shapes without broadcast=1, found {} and {}", a.to_string(),
                b.to_string());
  }
  if (b.rank() > a.rank()) {
    return fail(ErrorCode::kInvalid, "{} doesn't broadcast to {}", b.to_string(), a.to_string());
  }
  const auto suffix = static_cast<std::int64_t>(a.rank() - b.rank());
  TRY_ASSIGN(std::int64_t axis, node.attributes.get_int("axis", suffix));
  if (axis < 0) axis += static_cast<std::int64_t>(a.rank());
  if (axis < 0 || axis > suffix)
    return fail(ErrorCode::kInvalid, "axis puts {} outside of {}", b.to_string(), a.to_string());
  if (axis != suffix) {
    Ints dims = b.vector();
    dims.resize(a.rank() - static_cast<std::size_t>(axis), 1);
    TRY_ASSIGN(node.inputs[1],
               writer.emit_helper(node, "aligned", OpType::kReshape, {{"shape", std::move(dims)}}, {node.inputs[1]}));
  }
  node.attributes = {};
  return writer.emit(std::move(node));
}

Expected<void> convert_cast(OnnxNode node, GraphWriter& writer) {
  const auto& given = node.attributes.values();
  const auto to = given.find("to");
  if (to == given.end()) return fail(ErrorCode::kInvalid, "to is missing");
  const auto* name = std::get_if<std::string>(&to->second);
  std::int64_t onnx_type = 0;
  if (name != nullptr) {
    onnx_type = onnx_type_of_name(*name);
  } else {
    TRY_ASSIGN(onnx_type, node.attributes.get_int("to", 0));
  }
  auto type = import_type(onnx_type);
  if (!type) return fail_in("to", std::move(type.error()));
  node.attributes.set("to", std::string(data_type_name(*type)));
  return writer.emit(std::move(node));
}

Expected<void> convert_dropout(OnnxNode node, GraphWriter& writer) {
  TRY_ASSIGN(const std::int64_t training, node.attributes.get_int("training_mode", 0));
  TRY_ASSIGN(const float ratio, node.attributes.get_float("ratio", 0.5F));
  if (training != 0 && ratio != 0.0F)
    return fail(ErrorCode::kUnsupported, "training_mode=1: only inference is supported");
  node.attributes = {};
  if (node.outputs.size() > 1) {
    if (node.inputs.size() != 1) return fail(ErrorCode::kInvalid, "expected 1 operand, found {}", node.inputs.size());
    TRY(define_mask(node.outputs[1], writer.shape(node.inputs[0]), writer));
    node.outputs.resize(1);
  }
  return writer.emit(std::move(node));
}

Expected<void> convert_prelu_1(OnnxNode node, GraphWriter& writer) {
  if (node.inputs.size() != 2) return fail(ErrorCode::kInvalid, "expected 2 inputs, found {}", node.inputs.size());
  const Shape& x = writer.shape(node.inputs[0]);
  const Shape& slope = writer.shape(node.inputs[1]);
  if (slope.rank() == 1 && slope[0] != 1 && x.rank() > 2) {
    Ints dims(x.rank() - 1, 1);
    dims.front() = slope[0];
    TRY_ASSIGN(node.inputs[1],
               writer.emit_helper(node, "aligned", OpType::kReshape, {{"shape", std::move(dims)}}, {node.inputs[1]}));
  }
  return writer.emit(std::move(node));
}

Expected<void> convert_reduce(OnnxNode node, GraphWriter& writer) {
  if (node.inputs.size() != 1) return fail(ErrorCode::kInvalid, "expected 1 operand, found {}", node.inputs.size());
  const std::size_t rank = writer.shape(node.inputs[0]).rank();
  TRY_ASSIGN(const Ints named, node.attributes.get_ints("axes", {}));
  TRY_ASSIGN(const std::int64_t keepdims, node.attributes.get_int("keepdims", 1));
  TRY_ASSIGN(const std::int64_t noop, node.attributes.get_int("noop_with_empty_axes", 0));
  Ints axes;
  for (const std::int64_t axis : named) {
    TRY_ASSIGN(const std::size_t normalized, normalize_axis(axis, rank));
    axes.push_back(static_cast<std::int64_t>(normalized));
  }
  node.attributes = {};
  // The graph's operator, like ONNX's, takes no axes to mean all of them; over a scalar there is nothing to reduce.
  if ((axes.empty() && noop != 0) || rank == 0) {
    node.op = OpType::kIdentity;
    return writer.emit(std::move(node));
  }
  if (axes.empty()) {
    axes.resize(rank);
    std::iota(axes.begin(), axes.end(), 0);
  }
  node.attributes = {{"axes", std::move(axes)}, {"keepdims", keepdims}};
  return writer.emit(std::move(node));
}

Expected<void> convert_softmax(OnnxNode node, GraphWriter& writer) {
  if (node.inputs.size() != 1) return fail(ErrorCode::kInvalid, "expected 1 input, found {}", node.inputs.size());
  TRY_ASSIGN(const std::int64_t named, node.attributes.get_int("axis", -1));
  TRY_ASSIGN(const std::size_t axis, normalize_axis(named, writer.shape(node.inputs[0]).rank()));
  node.attributes.set("axis", static_cast<std::int64_t>(axis));
  return writer.emit(std::move(node));
}

// Before opset 13 the input was coerced to two axes at `axis`, and the sum ran over all of the second.
Expected<void> convert_softmax_1(OnnxNode node, GraphWriter& writer) {
  if (node.inputs.size() != 1) return fail(ErrorCode::kInvalid, "expected 1 input, found {}", node.inputs.size());
  const Shape shape = writer.shape(node.inputs[0]);
  TRY_ASSIGN(const std::int64_t named, node.attributes.get_int("axis", 1));
  TRY_ASSIGN(const std::size_t axis, normalize_axis(named, shape.rank()));
  if (shape.elements(axis + 1, shape.rank()) == 1) {
    node.attributes.set("axis", static_cast<std::int64_t>(axis));
    return writer.emit(std::move(node));
  }
  TRY_ASSIGN(ValueId value, writer.emit_helper(node, "flat", OpType::kFlatten,
                                               {{"axis", static_cast<std::int64_t>(axis)}}, node.inputs));
  TRY_ASSIGN(value, writer.emit_helper(node, "flat_softmax", node.op, {{"axis", std::int64_t{1}}}, {value}));
  node.op = OpType::kReshape;
  node.attributes = {{"shape", shape.vector()}};
  node.inputs = {value};
  return writer.emit(std::move(node));
}

}  // namespace onnx_split
