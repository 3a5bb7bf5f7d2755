#include "graph/ops/resize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

#include "graph/ops/checks.h"
#include "graph/ops/walk.h"

namespace onnx_split {
namespace {

template <class Choice>
using Names = std::span<const std::pair<std::string_view, Choice>>;

constexpr std::array kModes = std::to_array<std::pair<std::string_view, bool>>({{"nearest", false}, {"linear", true}});
constexpr std::array kCoordinates = std::to_array<std::pair<std::string_view, ResizeCoordinates>>(
    {{"half_pixel", ResizeCoordinates::kHalfPixel},
     {"pytorch_half_pixel", ResizeCoordinates::kPytorchHalfPixel},
     {"align_corners", ResizeCoordinates::kAlignCorners},
     {"asymmetric", ResizeCoordinates::kAsymmetric},
     {"tf_half_pixel_for_nn", ResizeCoordinates::kTfHalfPixelForNn}});
constexpr std::array kRoundings =
    std::to_array<std::pair<std::string_view, NearestRounding>>({{"round_prefer_floor", NearestRounding::kPreferFloor},
                                                                 {"round_prefer_ceil", NearestRounding::kPreferCeil},
                                                                 {"floor", NearestRounding::kFloor},
                                                                 {"ceil", NearestRounding::kCeil}});

template <class Choice>
Expected<Choice> read_choice(const Attributes& attributes, std::string_view name, Names<Choice> names) {
  TRY_ASSIGN(const std::string found, attributes.get_string(name, std::string(names.front().first)));
  std::string known;
  for (const auto& [text, choice] : names) {
    if (text == found) return choice;
    known += (known.empty() ? "" : ", ") + std::string(text);
  }
  return fail(ErrorCode::kUnsupported, "{} expects one of {}, found \"{}\"", name, known, found);
}

// The output's extents, and scales to fill in where sizes decide.
Expected<void> read_sizes(const Attributes& attributes, const Shape& x, std::vector<ResizeAxis>& axes) {
  TRY_ASSIGN(Ints sizes, attributes.get_ints("sizes", {}));
  if (sizes.size() != x.rank()) {
    return fail(ErrorCode::kInvalid, "sizes expect {} extents, found {}", x.rank(), sizes.size());
  }
  TRY(Shape::checked(sizes));
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    axes[i].output = sizes[i];
    axes[i].scale = static_cast<float>(sizes[i]) / static_cast<float>(std::max<std::int64_t>(x[i], 1));
  }
  return {};
}

Expected<void> read_scales(const Attributes& attributes, const Shape& x, std::vector<ResizeAxis>& axes) {
  TRY_ASSIGN(const Floats scales, attributes.get_floats("scales", {}));
  if (scales.size() != x.rank()) {
    return fail(ErrorCode::kInvalid, "scales expect {} numbers (or sizes as many extents), found {}", x.rank(),
                scales.size());
  }
  for (std::size_t i = 0; i < scales.size(); ++i) {
    // In float, as onnxruntime computes it: ten times 0.7F is 7.
    const float extent = std::floor(scales[i] * static_cast<float>(x[i]));
    if (!(scales[i] > 0.0F) || !(extent <= static_cast<float>(kMaxElements))) {
      return fail(ErrorCode::kInvalid, "scales expect positive numbers, found {} for axis {} of {}", scales[i], i,
                  x.to_string());
    }
    axes[i].output = static_cast<std::int64_t>(extent);
    axes[i].scale = scales[i];
  }
  return {};
}

Expected<std::vector<TensorType>> infer(const OpCall& call) {
  TRY_ASSIGN(const ResizeGeometry g, resize_geometry(call));
  std::vector<std::int64_t> dims;
  for (const ResizeAxis& axis : g.axes) dims.push_back(axis.output);
  return one_output(DataType::kFloat32, std::move(dims));
}

void resize_nearest(const ResizeGeometry& g, const Shape& shape, std::span<const float> x, const Shape& output,
                    std::span<float> y) {
  const std::vector<std::int64_t> strides = shape.strides();
  for_each_index(output, [&](std::size_t flat, const Index& index) {
    std::int64_t from = 0;
    for (std::size_t axis = 0; axis < g.axes.size(); ++axis) from += g.axes[axis].nearest(index[axis]) * strides[axis];
    y[flat] = x[static_cast<std::size_t>(from)];
  });
}

// Every corner of the box around the source, weighted by its nearness along each axis.
void resize_linear(const ResizeGeometry& g, const Shape& shape, std::span<const float> x, const Shape& output,
                   std::span<float> y) {
  const std::vector<std::int64_t> strides = shape.strides();
  const std::size_t corners = std::size_t{1} << g.axes.size();
  for_each_index(output, [&](std::size_t flat, const Index& index) {
    double sum = 0.0;
    for (std::size_t corner = 0; corner < corners; ++corner) {
      std::int64_t from = 0;
      double weight = 1.0;
      for (std::size_t axis = 0; axis < g.axes.size(); ++axis) {
        const LinearSource source = g.axes[axis].linear(index[axis]);
        const bool high = (corner >> axis & 1U) != 0;
        from += (high ? source.high : source.low) * strides[axis];
        weight *= high ? static_cast<double>(source.weight) : 1.0 - static_cast<double>(source.weight);
      }
      if (weight != 0.0) sum += weight * static_cast<double>(x[static_cast<std::size_t>(from)]);
    }
    y[flat] = static_cast<float>(sum);
  });
}

Expected<void> evaluate(const OpCall& call, std::span<const TensorView> inputs,
                        std::span<const MutableTensorView> outputs) {
  TRY_ASSIGN(const ResizeGeometry g, resize_geometry(call));
  const auto resize = g.is_linear ? resize_linear : resize_nearest;
  resize(g, inputs[0].shape(), inputs[0].as<float>(), outputs[0].shape(), outputs[0].as<float>());
  return {};
}

// The fewest input elements that become a whole number of output elements, and that number; of an axis that doesn't
// repeat, all.
struct Period {
  std::int64_t inputs;
  std::int64_t outputs;
};

Period period_of(const ResizeAxis& axis) {
  Period period{axis.input, axis.output};
  // Where sizes decide, the scale is their ratio, rounded.
  if (axis.scale == static_cast<float>(axis.output) / static_cast<float>(axis.input)) {
    const std::int64_t common = std::max<std::int64_t>(std::gcd(axis.input, axis.output), 1);
    period = {axis.input / common, axis.output / common};
  }
  // Otherwise it is a binary fraction.
  const auto scale = static_cast<double>(axis.scale);
  for (std::int64_t inputs = 1; inputs < period.inputs; inputs *= 2) {
    const double outputs = static_cast<double>(inputs) * scale;
    if (outputs == std::floor(outputs)) return {inputs, static_cast<std::int64_t>(outputs)};
  }
  return period;
}

// What one axis of a share takes and gives, whole periods both.
struct AxisShare {
  Range input;
  Range output;
};

AxisShare share_of(const ResizeAxis& axis, bool is_linear, Range wanted) {
  if (axis.identity()) return {wanted, wanted};
  const auto [period, outputs] = period_of(axis);
  if (period >= axis.input || outputs == 0) return {{0, axis.input}, {0, axis.output}};
  const std::int64_t low = is_linear ? axis.linear(wanted.begin).low : axis.nearest(wanted.begin);
  const std::int64_t high = is_linear ? axis.linear(wanted.end - 1).high : axis.nearest(wanted.end - 1);
  // Positions and what they come from needn't lie in the same period.
  const std::int64_t first = std::min(low / period, wanted.begin / outputs);
  const std::int64_t behind = std::max(high / period, (wanted.end - 1) / outputs) + 1;
  if (behind * period >= axis.input) return {{first * period, axis.input}, {first * outputs, axis.output}};
  return {{first * period, behind * period}, {first * outputs, behind * outputs}};
}

// Whether a share, resized by itself, takes the wanted positions from where the whole takes them.
bool agree(const ResizeAxis& whole, const ResizeAxis& part, const AxisShare& share, bool is_linear, Range wanted) {
  if (share.output.size() == whole.output) return true;
  constexpr std::int64_t kMostPositions = 1 << 20;  // each is looked at
  if (part.output != share.output.size() || wanted.size() > kMostPositions) return false;
  for (std::int64_t position = wanted.begin; position < wanted.end; ++position) {
    const std::int64_t own = position - share.output.begin;
    if (!is_linear) {
      if (part.nearest(own) + share.input.begin != whole.nearest(position)) return false;
      continue;
    }
    constexpr float kRounding = 1e-5F;
    const LinearSource a = part.linear(own);
    const LinearSource b = whole.linear(position);
    const float from_a = static_cast<float>(a.low + share.input.begin - b.low) + a.weight;
    if (std::abs(from_a - b.weight) > kRounding || a.high + share.input.begin > b.high + 1) return false;
  }
  return true;
}

Expected<NodeSlice> slice(const OpCall& call, std::span<const TensorType>, std::size_t, const Region& region) {
  TRY_ASSIGN(const ResizeGeometry g, resize_geometry(call));
  NodeSlice slice{OpType::kResize, call.attributes, {}, region};
  Region x = region;
  TensorType type = call.inputs[0];
  std::vector<AxisShare> shares;
  for (std::size_t i = 0; i < region.rank(); ++i) {
    shares.push_back(share_of(g.axes[i], g.is_linear, region[i]));
    x[i] = shares[i].input;
    slice.produced[i] = shares[i].output;
  }
  if (call.attributes.has("sizes")) slice.attributes.set("sizes", slice.produced.shape().vector());
  type.shape = x.shape();
  TRY_ASSIGN(const ResizeGeometry part, resize_geometry({slice.attributes, std::span(&type, 1), call.output_count}));
  for (std::size_t i = 0; i < region.rank(); ++i) {
    const bool repeats =
        g.axes[i].identity() || region[i].size() == g.axes[i].output || period_of(g.axes[i]).inputs < g.axes[i].input;
    if (repeats && agree(g.axes[i], part.axes[i], shares[i], g.is_linear, region[i])) continue;
    return fail(ErrorCode::kUnsupported,
                "it can't be divided along axis {}: resizing {} to {} isn't the same thing over and over", i,
                g.axes[i].input, g.axes[i].output);
  }
  slice.inputs = {x};
  return slice;
}

}  // namespace

float ResizeAxis::coordinate(std::int64_t position) const {
  const auto at = static_cast<float>(position);
  if (identity()) return at;
  switch (coordinates) {
    case ResizeCoordinates::kHalfPixel: return (at + 0.5F) / scale - 0.5F;
    case ResizeCoordinates::kPytorchHalfPixel: return output > 1 ? (at + 0.5F) / scale - 0.5F : 0.0F;
    case ResizeCoordinates::kAlignCorners:
      return output == 1 ? 0.0F : at * static_cast<float>(input - 1) / static_cast<float>(output - 1);
    case ResizeCoordinates::kAsymmetric: return at / scale;
    case ResizeCoordinates::kTfHalfPixelForNn: return (at + 0.5F) / scale;
  }
  return at;
}

std::int64_t ResizeAxis::nearest(std::int64_t position) const {
  const float at = std::clamp(coordinate(position), 0.0F, static_cast<float>(input));
  const float below = std::floor(at);
  const float fraction = at - below;
  bool up = false;
  switch (rounding) {
    case NearestRounding::kPreferFloor: up = fraction > 0.5F; break;
    case NearestRounding::kPreferCeil: up = fraction >= 0.5F; break;
    case NearestRounding::kFloor: break;
    case NearestRounding::kCeil: up = fraction > 0.0F; break;
  }
  return std::min(static_cast<std::int64_t>(below) + (up ? 1 : 0), input - 1);
}

LinearSource ResizeAxis::linear(std::int64_t position) const {
  const float at = std::clamp(coordinate(position), 0.0F, static_cast<float>(input - 1));
  const float below = std::floor(at);
  const std::int64_t low = std::min(static_cast<std::int64_t>(below), input - 1);
  return {low, std::min(low + 1, input - 1), at - below};
}

Expected<ResizeGeometry> resize_geometry(const OpCall& call) {
  TRY(expect_inputs(call, 1, 1));
  TRY(expect_type("input", call.inputs[0], DataType::kFloat32));
  const Shape& x = call.inputs[0].shape;
  ResizeGeometry g;
  TRY_ASSIGN(g.is_linear, read_choice<bool>(call.attributes, "mode", kModes));
  TRY_ASSIGN(const ResizeCoordinates coordinates,
             read_choice<ResizeCoordinates>(call.attributes, "coordinate_transformation_mode", kCoordinates));
  TRY_ASSIGN(const NearestRounding rounding, read_choice<NearestRounding>(call.attributes, "nearest_mode", kRoundings));
  g.axes.resize(x.rank());
  if (call.attributes.has("sizes")) {
    TRY(read_sizes(call.attributes, x, g.axes));
  } else {
    TRY(read_scales(call.attributes, x, g.axes));
  }
  for (std::size_t i = 0; i < x.rank(); ++i) {
    ResizeAxis& axis = g.axes[i];
    axis.input = x[i];
    axis.coordinates = coordinates;
    axis.rounding = rounding;
    if (axis.input == 0 && axis.output > 0) {
      return fail(ErrorCode::kInvalid, "axis {} is empty and can't be resized to {}", i, axis.output);
    }
  }
  return g;
}

const Operator kResizeOperator = {OpType::kResize, "Resize", 1, 1, infer, no_macs, evaluate, slice};

}  // namespace onnx_split
