// Unary functions over rows of floats, alone or as the end of another kernel: the same code, so the same bits.
#pragma once

#include <cstddef>

#include "engine/kernels/kernel.h"

namespace onnx_split {

// y[i] = f(x[i]); x and y are the same memory or don't overlap.
void apply_activation(const UnaryParams& params, const float* x, float* y, std::size_t count);

// y[i] = activation((y[i] + bias) + addend[i]); no addend: null. No bias: 0 is not added, so that -0 stays.
void finish_row(float* y, std::size_t count, const float* bias, const float* addend, const UnaryParams& activation);

// exp(x[i]), within 2 units in the last place; results below the smallest normal number are 0.
void exp_row(const float* x, float* y, std::size_t count);

}  // namespace onnx_split
