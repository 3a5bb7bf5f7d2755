#include "graph/ops/reshape.h"

#include "graph/ops/checks.h"
#include "graph/ops/copy.h"
#include "graph/ops/slicing.h"

namespace onnx_split {
namespace {

Expected<std::vector<TensorType>> infer_identity(const OpCall& call) {
  TRY(expect_inputs(call, 1, 1));
  return one_output(call.inputs[0]);
}

Expected<std::vector<TensorType>> infer_reshape(const OpCall& call) {
  TRY(expect_inputs(call, 1, 1));
  if (!call.attributes.has("shape")) return fail(ErrorCode::kInvalid, "attribute \"shape\" is missing");
  TRY_ASSIGN(Ints dims, call.attributes.get_ints("shape", {}));
  const TensorType& x = call.inputs[0];
  TRY_ASSIGN(std::vector<TensorType> outputs, one_output(x.type, std::move(dims)));
  if (outputs[0].shape.elements() != x.shape.elements()) {
    return fail(ErrorCode::kInvalid, "shape {} has {} elements, input {} has {}", outputs[0].shape.to_string(),
                outputs[0].shape.elements(), x.shape.to_string(), x.shape.elements());
  }
  return outputs;
}

Expected<std::vector<TensorType>> infer_flatten(const OpCall& call) {
  TRY(expect_inputs(call, 1, 1));
  const TensorType& x = call.inputs[0];
  const auto rank = static_cast<std::int64_t>(x.shape.rank());
  TRY_ASSIGN(std::int64_t axis, call.attributes.get_int("axis", 1));
  // Unlike other axes this one may stand behind the last.
  if (axis < -rank || axis > rank) {
    return fail(ErrorCode::kInvalid, "axis expects {} to {}, found {}", -rank, rank, axis);
  }
  if (axis < 0) axis += rank;
  const auto split = static_cast<std::size_t>(axis);
  return one_output(x.type, {x.shape.elements(0, split), x.shape.elements(split, x.shape.rank())});
}

Expected<std::vector<TensorType>> infer_squeeze(const OpCall& call) {
  TRY(expect_inputs(call, 1, 1));
  const TensorType& x = call.inputs[0];
  TRY_ASSIGN(const Ints axes, call.attributes.get_ints("axes", {}));
  TRY_ASSIGN(std::vector<bool> dropped, axis_flags(axes, x.shape.rank()));
  std::vector<std::int64_t> dims;
  for (std::size_t axis = 0; axis < x.shape.rank(); ++axis) {
    if (!call.attributes.has("axes")) dropped[axis] = x.shape[axis] == 1;
    if (!dropped[axis]) {
      dims.push_back(x.shape[axis]);
    } else if (x.shape[axis] != 1) {
      return fail(ErrorCode::kInvalid, "axis {} expects extent 1, found {} in {}", axis, x.shape[axis],
                  x.shape.to_string());
    }
  }
  return one_output(x.type, std::move(dims));
}

Expected<std::vector<TensorType>> infer_unsqueeze(const OpCall& call) {
  TRY(expect_inputs(call, 1, 1));
  if (!call.attributes.has("axes")) return fail(ErrorCode::kInvalid, "attribute \"axes\" is missing");
  const TensorType& x = call.inputs[0];
  TRY_ASSIGN(const Ints axes, call.attributes.get_ints("axes", {}));
  if (axes.size() > kMaxRank)
    return fail(ErrorCode::kInvalid, "axes expect at most {}, found {}", kMaxRank, axes.size());
  const std::size_t rank = x.shape.rank() + axes.size();
  TRY_ASSIGN(const std::vector<bool> added, axis_flags(axes, rank));
  std::vector<std::int64_t> dims;
  std::size_t next = 0;
  for (std::size_t axis = 0; axis < rank; ++axis) dims.push_back(added[axis] ? 1 : x.shape[next++]);
  return one_output(x.type, std::move(dims));
}

Expected<void> evaluate(const OpCall&, std::span<const TensorView> inputs, std::span<const MutableTensorView> outputs) {
  copy_elements(inputs[0], 0, outputs[0], 0, inputs[0].shape().elements());
  return {};
}

template <OpType op>
Expected<NodeSlice> slice(const OpCall& call, std::span<const TensorType> outputs, std::size_t, const Region& region) {
  const Shape& x = call.inputs[0].shape;
  auto box = reshaped_region(region, outputs[0].shape, x);
  if (!box) {
    return fail(ErrorCode::kUnsupported, "it can't be divided so: {} of {} isn't one box of {}", region.to_string(),
                outputs[0].shape.to_string(), x.to_string());
  }
  NodeSlice slice{op, call.attributes, {std::move(*box)}, region};
  if constexpr (op == OpType::kReshape) slice.attributes.set("shape", region.shape().vector());
  if constexpr (op == OpType::kSqueeze) {
    // An extent that is 1 in this share only must stay.
    Ints axes;
    for (std::size_t axis = 0; axis < x.rank(); ++axis) {
      if (x[axis] == 1) axes.push_back(static_cast<std::int64_t>(axis));
    }
    if (!call.attributes.has("axes")) slice.attributes.set("axes", std::move(axes));
  }
  return slice;
}

template <OpType op>
constexpr Operator row(std::string_view name, decltype(Operator::infer) infer) {
  return {op, name, 1, 1, infer, no_macs, evaluate, slice<op>, nullptr, Linearity::kPasses};
}

}  // namespace

bool keeps_bytes(OpType op) {
  switch (op) {
    case OpType::kFlatten:
    case OpType::kIdentity:
    case OpType::kReshape:
    case OpType::kSqueeze:
    case OpType::kUnsqueeze: return true;
    default: return false;
  }
}

const Operator kFlattenOperator = row<OpType::kFlatten>("Flatten", infer_flatten);
const Operator kIdentityOperator = row<OpType::kIdentity>("Identity", infer_identity);
const Operator kReshapeOperator = row<OpType::kReshape>("Reshape", infer_reshape);
const Operator kSqueezeOperator = row<OpType::kSqueeze>("Squeeze", infer_squeeze);
const Operator kUnsqueezeOperator = row<OpType::kUnsqueeze>("Unsqueeze", infer_unsqueeze);

}  // namespace onnx_split
