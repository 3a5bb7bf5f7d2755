// What the operators' infer functions have in common: checks with errors that say what was expected and what was found,
// and arithmetic that hostile numbers can't overflow.
#pragma once

#include <limits>
#include <string_view>
#include <vector>

#include "graph/operators.h"

namespace onnx_split {

// max_inputs of operators that take any number.
inline constexpr std::size_t kManyInputs = std::numeric_limits<std::size_t>::max();

// "expected 2 to 3 inputs, found 1"
Expected<void> expect_inputs(const OpCall& call, std::size_t min, std::size_t max);
// "x expects float32, found int64[3]"
Expected<void> expect_type(std::string_view what, const TensorType& found, DataType expected);
// All inputs are float32, or, all alike, int64.
Expected<void> expect_float_or_int(const OpCall& call);
// "scale expects shape [8], found [4]"
Expected<void> expect_shape(std::string_view what, const Shape& found, const Shape& expected);

// A list of axes in [-rank, rank) as flags; an axis named twice is an error.
Expected<std::vector<bool>> axis_flags(const Ints& axes, std::size_t rank);

// One output of a checked shape, as infer returns it.
Expected<std::vector<TensorType>> one_output(DataType type, std::vector<std::int64_t> dims);
Expected<std::vector<TensorType>> one_output(TensorType type);

// a·b of numbers that aren't negative, or the largest number.
inline std::int64_t saturating_mul(std::int64_t a, std::int64_t b) {
  std::int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? std::numeric_limits<std::int64_t>::max() : product;
}

// For operators that only move or map elements.
inline std::int64_t no_macs(const OpCall&, std::span<const TensorType>) { return 0; }

}  // namespace onnx_split
