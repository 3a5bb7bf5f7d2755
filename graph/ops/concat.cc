#include "graph/ops/concat.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "graph/ops/checks.h"
#include "graph/ops/copy.h"

namespace onnx_split {
namespace {

PiecesGeometry pieces_of(const Shape& whole, std::size_t axis) {
  return {.axis = axis,
          .outer = whole.elements(0, axis),
          .inner = whole.elements(axis + 1, whole.rank()),
          .extent = whole[axis],
          .extents = {}};
}

Expected<std::vector<TensorType>> infer_concat(const OpCall& call) {
  TRY_ASSIGN(const PiecesGeometry g, concat_geometry(call));
  std::vector<std::int64_t> dims = call.inputs[0].shape.vector();
  dims[g.axis] = g.extent;
  return one_output(call.inputs[0].type, std::move(dims));
}

Expected<void> evaluate_concat(const OpCall& call, std::span<const TensorView> inputs,
                               std::span<const MutableTensorView> outputs) {
  TRY_ASSIGN(const PiecesGeometry g, concat_geometry(call));
  std::int64_t to = 0;
  for (std::int64_t outer = 0; outer < g.outer; ++outer) {
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const std::int64_t count = g.extents[i] * g.inner;
      copy_elements(inputs[i], outer * count, outputs[0], to, count);
      to += count;
    }
  }
  return {};
}

// Inputs that the region doesn't touch are left out.
Expected<NodeSlice> slice_concat(const OpCall& call, std::span<const TensorType>, std::size_t, const Region& region) {
  TRY_ASSIGN(const PiecesGeometry g, concat_geometry(call));
  NodeSlice slice{OpType::kConcat, call.attributes, {}, region};
  std::int64_t begin = 0;
  std::size_t left = 0;
  for (const std::int64_t extent : g.extents) {
    Region x = region;
    x[g.axis] = {std::max(region[g.axis].begin, begin) - begin, std::min(region[g.axis].end, begin + extent) - begin};
    begin += extent;
    if (x[g.axis].size() <= 0) {
      slice.inputs.emplace_back();
    } else {
      slice.inputs.emplace_back(std::move(x));
      ++left;
    }
  }
  if (left == 1) {
    slice.op = OpType::kIdentity;
    slice.attributes = {};
  }
  return slice;
}

Expected<std::vector<TensorType>> infer_split(const OpCall& call) {
  TRY_ASSIGN(const PiecesGeometry g, split_geometry(call));
  std::vector<TensorType> outputs(g.extents.size(), call.inputs[0]);
  for (std::size_t i = 0; i < outputs.size(); ++i) outputs[i].shape[g.axis] = g.extents[i];
  return outputs;
}

Expected<void> evaluate_split(const OpCall& call, std::span<const TensorView> inputs,
                              std::span<const MutableTensorView> outputs) {
  TRY_ASSIGN(const PiecesGeometry g, split_geometry(call));
  std::int64_t from = 0;
  for (std::int64_t outer = 0; outer < g.outer; ++outer) {
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const std::int64_t count = g.extents[i] * g.inner;
      copy_elements(inputs[0], from, outputs[i], outer * count, count);
      from += count;
    }
  }
  return {};
}

Expected<NodeSlice> slice_split(const OpCall& call, std::span<const TensorType>, std::size_t output,
                                const Region& region) {
  TRY_ASSIGN(const PiecesGeometry g, split_geometry(call));
  Region x = region;
  for (std::size_t i = 0; i < output; ++i) {
    x[g.axis].begin += g.extents[i];
    x[g.axis].end += g.extents[i];
  }
  return NodeSlice{OpType::kIdentity, {}, {x}, region};
}

}  // namespace

Expected<PiecesGeometry> concat_geometry(const OpCall& call) {
  TRY(expect_inputs(call, 1, kManyInputs));
  if (!call.attributes.has("axis")) return fail(ErrorCode::kInvalid, "attribute \"axis\" is missing");
  TRY_ASSIGN(const std::int64_t named, call.attributes.get_int("axis", 0));
  const TensorType& first = call.inputs[0];
  TRY_ASSIGN(const std::size_t axis, normalize_axis(named, first.shape.rank()));
  PiecesGeometry g = pieces_of(first.shape, axis);
  g.extent = 0;
  for (const TensorType& input : call.inputs) {
    Shape expected = first.shape;
    if (input.shape.rank() == expected.rank()) expected[axis] = input.shape[axis];
    if (input.type != first.type || input.shape != expected) {
      return fail(ErrorCode::kInvalid, "inputs expect to differ along axis {} only, found {} and {}", axis,
                  first.to_string(), input.to_string());
    }
    g.extents.push_back(input.shape[axis]);
    g.extent += input.shape[axis];
  }
  return g;
}

Expected<PiecesGeometry> split_geometry(const OpCall& call) {
  TRY(expect_inputs(call, 1, 1));
  const Shape& x = call.inputs[0].shape;
  TRY_ASSIGN(const std::int64_t named, call.attributes.get_int("axis", 0));
  TRY_ASSIGN(const std::size_t axis, normalize_axis(named, x.rank()));
  const auto count = static_cast<std::int64_t>(call.output_count);
  if (count < 1) return fail(ErrorCode::kInvalid, "expected at least one output, found none");
  PiecesGeometry g = pieces_of(x, axis);
  if (!call.attributes.has("split")) {
    if (x[axis] % count != 0) {
      return fail(ErrorCode::kInvalid, "axis {} of {} doesn't divide into {} equal outputs", axis, x.to_string(),
                  count);
    }
    g.extents.assign(call.output_count, x[axis] / count);
    return g;
  }
  TRY_ASSIGN(g.extents, call.attributes.get_ints("split", {}));
  bool good = g.extents.size() == call.output_count;
  std::int64_t left = g.extent;
  for (const std::int64_t extent : g.extents) {
    good = good && extent >= 0 && extent <= left;
    if (good) left -= extent;
  }
  if (!good || left != 0) {
    return fail(ErrorCode::kInvalid, "split expects {} extents that add up to {}, found [{}]", call.output_count,
                g.extent, fmt::join(g.extents, ","));
  }
  return g;
}

const Operator kConcatOperator = {OpType::kConcat, "Concat",        1,           kManyInputs, infer_concat,
                                  no_macs,         evaluate_concat, slice_concat};
const Operator kSplitOperator = {OpType::kSplit, "Split", 1, 1, infer_split, no_macs, evaluate_split, slice_split};

}  // namespace onnx_split
