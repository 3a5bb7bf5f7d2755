// How a tensor lies in memory inside of a session, and between the parts of a network on its way from one to another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "graph/region.h"
#include "graph/tensor.h"

namespace onnx_split {

enum class Layout : std::uint8_t {
  kPlain,    // row-major: [N,C,spatial…], as everywhere else
  kBlocked,  // [N, ⌈C/16⌉, spatial…, 16]: sixteen channels of a position side by side. Lanes past C hold anything
};

inline constexpr std::size_t kChannelAxis = 1;  // of [N,C,spatial…]
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

// The layouts of a graph's inputs and outputs, in the graph's order. Those that aren't listed are plain.
struct BoundaryLayouts {
  std::vector<Layout> inputs;
  std::vector<Layout> outputs;

  Layout input(std::size_t i) const { return i < inputs.size() ? inputs[i] : Layout::kPlain; }
  Layout output(std::size_t i) const { return i < outputs.size() ? outputs[i] : Layout::kPlain; }
};

// Whether a region of a value that can be blocked is blocks of it, all of them full: then its bytes are as many as in
// the plain layout, and it can be cut out of the value, and put into it, in the blocked one.
bool is_full_blocks(const TensorType& value, const Region& region);

// Such a region in the blocked tensor's own coordinates, [N, C/16, spatial…, 16]. A plain one stays as it is.
Region in_layout(const Region& region, Layout layout);

}  // namespace onnx_split
