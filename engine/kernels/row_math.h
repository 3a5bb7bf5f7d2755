// Sums and maxima of rows of floats. A sum's order is fixed: the same on every processor.
#pragma once

#include <cstdint>

namespace onnx_split {

// All elements of a row; the maximum is at least float's lowest, and ignores NaN.
float sum_of(const float* x, std::int64_t count);
float max_of(const float* x, std::int64_t count);

// y[i] = y[i] + x[i]; y[i] = max(y[i], x[i]), where NaN in x is ignored.
void add_into(const float* x, float* y, std::int64_t count);
void max_into(const float* x, float* y, std::int64_t count);

}  // namespace onnx_split
