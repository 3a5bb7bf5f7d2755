// Where in one block of memory each buffer lies, so that buffers that live at the same time don't overlap.
//
// Greedy by size, best fit: Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020
// (arXiv 2001.03288). A pure function; safe to call from any thread.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace onnx_split {

struct ArenaItem {
  std::size_t size_bytes = 0;
  std::size_t first = 0;  // the steps between which it lives, both included
  std::size_t last = 0;
};

struct ArenaPlan {
  std::vector<std::size_t> offsets;  // one for each item, multiples of kBufferAlignment
  std::size_t size_bytes = 0;        // of the block
};

ArenaPlan plan_arena(std::span<const ArenaItem> items);

}  // namespace onnx_split
