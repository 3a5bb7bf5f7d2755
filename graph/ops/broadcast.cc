#include "graph/ops/broadcast.h"

#include "graph/ops/checks.h"
#include "graph/ops/copy.h"
#include "graph/ops/slicing.h"
#include "graph/ops/walk.h"

namespace onnx_split {
namespace {

Expected<std::vector<TensorType>> infer_expand(const OpCall& call) {
  TRY(expect_inputs(call, 1, 1));
  if (!call.attributes.has("shape")) return fail(ErrorCode::kInvalid, "attribute \"shape\" is missing");
  TRY_ASSIGN(Ints dims, call.attributes.get_ints("shape", {}));
  TRY_ASSIGN(const Shape target, Shape::checked(std::move(dims)));
  TRY_ASSIGN(Shape shape, broadcast(call.inputs[0].shape, target));
  return one_output({call.inputs[0].type, std::move(shape)});
}

Expected<void> evaluate_expand(const OpCall&, std::span<const TensorView> inputs,
                               std::span<const MutableTensorView> outputs) {
  const auto strides = broadcast_strides(inputs[0].shape(), outputs[0].shape());
  for_each_index(outputs[0].shape(), [&](std::size_t flat, const Index& index) {
    copy_elements(inputs[0], offset_of(index, strides), outputs[0], static_cast<std::int64_t>(flat));
  });
  return {};
}

Expected<NodeSlice> slice_expand(const OpCall& call, std::span<const TensorType>, std::size_t, const Region& region) {
  NodeSlice slice{OpType::kExpand, call.attributes, {broadcast_region(call.inputs[0].shape, region)}, region};
  slice.attributes.set("shape", region.shape().vector());
  return slice;
}

}  // namespace

std::vector<std::int64_t> broadcast_strides(const Shape& input, const Shape& output) {
  CHECK(input.rank() <= output.rank());
  const std::vector<std::int64_t> dense = input.strides();
  const std::size_t missing = output.rank() - input.rank();
  std::vector<std::int64_t> strides(output.rank(), 0);
  for (std::size_t axis = 0; axis < input.rank(); ++axis) {
    CHECK(input[axis] == 1 || input[axis] == output[missing + axis]);
    if (input[axis] != 1) strides[missing + axis] = dense[axis];
  }
  return strides;
}

const Operator kExpandOperator = {
    OpType::kExpand, "Expand", 1, 1, infer_expand, no_macs, evaluate_expand, slice_expand, nullptr, Linearity::kPasses};

}  // namespace onnx_split
