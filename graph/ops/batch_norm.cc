#include "graph/ops/batch_norm.h"

#include <array>
#include <cmath>

#include "graph/ops/checks.h"

namespace onnx_split {
namespace {

Expected<std::vector<TensorType>> infer(const OpCall& call) {
  TRY(batch_norm_geometry(call));
  return one_output(call.inputs[0]);
}

Expected<void> evaluate(const OpCall& call, std::span<const TensorView> inputs,
                        std::span<const MutableTensorView> outputs) {
  TRY_ASSIGN(const BatchNormGeometry g, batch_norm_geometry(call));
  const auto x = inputs[0].as<float>();
  const auto y = outputs[0].as<float>();
  std::size_t i = 0;
  for (std::int64_t n = 0; n < g.batch; ++n) {
    for (std::size_t c = 0; c < static_cast<std::size_t>(g.channels); ++c) {
      const auto [scale, shift] = batch_norm_channel(inputs[1].as<float>()[c], inputs[2].as<float>()[c],
                                                     inputs[3].as<float>()[c], inputs[4].as<float>()[c], g.epsilon);
      for (std::int64_t inner = 0; inner < g.inner; ++inner, ++i) {
        y[i] = static_cast<float>(static_cast<double>(x[i]) * scale + shift);
      }
    }
  }
  return {};
}

Expected<NodeSlice> slice(const OpCall& call, std::span<const TensorType>, std::size_t, const Region& region) {
  const Region parameters({region.rank() == 1 ? Range{0, 1} : region[1]});
  return NodeSlice{
      OpType::kBatchNormalization, call.attributes, {region, parameters, parameters, parameters, parameters}, region};
}

}  // namespace

Expected<BatchNormGeometry> batch_norm_geometry(const OpCall& call) {
  constexpr std::array<std::string_view, 5> kNames = {"input", "scale", "B", "mean", "var"};
  TRY(expect_inputs(call, kNames.size(), kNames.size()));
  const Shape& x = call.inputs[0].shape;
  if (x.rank() == 0) return fail(ErrorCode::kInvalid, "input expects shape [N,C,…], found a scalar");
  BatchNormGeometry g;
  g.batch = x[0];
  g.channels = x.rank() == 1 ? 1 : x[1];
  g.inner = x.rank() <= 2 ? 1 : x.elements(2, x.rank());
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    TRY(expect_type(kNames[i], call.inputs[i], DataType::kFloat32));
    if (i > 0) TRY(expect_shape(kNames[i], call.inputs[i].shape, Shape{g.channels}));
  }
  TRY_ASSIGN(g.epsilon, call.attributes.get_float("epsilon", 1e-5F));
  return g;
}

ScaleShift batch_norm_channel(float scale, float bias, float mean, float variance, float epsilon) {
  const double factor =
      static_cast<double>(scale) / std::sqrt(static_cast<double>(variance) + static_cast<double>(epsilon));
  return {factor, static_cast<double>(bias) - static_cast<double>(mean) * factor};
}

const Operator kBatchNormalizationOperator = {
    OpType::kBatchNormalization, "BatchNormalization", 5, 5, infer, no_macs, evaluate, slice};

}  // namespace onnx_split
