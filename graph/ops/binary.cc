#include "graph/ops/binary.h"

#include <algorithm>

#include "graph/ops/broadcast.h"
#include "graph/ops/checks.h"
#include "graph/ops/slicing.h"
#include "graph/ops/walk.h"

namespace onnx_split {
namespace {

Expected<std::vector<TensorType>> broadcast_output(const OpCall& call) {
  TRY_ASSIGN(Shape shape, broadcast(call.inputs[0].shape, call.inputs[1].shape));
  return one_output({call.inputs[0].type, std::move(shape)});
}

Expected<std::vector<TensorType>> infer_arithmetic(const OpCall& call) {
  TRY(expect_inputs(call, 2, 2));
  TRY(expect_float_or_int(call));
  return broadcast_output(call);
}

Expected<std::vector<TensorType>> infer_pow(const OpCall& call) {
  TRY(expect_inputs(call, 2, 2));
  TRY(expect_type("base", call.inputs[0], DataType::kFloat32));
  if (call.inputs[1].type == DataType::kBool) {
    return fail(ErrorCode::kInvalid, "exponent expects float32 or int64, found {}", call.inputs[1].to_string());
  }
  return broadcast_output(call);
}

Expected<std::vector<TensorType>> infer_prelu(const OpCall& call) {
  TRY(expect_inputs(call, 2, 2));
  TRY(expect_type("input", call.inputs[0], DataType::kFloat32));
  TRY(expect_type("slope", call.inputs[1], DataType::kFloat32));
  TRY_ASSIGN(std::vector<TensorType> outputs, broadcast_output(call));
  if (outputs[0] != call.inputs[0]) {
    return fail(ErrorCode::kInvalid, "slope expects a shape that broadcasts to {}, found {}",
                call.inputs[0].shape.to_string(), call.inputs[1].shape.to_string());
  }
  return outputs;
}

// Calls body(output element, a's element, b's element).
template <class Body>
void for_each_pair(std::span<const TensorView> inputs, const MutableTensorView& output, Body&& body) {
  const auto a = broadcast_strides(inputs[0].shape(), output.shape());
  const auto b = broadcast_strides(inputs[1].shape(), output.shape());
  for_each_index(output.shape(), [&](std::size_t flat, const Index& index) {
    body(flat, static_cast<std::size_t>(offset_of(index, a)), static_cast<std::size_t>(offset_of(index, b)));
  });
}

template <class A, class B>
void compute(OpType op, std::span<const TensorView> inputs, const MutableTensorView& output) {
  const auto a = inputs[0].as<A>();
  const auto b = inputs[1].as<B>();
  const auto y = output.as<A>();
  for_each_pair(inputs, output, [&](std::size_t to, std::size_t from_a, std::size_t from_b) {
    y[to] = apply_binary(op, a[from_a], static_cast<A>(b[from_b]));
  });
}

template <OpType op>
Expected<void> evaluate(const OpCall&, std::span<const TensorView> inputs, std::span<const MutableTensorView> outputs) {
  const bool int_first = inputs[0].type().type == DataType::kInt64;
  const bool int_second = inputs[1].type().type == DataType::kInt64;
  if (op == OpType::kDiv && int_second && outputs[0].shape().elements() > 0) {
    const auto divisors = inputs[1].as<std::int64_t>();
    if (std::find(divisors.begin(), divisors.end(), 0) != divisors.end()) {
      return fail(ErrorCode::kInvalid, "an integer is divided by zero");
    }
  }
  if (int_first) {
    compute<std::int64_t, std::int64_t>(op, inputs, outputs[0]);
  } else if (int_second) {
    compute<float, std::int64_t>(op, inputs, outputs[0]);
  } else {
    compute<float, float>(op, inputs, outputs[0]);
  }
  return {};
}

template <OpType op>
constexpr Operator arithmetic(std::string_view name) {
  return {op,
          name,
          2,
          2,
          infer_arithmetic,
          no_macs,
          evaluate<op>,
          slice_elementwise<op>,
          nullptr,
          op == OpType::kAdd ? Linearity::kAdds : Linearity::kNone};
}

}  // namespace

const Operator kAddOperator = arithmetic<OpType::kAdd>("Add");
const Operator kDivOperator = arithmetic<OpType::kDiv>("Div");
const Operator kMulOperator = arithmetic<OpType::kMul>("Mul");
const Operator kSubOperator = arithmetic<OpType::kSub>("Sub");
const Operator kPReluOperator = {
    OpType::kPRelu, "PRelu", 2, 2, infer_prelu, no_macs, evaluate<OpType::kPRelu>, slice_elementwise<OpType::kPRelu>};
const Operator kPowOperator = {
    OpType::kPow, "Pow", 2, 2, infer_pow, no_macs, evaluate<OpType::kPow>, slice_elementwise<OpType::kPow>};

}  // namespace onnx_split
