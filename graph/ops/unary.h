// Operators that map each element by itself: Abs, Clip, Elu, Exp, HardSigmoid, HardSwish, LeakyRelu, Neg, Relu, Selu,
// Sigmoid, Softplus, Sqrt, Tanh. One float32 input; Abs and Neg take int64 too.
// Attributes: Clip min, max; Elu alpha; HardSigmoid alpha, beta; LeakyRelu alpha; Selu alpha, gamma; defaults are
// ONNX's.
#pragma once

#include <cmath>
#include <limits>

#include "graph/operators.h"

namespace onnx_split {

struct UnaryParams {
  OpType op = OpType::kRelu;
  float alpha = 0.0F;
  float beta = 0.0F;
  float gamma = 0.0F;
  float min = std::numeric_limits<float>::lowest();
  float max = std::numeric_limits<float>::max();
};

// Reads the attributes of any operator of this family.
Expected<UnaryParams> unary_params(OpType op, const Attributes& attributes);

// Whether `op` is of this family.
bool is_unary(OpType op);

// The function itself, for the reference and the kernels alike. NaN stays NaN.
inline float apply_unary(const UnaryParams& p, float x) {
  switch (p.op) {
    case OpType::kAbs: return std::fabs(x);
    case OpType::kClip: {
      const float raised = x < p.min ? p.min : x;
      return raised > p.max ? p.max : raised;  // max wins where min > max, as ONNX says
    }
    case OpType::kElu: return x < 0.0F ? p.alpha * std::expm1(x) : x;
    case OpType::kExp: return std::exp(x);
    case OpType::kHardSigmoid: {
      const float y = p.alpha * x + p.beta;
      return y < 0.0F ? 0.0F : y > 1.0F ? 1.0F : y;
    }
    case OpType::kHardSwish: {
      const float y = x * (1.0F / 6.0F) + 0.5F;
      return x * (y < 0.0F ? 0.0F : y > 1.0F ? 1.0F : y);
    }
    case OpType::kLeakyRelu: return x < 0.0F ? p.alpha * x : x;
    case OpType::kNeg: return -x;
    case OpType::kRelu: return x < 0.0F ? 0.0F : x;
    case OpType::kSelu: return p.gamma * (x > 0.0F ? x : p.alpha * std::expm1(x));
    case OpType::kSigmoid: return 1.0F / (1.0F + std::exp(-x));
    case OpType::kSoftplus: return x > 0.0F ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
    case OpType::kSqrt: return std::sqrt(x);
    case OpType::kTanh: return std::tanh(x);
    default: return x;
  }
}

// The same for int64 (Abs, Neg); the most negative number stays itself.
inline std::int64_t apply_unary(const UnaryParams& p, std::int64_t x) {
  const auto negated = static_cast<std::int64_t>(0 - static_cast<std::uint64_t>(x));
  return p.op == OpType::kNeg || x < 0 ? negated : x;
}

extern const Operator kAbsOperator;
extern const Operator kClipOperator;
extern const Operator kEluOperator;
extern const Operator kExpOperator;
extern const Operator kHardSigmoidOperator;
extern const Operator kHardSwishOperator;
extern const Operator kLeakyReluOperator;
extern const Operator kNegOperator;
extern const Operator kReluOperator;
extern const Operator kSeluOperator;
extern const Operator kSigmoidOperator;
extern const Operator kSoftplusOperator;
extern const Operator kSqrtOperator;
extern const Operator kTanhOperator;

}  // namespace onnx_split
