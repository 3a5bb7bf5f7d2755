#include <algorithm>
#include <numeric>
#include <set>

#include "onnx_import/converters.h"

namespace onnx_split {
namespace {

Expected<void> expect_operands(const OnnxNode& node, std::size_t count) {
  if (node.inputs.size() == count) return {};
  return fail(ErrorCode::kInvalid, "expected {} operands, found {}", count, node.inputs.size());
}

// The attribute "axes" with no axis negative or named twice, in the order given.
Expected<Ints> normalized_axes(const Ints& axes, std::size_t rank) {
  Ints normalized;
  for (const std::int64_t axis : axes) {
    TRY_ASSIGN(const std::size_t index, normalize_axis(axis, rank));
    normalized.push_back(static_cast<std::int64_t>(index));
  }
  if (std::set<std::int64_t>(normalized.begin(), normalized.end()).size() != normalized.size()) {
    return fail(ErrorCode::kInvalid, "an axis is named twice");
  }
  return normalized;
}

Ints all_axes(std::size_t rank) {
  Ints axes(rank);
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

Expected<Ints> required_ints(const OnnxNode& node, std::string_view name) {
  if (!node.attributes.has(name)) return fail(ErrorCode::kInvalid, "{} is missing", name);
  return node.attributes.get_ints(name, {});
}

// ONNX's 0 (as in the input) and -1 (whatever is left) resolved.
Expected<Ints> resolved_shape(Ints dims, const Shape& input, bool allow_zero) {
  std::optional<std::size_t> inferred;
  std::int64_t known = 1;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == 0 && !allow_zero) {
      if (i >= input.rank())
        return fail(ErrorCode::kInvalid, "extent {} is copied from an input of rank {}", i, input.rank());
      dims[i] = input[i];
    }
    if (dims[i] < -1) return fail(ErrorCode::kInvalid, "extent {} is {}", i, dims[i]);
    if (dims[i] == -1) {
      if (inferred) return fail(ErrorCode::kInvalid, "two extents are to be inferred");
      inferred = i;
    } else if (__builtin_mul_overflow(known, dims[i], &known)) {
      return fail(ErrorCode::kInvalid, "the extents' product overflows");
    }
  }
  if (inferred) {
    if (known == 0 || input.elements() % known != 0) {
      return fail(ErrorCode::kInvalid, "extent {} can't be inferred from an input of shape {}", *inferred,
                  input.to_string());
    }
    dims[*inferred] = input.elements() / known;
  }
  return dims;
}

}  // namespace

Expected<void> convert_plain(OnnxNode node, GraphWriter& writer) { return writer.emit(std::move(node)); }

Expected<void> convert_axis(OnnxNode node, GraphWriter& writer) {
  if (node.inputs.empty()) return fail(ErrorCode::kInvalid, "expected an input, found none");
  const bool flatten = node.op == OpType::kFlatten;
  if (node.op == OpType::kConcat && !node.attributes.has("axis")) return fail(ErrorCode::kInvalid, "axis is missing");
  TRY_ASSIGN(std::int64_t axis, node.attributes.get_int("axis", flatten ? 1 : 0));
  const std::size_t rank = writer.shape(node.inputs[0]).rank();
  // Flatten may stand behind the last axis.
  if (!flatten || axis != static_cast<std::int64_t>(rank)) {
    TRY_ASSIGN(const std::size_t normalized, normalize_axis(axis, rank));
    axis = static_cast<std::int64_t>(normalized);
  }
  node.attributes.set("axis", axis);
  return writer.emit(std::move(node));
}

Expected<void> convert_concat_1(OnnxNode node, GraphWriter& writer) {
  if (!node.attributes.has("axis")) node.attributes.set("axis", std::int64_t{1});
  return convert_axis(std::move(node), writer);
}

Expected<void> convert_expand(OnnxNode node, GraphWriter& writer) {
  TRY(expect_operands(node, 1));
  TRY_ASSIGN(Ints dims, required_ints(node, "shape"));
  TRY_ASSIGN(const Shape wanted, Shape::checked(std::move(dims)));
  TRY_ASSIGN(const Shape shape, broadcast(writer.shape(node.inputs[0]), wanted));
  node.attributes.set("shape", shape.vector());
  return writer.emit(std::move(node));
}

Expected<void> convert_pad(OnnxNode node, GraphWriter& writer) {
  TRY(expect_operands(node, 1));
  const std::size_t rank = writer.shape(node.inputs[0]).rank();
  TRY_ASSIGN(const Ints pads, required_ints(node, "pads"));
  TRY_ASSIGN(const Ints named, node.attributes.get_ints("axes", all_axes(rank)));
  TRY_ASSIGN(const Ints axes, normalized_axes(named, rank));
  if (pads.size() != 2 * axes.size()) {
    return fail(ErrorCode::kInvalid, "pads expects {} numbers, found {}", 2 * axes.size(), pads.size());
  }
  Ints full(2 * rank, 0);
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const auto axis = static_cast<std::size_t>(axes[i]);
    full[axis] = pads[i];
    full[axis + rank] = pads[i + axes.size()];
  }
  TRY_ASSIGN(const std::string mode, node.attributes.get_string("mode", "constant"));
  TRY_ASSIGN(const float value, node.attributes.get_float("value", 0.0F));
  node.attributes = {{"mode", mode}, {"pads", std::move(full)}, {"value", value}};
  return writer.emit(std::move(node));
}

Expected<void> convert_reshape(OnnxNode node, GraphWriter& writer) {
  TRY(expect_operands(node, 1));
  TRY_ASSIGN(Ints dims, required_ints(node, "shape"));
  TRY_ASSIGN(const std::int64_t allow_zero, node.attributes.get_int("allowzero", 0));
  TRY_ASSIGN(Ints shape, resolved_shape(std::move(dims), writer.shape(node.inputs[0]), allow_zero != 0));
  node.attributes = {{"shape", std::move(shape)}};
  return writer.emit(std::move(node));
}

Expected<void> convert_slice(OnnxNode node, GraphWriter& writer) {
  TRY(expect_operands(node, 1));
  TRY_ASSIGN(const Ints starts, required_ints(node, "starts"));
  TRY_ASSIGN(const Ints ends, required_ints(node, "ends"));
  TRY_ASSIGN(const Ints named, node.attributes.get_ints("axes", all_axes(starts.size())));
  TRY_ASSIGN(const Ints axes, normalized_axes(named, writer.shape(node.inputs[0]).rank()));
  TRY_ASSIGN(const Ints steps, node.attributes.get_ints("steps", Ints(starts.size(), 1)));
  node.attributes = {{"starts", starts}, {"ends", ends}, {"axes", axes}, {"steps", steps}};
  return writer.emit(std::move(node));
}

Expected<void> convert_split(OnnxNode node, GraphWriter& writer) {
  TRY(expect_operands(node, 1));
  const Shape& shape = writer.shape(node.inputs[0]);
  TRY_ASSIGN(const std::int64_t named, node.attributes.get_int("axis", 0));
  TRY_ASSIGN(const std::size_t axis, normalize_axis(named, shape.rank()));
  const auto count = static_cast<std::int64_t>(node.outputs.size());
  TRY_ASSIGN(const std::int64_t chunks, node.attributes.get_int("num_outputs", count));
  if (chunks != count) return fail(ErrorCode::kInvalid, "num_outputs is {}, the node has {} outputs", chunks, count);
  Ints sizes;
  if (node.attributes.has("split")) {
    TRY_ASSIGN(sizes, node.attributes.get_ints("split", {}));
  } else {
    // Since opset 18 the last piece may be smaller; before, the pieces must be equal.
    const std::int64_t size = (shape[axis] + count - 1) / count;
    sizes.assign(node.outputs.size(), size);
    sizes.back() = shape[axis] - size * (count - 1);
    if (sizes.back() < 0 || (node.opset < 18 && sizes.back() != size)) {
      return fail(ErrorCode::kInvalid, "{} elements don't split into {} pieces", shape[axis], count);
    }
  }
  node.attributes = {{"axis", static_cast<std::int64_t>(axis)}, {"split", std::move(sizes)}};
  return writer.emit(std::move(node));
}

Expected<void> convert_squeeze(OnnxNode node, GraphWriter& writer) {
  TRY(expect_operands(node, 1));
  const Shape& shape = writer.shape(node.inputs[0]);
  Ints axes;
  if (node.attributes.has("axes")) {
    TRY_ASSIGN(const Ints named, node.attributes.get_ints("axes", {}));
    TRY_ASSIGN(axes, normalized_axes(named, shape.rank()));
    std::sort(axes.begin(), axes.end());
  } else {
    for (std::size_t axis = 0; axis < shape.rank(); ++axis) {
      if (shape[axis] == 1) axes.push_back(static_cast<std::int64_t>(axis));
    }
  }
  node.attributes.set("axes", std::move(axes));
  return writer.emit(std::move(node));
}

Expected<void> convert_transpose(OnnxNode node, GraphWriter& writer) {
  TRY(expect_operands(node, 1));
  if (!node.attributes.has("perm")) {
    Ints perm = all_axes(writer.shape(node.inputs[0]).rank());
    std::reverse(perm.begin(), perm.end());
    node.attributes.set("perm", std::move(perm));
  }
  return writer.emit(std::move(node));
}

Expected<void> convert_unsqueeze(OnnxNode node, GraphWriter& writer) {
  TRY(expect_operands(node, 1));
  TRY_ASSIGN(const Ints named, required_ints(node, "axes"));
  TRY_ASSIGN(Ints axes, normalized_axes(named, writer.shape(node.inputs[0]).rank() + named.size()));
  std::sort(axes.begin(), axes.end());
  node.attributes.set("axes", std::move(axes));
  return writer.emit(std::move(node));
}

}  // namespace onnx_split
