// The transforms of Winograd's minimal filtering F(m×m, 3×3), m 2 or 4, on sixteen channels at a time (Lavin and Gray,
// "Fast Algorithms for Convolutional Neural Networks", 2015, arXiv 1509.09308): y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A.
#pragma once

#include <cstdint>

namespace onnx_split {

// A tile of m×m outputs is made of (m+2)×(m+2) inputs and as many products.
constexpr std::int64_t winograd_inputs(std::int64_t outputs) { return outputs + 2; }

// G g Gᵀ, computed in double precision, for the 3×3 kernels of up to sixteen output channels, `channel` floats apart.
// Writes (m+2)² rows of `count` floats, `step` floats apart.
void transform_kernels(std::int64_t outputs, const float* kernels, std::int64_t channel, std::int64_t count, float* u,
                       std::int64_t step);

// Bᵀ d B: `x` is the tile's first element, rows `row` floats apart, elements 16. Writes (m+2)² blocks of sixteen,
// `step` floats apart.
void transform_input(std::int64_t outputs, const float* x, std::int64_t row, float* v, std::int64_t step);

// Aᵀ M A: from (m+2)² blocks of sixteen, `step` floats apart, to [m][m][16].
void transform_output(std::int64_t outputs, const float* m, std::int64_t step, float* y);

}  // namespace onnx_split
