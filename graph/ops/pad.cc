#include "graph/ops/pad.h"

#include <algorithm>

#include "graph/ops/cast.h"
#include "graph/ops/checks.h"
#include "graph/ops/copy.h"
#include "graph/ops/walk.h"

namespace onnx_split {
namespace {

Expected<PadMode> read_mode(const Attributes& attributes) {
  TRY_ASSIGN(const std::string mode, attributes.get_string("mode", "constant"));
  if (mode == "constant") return PadMode::kConstant;
  if (mode == "edge") return PadMode::kEdge;
  if (mode == "reflect") return PadMode::kReflect;
  return fail(ErrorCode::kUnsupported, "mode expects constant, edge or reflect, found \"{}\"", mode);
}

Expected<void> check_axis(PadMode mode, const PadAxis& axis, std::size_t index) {
  const std::int64_t widest = std::max(axis.begin, axis.end);
  if (axis.output() < 0) {
    return fail(ErrorCode::kInvalid, "pads {}+{} crop more than axis {} of {} has", axis.begin, axis.end, index,
                axis.input);
  }
  if (mode == PadMode::kEdge && axis.input == 0 && axis.output() > 0) {
    return fail(ErrorCode::kInvalid, "pads {}+{}: axis {} is empty and has no edge", axis.begin, axis.end, index);
  }
  if (mode == PadMode::kReflect && widest > 0 && widest >= axis.input) {
    return fail(ErrorCode::kInvalid, "pads expect less than {} to reflect axis {}, found {}+{}", axis.input, index,
                axis.begin, axis.end);
  }
  return {};
}

Expected<std::vector<TensorType>> infer(const OpCall& call) {
  TRY_ASSIGN(const PadGeometry g, pad_geometry(call));
  std::vector<std::int64_t> dims;
  for (const PadAxis& axis : g.axes) dims.push_back(axis.output());
  return one_output(call.inputs[0].type, std::move(dims));
}

void fill(const MutableTensorView& output, std::size_t at, float value) {
  switch (output.type().type) {
    case DataType::kFloat32: output.as<float>()[at] = value; break;
    case DataType::kInt64: output.as<std::int64_t>()[at] = cast_element<std::int64_t>(value); break;
    case DataType::kBool: output.as<bool>()[at] = cast_element<bool>(value); break;
  }
}

Expected<void> evaluate(const OpCall& call, std::span<const TensorView> inputs,
                        std::span<const MutableTensorView> outputs) {
  TRY_ASSIGN(const PadGeometry g, pad_geometry(call));
  const std::vector<std::int64_t> strides = inputs[0].shape().strides();
  for_each_index(outputs[0].shape(), [&](std::size_t flat, const Index& index) {
    std::int64_t from = 0;
    for (std::size_t axis = 0; axis < g.axes.size(); ++axis) {
      const std::int64_t source = g.source(axis, index[axis]);
      if (source < 0) return fill(outputs[0], flat, g.value);
      from += source * strides[axis];
    }
    copy_elements(inputs[0], from, outputs[0], static_cast<std::int64_t>(flat));
  });
  return {};
}

// What the positions [begin, end), in the input's coordinates, show of one axis of the input: at least one element.
Range shown(PadMode mode, std::int64_t input, Range positions) {
  Range range{std::clamp<std::int64_t>(positions.begin, 0, input - 1),
              std::clamp<std::int64_t>(positions.end, 1, input)};
  if (mode == PadMode::kReflect) {
    // The border itself, and as far into the input as the padding goes out of it.
    if (positions.begin < 0) range.end = std::max(range.end, 1 - positions.begin);
    if (positions.end > input) range.begin = std::min(range.begin, 2 * input - positions.end - 1);
  }
  return range;
}

Expected<NodeSlice> slice(const OpCall& call, std::span<const TensorType>, std::size_t, const Region& region) {
  TRY_ASSIGN(const PadGeometry g, pad_geometry(call));
  Region x = Region::whole(call.inputs[0].shape);
  Ints pads(2 * region.rank());
  for (std::size_t i = 0; i < region.rank(); ++i) {
    const PadAxis& axis = g.axes[i];
    const Range positions{region[i].begin - axis.begin, region[i].end - axis.begin};
    if (axis.input > 0) {
      x[i] = shown(g.mode, axis.input, positions);
    } else if (region[i].size() != axis.output()) {
      return fail(ErrorCode::kUnsupported, "it can't be divided along axis {}: its input has nothing there", i);
    }
    // Negative ones crop.
    pads[i] = x[i].begin - positions.begin;
    pads[region.rank() + i] = positions.end - x[i].end;
  }
  NodeSlice slice{OpType::kPad, call.attributes, {x}, region};
  slice.attributes.set("pads", std::move(pads));
  return slice;
}

}  // namespace

std::int64_t PadGeometry::source(std::size_t axis, std::int64_t position) const {
  const std::int64_t at = position - axes[axis].begin;
  const std::int64_t last = axes[axis].input - 1;
  switch (mode) {
    case PadMode::kConstant: return at > last ? -1 : std::max<std::int64_t>(at, -1);
    case PadMode::kEdge: return std::clamp<std::int64_t>(at, 0, last);
    case PadMode::kReflect: return at < 0 ? -at : at > last ? 2 * last - at : at;
  }
  return -1;
}

Expected<PadGeometry> pad_geometry(const OpCall& call) {
  TRY(expect_inputs(call, 1, 1));
  const Shape& x = call.inputs[0].shape;
  PadGeometry g;
  TRY_ASSIGN(g.mode, read_mode(call.attributes));
  TRY_ASSIGN(g.value, call.attributes.get_float("value", 0.0F));
  if (!call.attributes.has("pads")) return fail(ErrorCode::kInvalid, "attribute \"pads\" is missing");
  TRY_ASSIGN(const Ints pads, call.attributes.get_ints("pads", {}));
  if (pads.size() != 2 * x.rank()) {
    return fail(ErrorCode::kInvalid, "pads expect {} integers for an input of rank {}, found {}", 2 * x.rank(),
                x.rank(), pads.size());
  }
  for (const std::int64_t pad : pads) {
    if (pad < -kMaxElements || pad > kMaxElements) {
      return fail(ErrorCode::kInvalid, "pads expect {} to {}, found {}", -kMaxElements, kMaxElements, pad);
    }
  }
  for (std::size_t axis = 0; axis < x.rank(); ++axis) {
    g.axes.push_back({x[axis], pads[axis], pads[x.rank() + axis]});
    TRY(check_axis(g.mode, g.axes.back(), axis));
  }
  return g;
}

const Operator kPadOperator = {OpType::kPad, "Pad", 1, 1, infer, no_macs, evaluate, slice};

}  // namespace onnx_split
