// Weights that a kernel has laid out for itself, as floats or as half floats, in the session's pages.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/half.h"
#include "engine/page_pool.h"

namespace onnx_split {

class LaidOutWeights {
 public:
  LaidOutWeights() = default;
  LaidOutWeights(std::int64_t count, bool half, PagePool& pages)
      : half_(half),
        bytes_(static_cast<std::size_t>(count) * (half ? sizeof(Half) : sizeof(float))),
        data_(pages.allocate(bytes_)) {}

  bool half() const { return half_; }
  std::size_t bytes() const { return bytes_; }

  const void* at(std::int64_t index) const { return data_ + bytes_of(index); }
  std::int64_t bytes_of(std::int64_t count) const {
    return count * static_cast<std::int64_t>(half_ ? sizeof(Half) : sizeof(float));
  }

  void put(std::int64_t index, const float* values, std::int64_t count) {
    if (half_) {
      std::transform(values, values + count, reinterpret_cast<Half*>(data_) + index, to_half);
    } else {
      std::memcpy(reinterpret_cast<float*>(data_) + index, values, static_cast<std::size_t>(count) * sizeof(float));
    }
  }

 private:
  bool half_ = false;
  std::size_t bytes_ = 0;
  std::byte* data_ = nullptr;
};

}  // namespace onnx_split
