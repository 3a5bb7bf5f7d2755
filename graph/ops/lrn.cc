#include "graph/ops/lrn.h"

#include <algorithm>
#include <cmath>

#include "graph/ops/checks.h"

namespace onnx_split {
namespace {

Expected<std::vector<TensorType>> infer(const OpCall& call) {
  TRY(lrn_geometry(call));
  return one_output(call.inputs[0]);
}

Expected<void> evaluate(const OpCall& call, std::span<const TensorView> inputs,
                        std::span<const MutableTensorView> outputs) {
  TRY_ASSIGN(const LrnGeometry g, lrn_geometry(call));
  const auto x = inputs[0].as<float>();
  const auto y = outputs[0].as<float>();
  for (std::int64_t n = 0; n < g.batch; ++n) {
    for (std::int64_t c = 0; c < g.channels; ++c) {
      const std::int64_t first = std::max<std::int64_t>(0, c - g.before);
      const std::int64_t last = std::min(g.channels - 1, c + g.after);
      for (std::int64_t i = 0; i < g.inner; ++i) {
        const auto at = [&](std::int64_t channel) {
          return static_cast<std::size_t>((n * g.channels + channel) * g.inner + i);
        };
        double squares = 0.0;
        for (std::int64_t other = first; other <= last; ++other) {
          squares += static_cast<double>(x[at(other)]) * static_cast<double>(x[at(other)]);
        }
        const double base =
            static_cast<double>(g.bias) + static_cast<double>(g.alpha) / static_cast<double>(g.size) * squares;
        y[at(c)] = static_cast<float>(static_cast<double>(x[at(c)]) / std::pow(base, static_cast<double>(g.beta)));
      }
    }
  }
  return {};
}

// The neighbouring channels come along, and their own results, which lack neighbours, are of no use.
Expected<NodeSlice> slice(const OpCall& call, std::span<const TensorType>, std::size_t, const Region& region) {
  TRY_ASSIGN(const LrnGeometry g, lrn_geometry(call));
  Region x = region;
  x[1] = {std::max<std::int64_t>(region[1].begin - g.before, 0), std::min(region[1].end + g.after, g.channels)};
  return NodeSlice{OpType::kLrn, call.attributes, {x}, x};
}

}  // namespace

Expected<LrnGeometry> lrn_geometry(const OpCall& call) {
  TRY(expect_inputs(call, 1, 1));
  TRY(expect_type("input", call.inputs[0], DataType::kFloat32));
  const Shape& x = call.inputs[0].shape;
  if (x.rank() < 2) return fail(ErrorCode::kInvalid, "input expects shape [N,C,…], found {}", x.to_string());
  LrnGeometry g;
  TRY_ASSIGN(g.size, call.attributes.get_int("size", 0));
  if (g.size < 1) return fail(ErrorCode::kInvalid, "size expects at least 1, found {}", g.size);
  TRY_ASSIGN(g.alpha, call.attributes.get_float("alpha", 1e-4F));
  TRY_ASSIGN(g.beta, call.attributes.get_float("beta", 0.75F));
  TRY_ASSIGN(g.bias, call.attributes.get_float("bias", 1.0F));
  g.batch = x[0];
  g.channels = x[1];
  g.inner = x.elements(2, x.rank());
  // More neighbours than channels change nothing, and c + after must not overflow.
  g.before = std::min((g.size - 1) / 2, g.channels);
  g.after = std::min((g.size - 1) - (g.size - 1) / 2, g.channels);
  return g;
}

const Operator kLrnOperator = {OpType::kLrn, "LRN", 1, 1, infer, no_macs, evaluate, slice};

}  // namespace onnx_split
