// The last columns of a product whose width isn't a multiple of 16 lanes.
//
// A product that is small enough for OpenBLAS to multiply it unpacked (engine/choice.h) it computes in columns of 16
// lanes; for 1 to 8 columns beyond, it allocates memory in every call, to sum along the depth instead
// (kernel/x86_64/sgemm_small_kernel_nn_skylakex.c). A session may not allocate while it runs, so it has these columns
// computed here, in the same way, but in memory that it has.
#pragma once

#include <cstdint>

namespace onnx_split {

inline constexpr std::int64_t kMostLooseColumns = 8;

// How many of the columns OpenBLAS would allocate memory for in an unpacked product.
std::int64_t loose_columns(std::int64_t columns, std::int64_t depth);

// columns[c·depth + k] = matrix[k·stride + c] for c in [0, count), k in [0, depth).
void gather_columns(const float* matrix, std::int64_t stride, std::int64_t count, std::int64_t depth, float* columns);

// y[r·y_stride + c] = Σ_k w[r·w_stride + k] · columns[c·depth + k], or, with `accumulate`, += that.
void multiply_columns(const float* w, std::int64_t w_stride, const float* columns, float* y, std::int64_t y_stride,
                      std::int64_t rows, std::int64_t count, std::int64_t depth, bool accumulate);

}  // namespace onnx_split
