#include "graph/ops/unary.h"

#include "graph/ops/checks.h"
#include "graph/ops/slicing.h"

namespace onnx_split {
namespace {

template <OpType op>
Expected<std::vector<TensorType>> infer(const OpCall& call) {
  TRY(expect_inputs(call, 1, 1));
  TRY(unary_params(op, call.attributes));
  if constexpr (op == OpType::kAbs || op == OpType::kNeg) {
    TRY(expect_float_or_int(call));
  } else {
    TRY(expect_type("input", call.inputs[0], DataType::kFloat32));
  }
  return one_output(call.inputs[0]);
}

template <class T>
void map_elements(const UnaryParams& params, TensorView input, MutableTensorView output) {
  const auto x = input.as<T>();
  const auto y = output.as<T>();
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = apply_unary(params, x[i]);
}

template <OpType op>
Expected<void> evaluate(const OpCall& call, std::span<const TensorView> inputs,
                        std::span<const MutableTensorView> outputs) {
  TRY_ASSIGN(const UnaryParams params, unary_params(op, call.attributes));
  if (inputs[0].type().type == DataType::kInt64) {
    map_elements<std::int64_t>(params, inputs[0], outputs[0]);
  } else {
    map_elements<float>(params, inputs[0], outputs[0]);
  }
  return {};
}

template <OpType op>
constexpr Operator row(std::string_view name) {
  return {op, name, 1, 1, infer<op>, no_macs, evaluate<op>, slice_elementwise<op>};
}

}  // namespace

Expected<UnaryParams> unary_params(OpType op, const Attributes& attributes) {
  UnaryParams p;
  p.op = op;
  switch (op) {
    case OpType::kClip: {
      TRY_ASSIGN(p.min, attributes.get_float("min", p.min));
      TRY_ASSIGN(p.max, attributes.get_float("max", p.max));
      break;
    }
    case OpType::kElu: {
      TRY_ASSIGN(p.alpha, attributes.get_float("alpha", 1.0F));
      break;
    }
    case OpType::kHardSigmoid: {
      TRY_ASSIGN(p.alpha, attributes.get_float("alpha", 0.2F));
      TRY_ASSIGN(p.beta, attributes.get_float("beta", 0.5F));
      break;
    }
    case OpType::kLeakyRelu: {
      TRY_ASSIGN(p.alpha, attributes.get_float("alpha", 0.01F));
      break;
    }
    case OpType::kSelu: {
      TRY_ASSIGN(p.alpha, attributes.get_float("alpha", 1.67326319217681884765625F));
      TRY_ASSIGN(p.gamma, attributes.get_float("gamma", 1.05070102214813232421875F));
      break;
    }
    default: break;
  }
  return p;
}

bool is_unary(OpType op) {
  switch (op) {
    case OpType::kAbs:
    case OpType::kClip:
    case OpType::kElu:
    case OpType::kExp:
    case OpType::kHardSigmoid:
    case OpType::kHardSwish:
    case OpType::kLeakyRelu:
    case OpType::kNeg:
    case OpType::kRelu:
    case OpType::kSelu:
    case OpType::kSigmoid:
    case OpType::kSoftplus:
    case OpType::kSqrt:
    case OpType::kTanh: return true;
    default: return false;
  }
}

const Operator kAbsOperator = row<OpType::kAbs>("Abs");
const Operator kClipOperator = row<OpType::kClip>("Clip");
const Operator kEluOperator = row<OpType::kElu>("Elu");
const Operator kExpOperator = row<OpType::kExp>("Exp");
const Operator kHardSigmoidOperator = row<OpType::kHardSigmoid>("HardSigmoid");
const Operator kHardSwishOperator = row<OpType::kHardSwish>("HardSwish");
const Operator kLeakyReluOperator = row<OpType::kLeakyRelu>("LeakyRelu");
const Operator kNegOperator = row<OpType::kNeg>("Neg");
const Operator kReluOperator = row<OpType::kRelu>("Relu");
const Operator kSeluOperator = row<OpType::kSelu>("Selu");
const Operator kSigmoidOperator = row<OpType::kSigmoid>("Sigmoid");
const Operator kSoftplusOperator = row<OpType::kSoftplus>("Softplus");
const Operator kSqrtOperator = row<OpType::kSqrt>("Sqrt");
const Operator kTanhOperator = row<OpType::kTanh>("Tanh");

}  // namespace onnx_split
