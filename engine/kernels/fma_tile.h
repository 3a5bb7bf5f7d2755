// The innermost sums of all convolutions in the blocked layout (graph/layout.h): for a few output positions, those of
// a panel of output channels, or of sixteen channels each by itself. They stay in registers over the whole depth.
// Written with Highway for AVX-512, AVX2, SSE4 and NEON; the best that the processor has is chosen when the program
// runs.
//
// A sum is one chain of fused multiplications and additions in the order of the depth, whatever the vector's width and
// however many positions are computed together: every such processor gives the same bits. (Processors without FMA,
// x86-64 before 2013, round each product.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace onnx_split {

// Consecutive floats of the depth: `length` of them, from `offset` behind the position's first float. They meet the
// weights from `depth` on.
struct DepthRun {
  std::int64_t offset = 0;
  std::int64_t length = 0;
  std::int64_t depth = 0;
};

struct FmaTile {
  const float* x = nullptr;  // the first position's floats; a position is `x_step` floats behind the one before
  std::int64_t x_step = 0;
  const DepthRun* runs = nullptr;
  std::int64_t run_count = 0;
  const void* weights = nullptr;  // [depth][panel]: floats, or half floats

  float* y = nullptr;             // [panel / 16] blocks `y_block` floats apart, of positions `y_step` apart, of sixteen
  std::int64_t y_step = 16;       // of the addend too
  std::int64_t y_block = 0;       // of the addend too
  std::int64_t blocks = 1;        // to write: the panel's last ones may not be there
  const float* bias = nullptr;    // [panel]; null: none
  const float* addend = nullptr;  // as y; null: none
  float low = 0.0F, high = 0.0F;  // where `clamp`: what is smaller or larger is replaced; NaN stays
  bool clamp = false;

  // What to bring into the second cache meanwhile: `next_lines` cache lines for each run, from `next` on.
  const std::byte* next = nullptr;
  const std::byte* next_end = nullptr;
  std::int64_t next_lines = 0;
};

// Of `bytes` from `next` on, `calls` with the same tile bring an equal share each, at least a line for each run, until
// all is there. Null: nothing.
void prefetch_meanwhile(FmaTile& tile, const void* next, std::int64_t bytes, std::int64_t calls);
// To be called between them.
void prefetch_further(FmaTile& tile);

// y = clamp((Σ x · weights + bias) + addend).
// Depthwise: a run is one kernel element of sixteen channels, and one of the depth: weights are [depth][16], and each
// channel meets its own.
using FmaTileFunction = void (*)(const FmaTile& tile);

struct FmaTiles {
  std::int64_t panel = 16;          // output channels of a panel of weights: 16 or 32
  std::int64_t most_positions = 1;  // of one call
  // For `positions` in [1, most_positions] and a panel of `panel` channels, or of 16 (`narrow`); `half`: its weights
  // are half floats.
  FmaTileFunction (*function)(std::int64_t positions, std::int64_t x_step, bool narrow, bool half) = nullptr;
  std::int64_t most_depthwise_positions = 1;
  // The weights are floats.
  FmaTileFunction (*depthwise)(std::int64_t positions, std::int64_t x_step) = nullptr;
};

// Of this processor.
const FmaTiles& fma_tiles();

// The same of each instruction set that this processor and this program have, with its name, for tests.
std::vector<std::pair<std::string, FmaTiles>> all_fma_tiles();

}  // namespace onnx_split
