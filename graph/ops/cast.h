// Cast (ONNX Cast-13) between float32, int64 and bool; attribute to: "float32", "int64" or "bool". Floats truncate
// towards zero; beyond int64 they saturate, and NaN gives 0. Anything but zero is true.
#pragma once

#include <limits>
#include <type_traits>

#include "graph/operators.h"

namespace onnx_split {

Expected<DataType> cast_target(const Attributes& attributes);

// One element converted, for the reference and the kernels alike.
template <class To, class From>
To cast_element(From x) {
  if constexpr (std::is_same_v<To, std::int64_t> && std::is_same_v<From, float>) {
    if (x != x) return 0;
    if (x >= 0x1p63F) return std::numeric_limits<std::int64_t>::max();
    if (x <= -0x1p63F) return std::numeric_limits<std::int64_t>::min();
    return static_cast<std::int64_t>(x);
  } else if constexpr (std::is_same_v<To, bool>) {
    return x != From{};
  } else {
    return static_cast<To>(x);
  }
}

extern const Operator kCastOperator;

}  // namespace onnx_split
