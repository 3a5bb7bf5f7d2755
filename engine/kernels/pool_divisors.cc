#include "engine/kernels/pool_divisors.h"

#include <algorithm>

namespace onnx_split {

std::vector<std::int64_t> pool_divisors(const WindowAxis& axis, bool include_pad) {
  const std::int64_t low = include_pad ? -axis.pad_begin : 0;
  const std::int64_t high = axis.input + (include_pad ? axis.pad_end : 0);
  std::vector<std::int64_t> counts(static_cast<std::size_t>(axis.output), 0);
  // Window elements that begin + k·dilation puts before `limit`.
  const auto before = [&axis](std::int64_t begin, std::int64_t limit) {
    const std::int64_t reached = limit > begin ? (limit - begin + axis.dilation - 1) / axis.dilation : 0;
    return std::min(reached, axis.kernel);
  };
  for (std::int64_t position = 0; position < axis.output; ++position) {
    const std::int64_t begin = axis.begin(position);
    counts[static_cast<std::size_t>(position)] = before(begin, high) - before(begin, low);
  }
  return counts;
}

}  // namespace onnx_split
