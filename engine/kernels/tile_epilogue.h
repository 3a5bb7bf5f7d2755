// What the convolutions in the blocked layout do to a tile's sums.
#pragma once

#include <limits>

#include "engine/kernels/activation.h"
#include "engine/kernels/fma_tile.h"
#include "graph/layout.h"

namespace onnx_split {

// The activations that the tile itself knows; others come behind it, by activate_tile.
inline void set_clamp(const UnaryParams& activation, FmaTile& tile) {
  tile.clamp = activation.op == OpType::kRelu || activation.op == OpType::kClip;
  tile.low = activation.op == OpType::kRelu ? 0.0F : activation.min;
  tile.high = activation.op == OpType::kRelu ? std::numeric_limits<float>::infinity() : activation.max;
}

inline void activate_tile(const UnaryParams& activation, const FmaTile& tile, std::int64_t positions) {
  if (tile.clamp || activation.op == OpType::kIdentity) return;
  for (std::int64_t block = 0; block < tile.blocks; ++block) {
    float* y = tile.y + block * tile.y_block;
    const bool apart = tile.y_step != kChannelBlock;
    for (std::int64_t p = 0; p < (apart ? positions : 1); ++p, y += tile.y_step) {
      apply_activation(activation, y, y, static_cast<std::size_t>((apart ? 1 : positions) * kChannelBlock));
    }
  }
}

// y = activation((x + bias) + addend) for some positions of sixteen channels.
struct BlockFinish {
  const float* bias = nullptr;    // [16]; null: none
  const float* addend = nullptr;  // as y; null: none
};
void finish_blocks(const BlockFinish& finish, const UnaryParams& activation, const float* x, float* y,
                   std::int64_t positions);

}  // namespace onnx_split
