#include <algorithm>

#include "onnx_import/converters.h"

namespace onnx_split {
namespace {

Expected<Tensor> constant_data(const OnnxNode& node) {
  if (const auto value = node.tensors.find("value"); value != node.tensors.end()) return value->second;
  if (node.attributes.has("value_float")) {
    TRY_ASSIGN(const float value, node.attributes.get_float("value_float", 0.0F));
    return Tensor::scalar(value);
  }
  if (node.attributes.has("value_floats")) {
    TRY_ASSIGN(const Floats values, node.attributes.get_floats("value_floats", {}));
    return Tensor::floats(Shape{static_cast<std::int64_t>(values.size())}, values);
  }
  if (node.attributes.has("value_int")) {
    TRY_ASSIGN(const std::int64_t value, node.attributes.get_int("value_int", 0));
    return Tensor::from<std::int64_t>(Shape{}, std::span(&value, 1));
  }
  if (node.attributes.has("value_ints")) {
    TRY_ASSIGN(const Ints values, node.attributes.get_ints("value_ints", {}));
    return Tensor::ints(values);
  }
  return fail(ErrorCode::kInvalid, "value is missing");
}

}  // namespace

Expected<void> convert_constant(OnnxNode node, GraphWriter& writer) {
  TRY_ASSIGN(Tensor data, constant_data(node));
  return writer.define_constant(node.outputs.front(), std::move(data));
}

Expected<void> convert_constant_of_shape(OnnxNode node, GraphWriter& writer) {
  if (!node.attributes.has("shape")) return fail(ErrorCode::kInvalid, "shape is missing");
  TRY_ASSIGN(Ints dims, node.attributes.get_ints("shape", {}));
  TRY_ASSIGN(Shape shape, Shape::checked(std::move(dims)));
  Tensor value = Tensor::scalar(0.0F);
  if (const auto given = node.tensors.find("value"); given != node.tensors.end()) value = given->second;
  if (value.shape().elements() != 1) {
    return fail(ErrorCode::kInvalid, "value expects one element, found shape {}", value.shape().to_string());
  }
  const TensorType type{value.type().type, std::move(shape)};
  if (!writer.claim_bytes(type.size_bytes())) {
    return fail(ErrorCode::kUnsupported, "{} is too large for a constant", type.to_string());
  }
  TensorBuilder builder(type);
  const std::span<std::byte> bytes = builder.view().bytes();
  const std::span<const std::byte> element = value.buffer().bytes();
  for (std::size_t at = 0; at < bytes.size(); at += element.size())
    std::copy(element.begin(), element.end(), bytes.begin() + at);
  return writer.define_constant(node.outputs.front(), std::move(builder).build());
}

Expected<void> convert_shape(OnnxNode node, GraphWriter& writer) {
  if (node.inputs.size() != 1) return fail(ErrorCode::kInvalid, "expected 1 input, found {}", node.inputs.size());
  const Shape& shape = writer.shape(node.inputs[0]);
  const auto rank = static_cast<std::int64_t>(shape.rank());
  const auto clamped = [rank](std::int64_t axis) {
    return std::clamp<std::int64_t>(axis < 0 ? axis + rank : axis, 0, rank);
  };
  TRY_ASSIGN(const std::int64_t named_start, node.attributes.get_int("start", 0));
  TRY_ASSIGN(const std::int64_t named_end, node.attributes.get_int("end", rank));
  const std::int64_t start = clamped(named_start);
  const std::int64_t end = std::max(start, clamped(named_end));
  const std::span<const std::int64_t> dims =
      shape.dims().subspan(static_cast<std::size_t>(start), static_cast<std::size_t>(end - start));
  return writer.define_constant(node.outputs.front(), Tensor::ints(dims));
}

}  // namespace onnx_split
