#include "graph/ops/variadic.h"

#include "graph/ops/broadcast.h"
#include "graph/ops/checks.h"
#include "graph/ops/slicing.h"
#include "graph/ops/walk.h"

namespace onnx_split {
namespace {

template <OpType op>
Expected<std::vector<TensorType>> infer(const OpCall& call) {
  TRY(expect_inputs(call, 1, kManyInputs));
  if constexpr (op == OpType::kMax || op == OpType::kMin) {
    TRY(expect_float_or_int(call));
  } else {
    for (std::size_t i = 0; i < call.inputs.size(); ++i) {
      TRY(expect_type(fmt::format("input {}", i), call.inputs[i], DataType::kFloat32));
    }
  }
  Shape shape = call.inputs[0].shape;
  for (const TensorType& input : call.inputs.subspan(1)) {
    TRY_ASSIGN(shape, broadcast(shape, input.shape));
  }
  return one_output({call.inputs[0].type, std::move(shape)});
}

// `Sum` is what the combined value is held in.
template <class T, class Sum>
void combine_all(OpType op, std::span<const TensorView> inputs, const MutableTensorView& output) {
  std::vector<std::vector<std::int64_t>> strides;
  for (const TensorView& input : inputs) strides.push_back(broadcast_strides(input.shape(), output.shape()));
  const auto y = output.as<T>();
  for_each_index(output.shape(), [&](std::size_t flat, const Index& index) {
    const auto element = [&](std::size_t i) {
      return static_cast<Sum>(inputs[i].as<T>()[static_cast<std::size_t>(offset_of(index, strides[i]))]);
    };
    Sum all = element(0);
    for (std::size_t i = 1; i < inputs.size(); ++i) all = combine_variadic(op, all, element(i));
    if (op == OpType::kMean) all = all / static_cast<Sum>(inputs.size());
    y[flat] = static_cast<T>(all);
  });
}

template <OpType op>
Expected<void> evaluate(const OpCall&, std::span<const TensorView> inputs, std::span<const MutableTensorView> outputs) {
  if (inputs[0].type().type == DataType::kInt64) {
    combine_all<std::int64_t, std::int64_t>(op, inputs, outputs[0]);
  } else {
    combine_all<float, double>(op, inputs, outputs[0]);
  }
  return {};
}

template <OpType op>
constexpr Operator row(std::string_view name) {
  return {op,
          name,
          1,
          kManyInputs,
          infer<op>,
          no_macs,
          evaluate<op>,
          slice_elementwise<op>,
          nullptr,
          op == OpType::kSum ? Linearity::kAdds : Linearity::kNone};
}

}  // namespace

const Operator kMaxOperator = row<OpType::kMax>("Max");
const Operator kMeanOperator = row<OpType::kMean>("Mean");
const Operator kMinOperator = row<OpType::kMin>("Min");
const Operator kSumOperator = row<OpType::kSum>("Sum");

}  // namespace onnx_split
