// How a tensor lies in memory inside of a session.
#pragma once

#include <cstddef>
#include <cstdint>

#include "graph/tensor.h"

namespace onnx_split {

enum class Layout : std::uint8_t {
  kPlain,    // row-major: [N,C,spatial…], as everywhere outside
  kBlocked,  // [N, ⌈C/16⌉, spatial…, 16]: sixteen channels of a position side by side. Lanes past C hold anything
};

inline constexpr std::int64_t kChannelBlock = 16;

inline std::int64_t channel_blocks(std::int64_t channels) { return (channels + kChannelBlock - 1) / kChannelBlock; }

// Whether a tensor has channels and positions to block: float32 [N,C,spatial…] that isn't empty.
inline bool can_be_blocked(const TensorType& type) {
  return type.type == DataType::kFloat32 && type.shape.rank() >= 3 && type.shape.elements() > 0;
}

inline std::size_t layout_bytes(const TensorType& type, Layout layout) {
  if (layout == Layout::kPlain) return type.size_bytes();
  const std::int64_t lanes = channel_blocks(type.shape[1]) * kChannelBlock;
  return type.size_bytes() / static_cast<std::size_t>(type.shape[1]) * static_cast<std::size_t>(lanes);
}

}  // namespace onnx_split
