// Matrix-vector products as one stream over the matrix, which is read once: as fast as the memory.
#pragma once

#include <cstdint>

#include "base/half.h"

namespace onnx_split {

// y[r] = Σ_k w[r·stride + k] · x[k] for rows [0, rows). Each row's sum has the same order whatever the other rows are,
// and the same bits on every processor with fused multiplication and addition.
void gemv_rows(const float* w, std::int64_t stride, const float* x, float* y, std::int64_t rows, std::int64_t depth);
void gemv_rows(const Half* w, std::int64_t stride, const float* x, float* y, std::int64_t rows, std::int64_t depth);

// y[c] = Σ_k x[k] · w[k·stride + c] for columns [0, columns), summed in the order of k.
void gemv_columns(const float* w, std::int64_t stride, const float* x, float* y, std::int64_t columns,
                  std::int64_t depth);

}  // namespace onnx_split
