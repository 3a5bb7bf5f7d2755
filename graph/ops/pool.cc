#include "graph/ops/pool.h"

#include <algorithm>
#include <limits>

#include "graph/ops/checks.h"
#include "graph/ops/slicing.h"
#include "graph/ops/window_walk.h"

namespace onnx_split {
namespace {

Expected<std::vector<TensorType>> infer_pool(const OpCall& call) {
  TRY_ASSIGN(const PoolGeometry g, pool_geometry(call));
  std::vector<std::int64_t> dims{g.batch, g.channels};
  for (const WindowAxis& axis : g.window.axes) dims.push_back(axis.output);
  return one_output(DataType::kFloat32, std::move(dims));
}

Expected<std::vector<TensorType>> infer_global(const OpCall& call) {
  TRY_ASSIGN(const PoolGeometry g, global_pool_geometry(call));
  std::vector<std::int64_t> dims(call.inputs[0].shape.rank(), 1);
  dims[0] = g.batch;
  dims[1] = g.channels;
  return one_output(DataType::kFloat32, std::move(dims));
}

// What an average over the window at `position` divides by.
std::int64_t divisor(const PoolGeometry& g, const Index& position) {
  std::int64_t count = 1;
  for (std::size_t i = 0; i < g.window.axes.size(); ++i) {
    const WindowAxis& axis = g.window.axes[i];
    const std::int64_t low = g.count_include_pad ? -axis.pad_begin : 0;
    const std::int64_t high = axis.input + (g.count_include_pad ? axis.pad_end : 0);
    std::int64_t taps = 0;
    for (std::int64_t tap = 0; tap < axis.kernel; ++tap) {
      const std::int64_t at = axis.begin(position[i]) + tap * axis.dilation;
      if (at >= low && at < high) ++taps;
    }
    count *= taps;
  }
  return count;
}

// Calls pool(channel's elements, position) → float for each output element.
template <class Pool>
void for_each_output(const PoolGeometry& g, std::span<const float> x, std::span<float> y, Pool&& pool) {
  const auto pixels = static_cast<std::size_t>(g.window.input_elements());
  const auto positions = static_cast<std::size_t>(g.window.output_elements());
  for (std::size_t plane = 0; plane < static_cast<std::size_t>(g.batch * g.channels); ++plane) {
    const std::span<const float> channel = x.subspan(plane * pixels, pixels);
    for_each_index(positions_of(g.window), [&](std::size_t flat, const Index& position) {
      y[plane * positions + flat] = pool(channel, position);
    });
  }
}

void max_pool(const PoolGeometry& g, std::span<const float> x, std::span<float> y) {
  for_each_output(g, x, y, [&](std::span<const float> channel, const Index& position) {
    float best = -std::numeric_limits<float>::infinity();
    for_each_tap(g.window, position, [&](std::size_t, std::size_t pixel) { best = std::max(best, channel[pixel]); });
    return best;
  });
}

void average_pool(const PoolGeometry& g, std::span<const float> x, std::span<float> y) {
  for_each_output(g, x, y, [&](std::span<const float> channel, const Index& position) {
    double sum = 0.0;
    for_each_tap(g.window, position,
                 [&](std::size_t, std::size_t pixel) { sum += static_cast<double>(channel[pixel]); });
    const std::int64_t count = divisor(g, position);
    return count == 0 ? 0.0F : static_cast<float>(sum / static_cast<double>(count));
  });
}

using GeometryOf = Expected<PoolGeometry> (*)(const OpCall&);
using PoolOf = void (*)(const PoolGeometry&, std::span<const float>, std::span<float>);

template <GeometryOf geometry_of, PoolOf pool>
Expected<void> evaluate(const OpCall& call, std::span<const TensorView> inputs,
                        std::span<const MutableTensorView> outputs) {
  TRY_ASSIGN(const PoolGeometry g, geometry_of(call));
  pool(g, inputs[0].as<float>(), outputs[0].as<float>());
  return {};
}

template <OpType op>
Expected<NodeSlice> slice_pool(const OpCall& call, std::span<const TensorType>, std::size_t, const Region& region) {
  TRY_ASSIGN(const PoolGeometry g, pool_geometry(call));
  NodeSlice slice{op, call.attributes, {}, region};
  Region x = region;
  slice_window(g.window, region, g.count_include_pad).apply(slice, x);
  slice.inputs = {x};
  return slice;
}

template <OpType op>
Expected<NodeSlice> slice_global(const OpCall& call, std::span<const TensorType>, std::size_t, const Region& region) {
  Region x = Region::whole(call.inputs[0].shape);
  x[0] = region[0];
  x[1] = region[1];
  return NodeSlice{op, call.attributes, {x}, region};
}

// The average of a share of the pixels, weighted with their number.
Expected<NodeSlice> partial_average(const OpCall& call, std::span<const TensorType> outputs, const Region& region,
                                    bool) {
  const Shape& x = call.inputs[0].shape;
  std::vector<bool> summed(x.rank(), true);
  summed[0] = summed[1] = false;
  TRY(expect_summed(region, x, summed));
  NodeSlice slice{OpType::kGlobalAveragePool, call.attributes, {region}, Region::whole(outputs[0].shape)};
  slice.scale = share_of_mean(region, x);
  return slice;
}

}  // namespace

Expected<PoolGeometry> pool_geometry(const OpCall& call) {
  TRY(expect_inputs(call, 1, 1));
  TRY(expect_type("input", call.inputs[0], DataType::kFloat32));
  const Shape& x = call.inputs[0].shape;
  if (!call.attributes.has("kernel_shape")) return fail(ErrorCode::kInvalid, "attribute \"kernel_shape\" is missing");
  TRY_ASSIGN(const Ints kernel, call.attributes.get_ints("kernel_shape", {}));
  TRY_ASSIGN(const std::int64_t ceil_mode, call.attributes.get_int("ceil_mode", 0));
  TRY_ASSIGN(const std::int64_t count_include_pad, call.attributes.get_int("count_include_pad", 0));
  TRY_ASSIGN(Window window, window_of(call.attributes, x, kernel, ceil_mode != 0));
  for (const WindowAxis& axis : window.axes) {
    const std::int64_t reach = (axis.kernel - 1) * axis.dilation + 1;
    if (std::max(axis.pad_begin, axis.pad_end) >= reach) {
      return fail(ErrorCode::kInvalid, "pads expect less than the kernel's span {}, found {}+{}", reach, axis.pad_begin,
                  axis.pad_end);
    }
  }
  return PoolGeometry{x[0], x[1], std::move(window), count_include_pad != 0};
}

Expected<PoolGeometry> global_pool_geometry(const OpCall& call) {
  TRY(expect_inputs(call, 1, 1));
  TRY(expect_type("input", call.inputs[0], DataType::kFloat32));
  const Shape& x = call.inputs[0].shape;
  if (x.rank() < 3 || x.elements(2, x.rank()) == 0) {
    return fail(ErrorCode::kInvalid, "input expects spatial axes with elements ([N,C,spatial]), found shape {}",
                x.to_string());
  }
  const std::int64_t pixels = x.elements(2, x.rank());
  return PoolGeometry{x[0], x[1], Window{{WindowAxis{.input = pixels, .output = 1, .kernel = pixels}}}, false};
}

const Operator kMaxPoolOperator = {OpType::kMaxPool,
                                   "MaxPool",
                                   1,
                                   1,
                                   infer_pool,
                                   no_macs,
                                   evaluate<pool_geometry, max_pool>,
                                   slice_pool<OpType::kMaxPool>};
const Operator kAveragePoolOperator = {OpType::kAveragePool,
                                       "AveragePool",
                                       1,
                                       1,
                                       infer_pool,
                                       no_macs,
                                       evaluate<pool_geometry, average_pool>,
                                       slice_pool<OpType::kAveragePool>,
                                       nullptr,
                                       Linearity::kPasses};
const Operator kGlobalMaxPoolOperator = {OpType::kGlobalMaxPool,
                                         "GlobalMaxPool",
                                         1,
                                         1,
                                         infer_global,
                                         no_macs,
                                         evaluate<global_pool_geometry, max_pool>,
                                         slice_global<OpType::kGlobalMaxPool>};
const Operator kGlobalAveragePoolOperator = {OpType::kGlobalAveragePool,
                                             "GlobalAveragePool",
                                             1,
                                             1,
                                             infer_global,
                                             no_macs,
                                             evaluate<global_pool_geometry, average_pool>,
                                             slice_global<OpType::kGlobalAveragePool>,
                                             partial_average,
                                             Linearity::kPasses};

}  // namespace onnx_split
