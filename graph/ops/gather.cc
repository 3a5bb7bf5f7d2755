#include "graph/ops/gather.h"

#include "graph/ops/checks.h"
#include "graph/ops/copy.h"

namespace onnx_split {
namespace {

Expected<std::size_t> gather_axis(const OpCall& call) {
  TRY_ASSIGN(const std::int64_t named, call.attributes.get_int("axis", 0));
  return normalize_axis(named, call.inputs[0].shape.rank());
}

Expected<std::vector<TensorType>> infer(const OpCall& call) {
  TRY(gather_geometry(call));
  TRY_ASSIGN(const std::size_t axis, gather_axis(call));
  const Shape& data = call.inputs[0].shape;
  const Shape& indices = call.inputs[1].shape;
  std::vector<std::int64_t> dims;
  for (std::size_t i = 0; i < axis; ++i) dims.push_back(data[i]);
  dims.insert(dims.end(), indices.begin(), indices.end());
  for (std::size_t i = axis + 1; i < data.rank(); ++i) dims.push_back(data[i]);
  return one_output(call.inputs[0].type, std::move(dims));
}

Expected<void> evaluate(const OpCall& call, std::span<const TensorView> inputs,
                        std::span<const MutableTensorView> outputs) {
  TRY_ASSIGN(const GatherGeometry g, gather_geometry(call));
  const auto indices = inputs[1].as<std::int64_t>();
  std::int64_t to = 0;
  for (std::int64_t outer = 0; outer < g.outer; ++outer) {
    for (const std::int64_t named : indices) {
      TRY_ASSIGN(const std::int64_t index, gather_index(named, g.extent));
      copy_elements(inputs[0], (outer * g.extent + index) * g.inner, outputs[0], to, g.inner);
      to += g.inner;
    }
  }
  return {};
}

// Which entries the indices name isn't known yet: the axis stays whole.
Expected<NodeSlice> slice(const OpCall& call, std::span<const TensorType>, std::size_t, const Region& region) {
  TRY_ASSIGN(const std::size_t axis, gather_axis(call));
  Region data = Region::whole(call.inputs[0].shape);
  Region indices = Region::whole(call.inputs[1].shape);
  for (std::size_t i = 0; i < axis; ++i) data[i] = region[i];
  for (std::size_t i = 0; i < indices.rank(); ++i) indices[i] = region[axis + i];
  for (std::size_t i = axis + 1; i < data.rank(); ++i) data[i] = region[indices.rank() + i - 1];
  return NodeSlice{OpType::kGather, call.attributes, {data, indices}, region};
}

}  // namespace

Expected<GatherGeometry> gather_geometry(const OpCall& call) {
  TRY(expect_inputs(call, 2, 2));
  TRY(expect_type("indices", call.inputs[1], DataType::kInt64));
  TRY_ASSIGN(const std::size_t axis, gather_axis(call));
  const Shape& data = call.inputs[0].shape;
  return GatherGeometry{data.elements(0, axis), data[axis], data.elements(axis + 1, data.rank()),
                        call.inputs[1].shape.elements()};
}

Expected<std::int64_t> gather_index(std::int64_t index, std::int64_t extent) {
  if (index < -extent || index >= extent) {
    return fail(ErrorCode::kInvalid, "index {} is outside an axis of {}", index, extent);
  }
  return index < 0 ? index + extent : index;
}

const Operator kGatherOperator = {OpType::kGather, "Gather", 2, 2, infer, no_macs, evaluate, slice};

}  // namespace onnx_split
