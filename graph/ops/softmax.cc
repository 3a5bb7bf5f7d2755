#include "graph/ops/softmax.h"

#include <algorithm>
#include <cmath>

#include "graph/ops/checks.h"
#include "graph/ops/slicing.h"

namespace onnx_split {
namespace {

Expected<std::vector<TensorType>> infer(const OpCall& call) {
  TRY(softmax_geometry(call));
  return one_output(call.inputs[0]);
}

template <bool logarithm>
Expected<void> evaluate(const OpCall& call, std::span<const TensorView> inputs,
                        std::span<const MutableTensorView> outputs) {
  TRY_ASSIGN(const SoftmaxGeometry g, softmax_geometry(call));
  const auto x = inputs[0].as<float>();
  const auto y = outputs[0].as<float>();
  if (x.empty()) return {};
  for (std::int64_t outer = 0; outer < g.outer; ++outer) {
    for (std::int64_t inner = 0; inner < g.inner; ++inner) {
      const auto at = [&](std::int64_t a) {
        return static_cast<std::size_t>((outer * g.extent + a) * g.inner + inner);
      };
      double highest = static_cast<double>(x[at(0)]);
      for (std::int64_t a = 1; a < g.extent; ++a) highest = std::max(highest, static_cast<double>(x[at(a)]));
      double sum = 0.0;
      for (std::int64_t a = 0; a < g.extent; ++a) sum += std::exp(static_cast<double>(x[at(a)]) - highest);
      for (std::int64_t a = 0; a < g.extent; ++a) {
        const double below = static_cast<double>(x[at(a)]) - highest;
        y[at(a)] = static_cast<float>(logarithm ? below - std::log(sum) : std::exp(below) / sum);
      }
    }
  }
  return {};
}

template <OpType op>
Expected<NodeSlice> slice(const OpCall& call, std::span<const TensorType> outputs, std::size_t, const Region& region) {
  const Shape& shape = outputs[0].shape;
  TRY_ASSIGN(const std::size_t axis, normalize_axis(call.attributes.int_or("axis", -1), shape.rank()));
  TRY(expect_whole_axis(region[axis], shape[axis], axis));
  return NodeSlice{op, call.attributes, {region}, region};
}

}  // namespace

Expected<SoftmaxGeometry> softmax_geometry(const OpCall& call) {
  TRY(expect_inputs(call, 1, 1));
  TRY(expect_type("input", call.inputs[0], DataType::kFloat32));
  const Shape& x = call.inputs[0].shape;
  TRY_ASSIGN(const std::int64_t named, call.attributes.get_int("axis", -1));
  TRY_ASSIGN(const std::size_t axis, normalize_axis(named, x.rank()));
  return SoftmaxGeometry{x.elements(0, axis), x[axis], x.elements(axis + 1, x.rank())};
}

const Operator kLogSoftmaxOperator = {OpType::kLogSoftmax,       "LogSoftmax", 1, 1, infer, no_macs, evaluate<true>,
                                      slice<OpType::kLogSoftmax>};
const Operator kSoftmaxOperator = {OpType::kSoftmax,       "Softmax", 1, 1, infer, no_macs, evaluate<false>,
                                   slice<OpType::kSoftmax>};

}  // namespace onnx_split
