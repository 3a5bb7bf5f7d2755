// Seeded tensors: the same numbers on every machine, each tensor from a generator of its own, so that no tensor depends
// on the order in which they are made.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "graph/tensor.h"

namespace onnx_split::zoo {

// The seed of one tensor of one network.
std::uint64_t tensor_seed(std::string_view network, std::string_view tensor, std::uint64_t seed);

// Weights [outputs, ...]: uniform with variance `channel_scale`² / fan-in, fan-in being the elements of one output.
// `channel_scale` holds one factor for every output, or is empty for 1. The same seed with other factors gives the same
// weights, scaled.
Tensor uniform_weights(const Shape& shape, std::uint64_t seed, std::span<const float> channel_scale);

// Uniform in [low, high).
Tensor uniform_vector(std::int64_t elements, std::uint64_t seed, float low, float high);

// Zeros that occupy no memory until somebody reads them.
Tensor untouched_zeros(const Shape& shape);

}  // namespace onnx_split::zoo
