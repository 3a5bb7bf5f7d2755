// Operators of two elements, with multidirectional broadcasting: Add, Sub, Mul, Div (float32 or int64, both alike), Pow
// (float32 to the power of float32 or int64) and PRelu (float32; the slope broadcasts to x, never x to the slope).
// Integers wrap around; Div truncates towards zero, and dividing by zero is an error of evaluate.
#pragma once

#include <cmath>

#include "graph/operators.h"

namespace onnx_split {

// The function itself, for the reference and the kernels alike. Pow with an int64 exponent converts it to float.
inline float apply_binary(OpType op, float a, float b) {
  switch (op) {
    case OpType::kAdd: return a + b;
    case OpType::kSub: return a - b;
    case OpType::kMul: return a * b;
    case OpType::kDiv: return a / b;
    case OpType::kPow: return std::pow(a, b);
    case OpType::kPRelu: return a < 0.0F ? a * b : a;
    default: return a;
  }
}

// The same for int64; the divisor must not be 0.
inline std::int64_t apply_binary(OpType op, std::int64_t a, std::int64_t b) {
  const auto ua = static_cast<std::uint64_t>(a);
  const auto ub = static_cast<std::uint64_t>(b);
  switch (op) {
    case OpType::kAdd: return static_cast<std::int64_t>(ua + ub);
    case OpType::kSub: return static_cast<std::int64_t>(ua - ub);
    case OpType::kMul: return static_cast<std::int64_t>(ua * ub);
    case OpType::kDiv: return b == -1 ? static_cast<std::int64_t>(0 - ua) : a / b;
    default: return a;
  }
}

extern const Operator kAddOperator;
extern const Operator kDivOperator;
extern const Operator kMulOperator;
extern const Operator kPReluOperator;
extern const Operator kPowOperator;
extern const Operator kSubOperator;

}  // namespace onnx_split
