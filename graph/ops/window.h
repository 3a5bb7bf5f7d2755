// A sliding window over the spatial axes, as convolutions and pools have it.
#pragma once

#include <cstdint>
#include <vector>

#include "graph/operators.h"

namespace onnx_split {

struct WindowAxis {
  std::int64_t input = 0;   // extent of the input along this axis
  std::int64_t output = 0;  // number of window positions
  std::int64_t kernel = 1;
  std::int64_t stride = 1;
  std::int64_t dilation = 1;
  std::int64_t pad_begin = 0;
  std::int64_t pad_end = 0;

  // Where the window of output position `position` begins in the input; may be negative (padding).
  std::int64_t begin(std::int64_t position) const { return position * stride - pad_begin; }
};

struct Window {
  std::vector<WindowAxis> axes;

  std::int64_t input_elements() const;
  std::int64_t output_elements() const;
  std::int64_t kernel_elements() const;
};

// What computes a box of a window's positions: the input's share and its padding, which is the border's own and nothing
// elsewhere. ceil_mode and count_include_pad keep their meaning.
struct WindowSlice {
  std::vector<Range> inputs;   // by spatial axis
  std::vector<Range> outputs;  // positions; more than were asked for where those can't stand alone
  Ints pads;

  // Writes the pads, and the spatial axes of what is read of input 0 and of what comes out.
  void apply(NodeSlice& slice, Region& input) const;
};

// `region` of an output [N,C,spatial…]. `counts_pads`: what ceil_mode adds beyond the padding mustn't become padding
// (AveragePool's count_include_pad).
WindowSlice slice_window(const Window& window, const Region& region, bool counts_pads = false);

// Reads strides, dilations and pads from the attributes for an input of shape [N,C,spatial…] and the given kernel
// extents, checks them (positive, right count, pads not negative, kernel fits) and computes the outputs.
// ceil_mode: the last window may start inside the input or its left padding and run over the right edge, but a window
// that would start in the right padding is dropped (as PyTorch, onnxruntime and ONNX 1.16's specification have it).
Expected<Window> window_of(const Attributes& attributes, const Shape& input, std::span<const std::int64_t> kernel,
                           bool ceil_mode);

}  // namespace onnx_split
