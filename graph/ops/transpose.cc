#include "graph/ops/transpose.h"

#include <fmt/ranges.h>

#include "graph/ops/checks.h"
#include "graph/ops/copy.h"
#include "graph/ops/walk.h"

namespace onnx_split {
namespace {

Expected<std::vector<TensorType>> infer(const OpCall& call) {
  TRY_ASSIGN(TransposeGeometry g, transpose_geometry(call));
  return one_output({call.inputs[0].type, std::move(g.output)});
}

Expected<void> evaluate(const OpCall& call, std::span<const TensorView> inputs,
                        std::span<const MutableTensorView> outputs) {
  TRY_ASSIGN(const TransposeGeometry g, transpose_geometry(call));
  for_each_index(g.output, [&](std::size_t flat, const Index& index) {
    copy_elements(inputs[0], offset_of(index, g.input_strides), outputs[0], static_cast<std::int64_t>(flat));
  });
  return {};
}

Expected<NodeSlice> slice(const OpCall& call, std::span<const TensorType>, std::size_t, const Region& region) {
  TRY_ASSIGN(const TransposeGeometry g, transpose_geometry(call));
  Region x = region;
  for (std::size_t axis = 0; axis < region.rank(); ++axis) x[g.perm[axis]] = region[axis];
  return NodeSlice{OpType::kTranspose, call.attributes, {x}, region};
}

}  // namespace

Expected<TransposeGeometry> transpose_geometry(const OpCall& call) {
  TRY(expect_inputs(call, 1, 1));
  const Shape& x = call.inputs[0].shape;
  Ints reversed;
  for (std::size_t axis = x.rank(); axis-- > 0;) reversed.push_back(static_cast<std::int64_t>(axis));
  TRY_ASSIGN(const Ints perm, call.attributes.get_ints("perm", reversed));
  const auto flags = axis_flags(perm, x.rank());
  if (perm.size() != x.rank() || !flags) {
    return fail(ErrorCode::kInvalid, "perm expects every axis of {} once, found [{}]", x.to_string(),
                fmt::join(perm, ","));
  }
  const std::vector<std::int64_t> strides = x.strides();
  TransposeGeometry g;
  Ints dims;
  for (const std::int64_t named : perm) {
    TRY_ASSIGN(const std::size_t axis, normalize_axis(named, x.rank()));
    g.perm.push_back(axis);
    g.input_strides.push_back(strides[axis]);
    dims.push_back(x[axis]);
  }
  g.output = Shape(std::move(dims));
  return g;
}

const Operator kTransposeOperator = {OpType::kTranspose, "Transpose", 1, 1, infer, no_macs, evaluate, slice, nullptr,
                                     Linearity::kPasses};

}  // namespace onnx_split
