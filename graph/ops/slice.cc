#include "graph/ops/slice.h"

#include <algorithm>
#include <numeric>

#include "graph/ops/checks.h"
#include "graph/ops/copy.h"
#include "graph/ops/walk.h"

namespace onnx_split {
namespace {

// ONNX Slice-13: negative starts and ends count from the end, then both are clamped to where the walk may stand.
SliceAxis clamp_slice(std::int64_t start, std::int64_t end, std::int64_t step, std::int64_t extent) {
  if (start < 0) start += extent;
  if (end < 0) end += extent;
  SliceAxis axis;
  std::int64_t count = 0;
  if (step > 0) {
    axis.begin = std::clamp<std::int64_t>(start, 0, extent);
    end = std::clamp<std::int64_t>(end, 0, extent);
    if (end > axis.begin) count = (end - axis.begin - 1) / step + 1;
  } else if (extent > 0) {
    axis.begin = std::clamp<std::int64_t>(start, 0, extent - 1);
    end = std::clamp<std::int64_t>(end, -1, extent - 1);
    // The quotient first: the most negative step has no positive.
    if (axis.begin > end) count = -((axis.begin - end - 1) / step) + 1;
  }
  axis.count = count;
  axis.step = count > 1 ? step : 1;  // otherwise nothing bounds it
  if (count == 0) axis.begin = 0;
  return axis;
}

Expected<std::vector<TensorType>> infer(const OpCall& call) {
  TRY_ASSIGN(const SliceGeometry g, slice_geometry(call));
  std::vector<std::int64_t> dims;
  for (const SliceAxis& axis : g.axes) dims.push_back(axis.count);
  return one_output(call.inputs[0].type, std::move(dims));
}

Expected<void> evaluate(const OpCall& call, std::span<const TensorView> inputs,
                        std::span<const MutableTensorView> outputs) {
  TRY_ASSIGN(const SliceGeometry g, slice_geometry(call));
  const std::vector<std::int64_t> strides = inputs[0].shape().strides();
  for_each_index(outputs[0].shape(), [&](std::size_t flat, const Index& index) {
    std::int64_t from = 0;
    for (std::size_t axis = 0; axis < g.axes.size(); ++axis) from += g.axes[axis].source(index[axis]) * strides[axis];
    copy_elements(inputs[0], from, outputs[0], static_cast<std::int64_t>(flat));
  });
  return {};
}

Expected<NodeSlice> slice(const OpCall& call, std::span<const TensorType>, std::size_t, const Region& region) {
  TRY_ASSIGN(const SliceGeometry g, slice_geometry(call));
  Region x = region;
  Ints starts, ends, axes, steps;
  for (std::size_t i = 0; i < region.rank(); ++i) {
    const SliceAxis& axis = g.axes[i];
    const std::int64_t first = axis.source(region[i].begin);
    const std::int64_t last = axis.source(region[i].end - 1);
    x[i] = {std::min(first, last), std::max(first, last) + 1};
    const std::int64_t extent = x[i].size();
    axes.push_back(static_cast<std::int64_t>(i));
    steps.push_back(axis.step);
    starts.push_back(first == x[i].begin ? 0 : extent - 1);
    // Backwards, the end is the element in front of the first.
    ends.push_back(axis.step > 0 ? extent : -extent - 1);
  }
  NodeSlice slice{OpType::kSlice, {}, {x}, region};
  slice.attributes.set("starts", std::move(starts));
  slice.attributes.set("ends", std::move(ends));
  slice.attributes.set("axes", std::move(axes));
  slice.attributes.set("steps", std::move(steps));
  return slice;
}

}  // namespace

Expected<SliceGeometry> slice_geometry(const OpCall& call) {
  TRY(expect_inputs(call, 1, 1));
  const Shape& x = call.inputs[0].shape;
  for (const std::string_view name : {"starts", "ends"}) {
    if (!call.attributes.has(name)) return fail(ErrorCode::kInvalid, "attribute \"{}\" is missing", name);
  }
  TRY_ASSIGN(const Ints starts, call.attributes.get_ints("starts", {}));
  TRY_ASSIGN(const Ints ends, call.attributes.get_ints("ends", {}));
  Ints first_axes(starts.size());
  std::iota(first_axes.begin(), first_axes.end(), 0);
  TRY_ASSIGN(const Ints axes, call.attributes.get_ints("axes", first_axes));
  TRY_ASSIGN(const Ints steps, call.attributes.get_ints("steps", Ints(starts.size(), 1)));
  if (ends.size() != starts.size() || axes.size() != starts.size() || steps.size() != starts.size()) {
    return fail(ErrorCode::kInvalid, "starts, ends, axes and steps expect equal lengths, found {}, {}, {} and {}",
                starts.size(), ends.size(), axes.size(), steps.size());
  }
  TRY(axis_flags(axes, x.rank()));
  SliceGeometry g;
  for (const std::int64_t extent : x) g.axes.push_back({0, 1, extent});
  for (std::size_t i = 0; i < axes.size(); ++i) {
    TRY_ASSIGN(const std::size_t axis, normalize_axis(axes[i], x.rank()));
    if (steps[i] == 0) return fail(ErrorCode::kInvalid, "steps expect anything but 0, found 0 for axis {}", axis);
    g.axes[axis] = clamp_slice(starts[i], ends[i], steps[i], x[axis]);
  }
  return g;
}

const Operator kSliceOperator = {OpType::kSlice, "Slice",  1,     1,       infer,
                                 no_macs,        evaluate, slice, nullptr, Linearity::kPasses};

}  // namespace onnx_split
