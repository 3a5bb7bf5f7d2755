#include "graph/ops/conv.h"

#include "graph/ops/checks.h"
#include "graph/ops/slicing.h"
#include "graph/ops/window_walk.h"

namespace onnx_split {
namespace {

Expected<void> check_channels(const OpCall& call, std::int64_t groups) {
  const Shape& x = call.inputs[0].shape;
  const Shape& w = call.inputs[1].shape;
  if (w.rank() != x.rank()) {
    return fail(ErrorCode::kInvalid, "weight expects rank {}, as the input has, found {}", x.rank(), w.to_string());
  }
  if (groups < 1 || x[1] < 1 || w[0] < 1 || x[1] % groups != 0 || w[0] % groups != 0) {
    return fail(ErrorCode::kInvalid, "group {} doesn't divide {} input channels and {} output channels", groups, x[1],
                w[0]);
  }
  if (w[1] != x[1] / groups) {
    return fail(ErrorCode::kInvalid, "weight expects {} input channels{}, input has {}", w[1],
                groups == 1 ? "" : fmt::format(" in each of {} groups", groups), x[1]);
  }
  return {};
}

Expected<std::vector<TensorType>> infer(const OpCall& call) {
  TRY_ASSIGN(const ConvGeometry g, conv_geometry(call));
  std::vector<std::int64_t> dims{g.batch, g.output_channels};
  for (const WindowAxis& axis : g.window.axes) dims.push_back(axis.output);
  return one_output(DataType::kFloat32, std::move(dims));
}

std::int64_t macs(const OpCall& call, std::span<const TensorType> outputs) {
  return saturating_mul(outputs[0].shape.elements(), call.inputs[1].shape.elements() / call.inputs[1].shape[0]);
}

Expected<void> evaluate(const OpCall& call, std::span<const TensorView> inputs,
                        std::span<const MutableTensorView> outputs) {
  TRY_ASSIGN(const ConvGeometry g, conv_geometry(call));
  const auto x = inputs[0].as<float>();
  const auto w = inputs[1].as<float>();
  const auto y = outputs[0].as<float>();
  const auto in_channels = static_cast<std::size_t>(g.input_channels / g.groups);
  const auto out_channels = static_cast<std::size_t>(g.output_channels / g.groups);
  const auto pixels = static_cast<std::size_t>(g.window.input_elements());
  const auto taps = static_cast<std::size_t>(g.kernel_elements());
  const auto positions = static_cast<std::size_t>(g.output_positions());

  for_each_index(positions_of(g.window), [&](std::size_t flat, const Index& position) {
    for (std::size_t n = 0; n < static_cast<std::size_t>(g.batch); ++n) {
      for (std::size_t m = 0; m < static_cast<std::size_t>(g.output_channels); ++m) {
        const std::size_t first_channel =
            n * static_cast<std::size_t>(g.input_channels) + m / out_channels * in_channels;
        double sum = g.has_bias ? static_cast<double>(inputs[2].as<float>()[m]) : 0.0;
        for_each_tap(g.window, position, [&](std::size_t tap, std::size_t pixel) {
          for (std::size_t c = 0; c < in_channels; ++c) {
            sum += static_cast<double>(x[(first_channel + c) * pixels + pixel]) *
                   static_cast<double>(w[(m * in_channels + c) * taps + tap]);
          }
        });
        y[(n * static_cast<std::size_t>(g.output_channels) + m) * positions + flat] = static_cast<float>(sum);
      }
    }
  });
  return {};
}

// Output channels of one group, or of several whole ones, need just those groups' input channels.
Expected<NodeSlice> slice(const OpCall& call, std::span<const TensorType>, std::size_t, const Region& region) {
  TRY_ASSIGN(const ConvGeometry g, conv_geometry(call));
  const std::int64_t in_channels = g.input_channels / g.groups;
  const std::int64_t out_channels = g.output_channels / g.groups;
  const Range groups{region[1].begin / out_channels, (region[1].end - 1) / out_channels + 1};

  NodeSlice slice{OpType::kConv, call.attributes, {}, region};
  slice.attributes.set("group", groups.size());
  if (groups.size() > 1) slice.produced[1] = {groups.begin * out_channels, groups.end * out_channels};
  Region x = Region::whole(call.inputs[0].shape);
  x[0] = region[0];
  x[1] = {groups.begin * in_channels, groups.end * in_channels};
  slice_window(g.window, region).apply(slice, x);
  Region w = Region::whole(call.inputs[1].shape);
  w[0] = slice.produced[1];
  slice.inputs = {x, w};
  if (g.has_bias) slice.inputs.emplace_back(Region({slice.produced[1]}));
  return slice;
}

Expected<NodeSlice> partial_sum(const OpCall& call, std::span<const TensorType> outputs, const Region& region,
                                bool first) {
  TRY_ASSIGN(const ConvGeometry g, conv_geometry(call));
  if (g.groups > 1) return fail(ErrorCode::kUnsupported, "it sums within each of its {} groups only", g.groups);
  std::vector<bool> summed(region.rank(), false);
  summed[1] = true;
  TRY(expect_summed(region, call.inputs[0].shape, summed));
  Region w = Region::whole(call.inputs[1].shape);
  w[1] = region[1];
  NodeSlice slice{OpType::kConv, call.attributes, {region, w}, Region::whole(outputs[0].shape)};
  if (g.has_bias) slice.inputs.push_back(first ? std::optional(Region::whole(call.inputs[2].shape)) : std::nullopt);
  return slice;
}

}  // namespace

Expected<ConvGeometry> conv_geometry(const OpCall& call) {
  TRY(expect_inputs(call, 2, 3));
  TRY(expect_type("input", call.inputs[0], DataType::kFloat32));
  TRY(expect_type("weight", call.inputs[1], DataType::kFloat32));
  const Shape& x = call.inputs[0].shape;
  const Shape& w = call.inputs[1].shape;
  if (x.rank() < 3 || x.rank() > 5) {
    return fail(ErrorCode::kUnsupported, "input expects 1 to 3 spatial axes ([N,C,spatial]), found shape {}",
                x.to_string());
  }
  if (x[0] < 1) return fail(ErrorCode::kInvalid, "input expects at least one sample, found shape {}", x.to_string());
  TRY_ASSIGN(const std::int64_t groups, call.attributes.get_int("group", 1));
  TRY(check_channels(call, groups));

  ConvGeometry g{.batch = x[0],
                 .groups = groups,
                 .input_channels = x[1],
                 .output_channels = w[0],
                 .window = {},
                 .has_bias = call.inputs.size() == 3};
  if (g.has_bias) {
    TRY(expect_type("bias", call.inputs[2], DataType::kFloat32));
    TRY(expect_shape("bias", call.inputs[2].shape, Shape{w[0]}));
  }
  const std::span<const std::int64_t> kernel = w.dims().subspan(2);
  TRY_ASSIGN(const Ints named, call.attributes.get_ints("kernel_shape", Ints(kernel.begin(), kernel.end())));
  TRY(expect_shape("kernel_shape, as the weight,", Shape(named), Shape(Ints(kernel.begin(), kernel.end()))));
  TRY_ASSIGN(g.window, window_of(call.attributes, x, kernel, false));
  return g;
}

const Operator kConvOperator = {OpType::kConv, "Conv", 2, 3, infer, macs, evaluate, slice, partial_sum};

}  // namespace onnx_split
