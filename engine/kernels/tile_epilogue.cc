#include "engine/kernels/tile_epilogue.h"

#include "engine/kernels/simd.h"

namespace onnx_split {
namespace {

constexpr std::int64_t kBlock = kChannelBlock;

ONNX_SPLIT_CLONES void add_and_clamp(const BlockFinish& finish, const FmaTile& clamp, const float* x, float* y,
                                     std::int64_t positions) {
  const Float16 bias = finish.bias == nullptr ? Float16{} : at(finish.bias);
  const Float16 low = Float16{} + clamp.low, high = Float16{} + clamp.high;
  for (std::int64_t p = 0; p < positions; ++p) {
    Float16 sum = at(x + p * kBlock);
    if (finish.bias != nullptr) sum += bias;
    if (finish.addend != nullptr) sum += at(finish.addend + p * kBlock);
    if (clamp.clamp) {
      sum = sum < low ? low : sum;
      sum = sum > high ? high : sum;
    }
    *reinterpret_cast<Float16*>(y + p * kBlock) = sum;
  }
}

}  // namespace

void finish_blocks(const BlockFinish& finish, const UnaryParams& activation, const float* x, float* y,
                   std::int64_t positions) {
  FmaTile clamp;
  set_clamp(activation, clamp);
  add_and_clamp(finish, clamp, x, y, positions);
  clamp.y = y;
  activate_tile(activation, clamp, positions);
}

}  // namespace onnx_split
