// What a convolution reads for a band of its output: some rows of one slice, or a part of one row. Where there is
// padding, the input's share is copied with it, so that the inner loops have no edges.
#pragma once

#include <array>
#include <vector>

#include "engine/kernels/fma_tile.h"
#include "graph/ops/conv.h"

namespace onnx_split {

// Positions of the output: rows [row, row + rows) of slice `slice`, columns [column, column + columns).
struct ConvBand {
  std::int64_t slice = 0;
  std::int64_t row = 0, rows = 0;
  std::int64_t column = 0, columns = 0;
};

// Where a band's window elements lie behind its first position's first one, in floats.
struct ConvSteps {
  std::int64_t unit = 0;   // from a unit's plane to the next: a unit is a channel, or sixteen side by side
  std::int64_t slice = 0;  // from a kernel element to the next along each axis
  std::int64_t row = 0;
  std::int64_t column = 0;
  std::int64_t position_row = 0;  // from an output position to the next
  std::int64_t position = 0;
};

class ConvBands {
 public:
  // `lanes`: floats of a unit at one position, 1 or 16. `units`: of which a band's input is copied together.
  // `most_floats`: of a band's input, so that it stays in the cache of a core while all output channels use it.
  // `multiple`: count() is one of this number, if there are rows or columns enough.
  ConvBands(const Window& window, std::int64_t lanes, std::int64_t units, std::int64_t most_floats,
            std::int64_t multiple);

  // Slices, rows, columns; a window of single elements without strides or padding has one row of all positions.
  const std::array<WindowAxis, 3>& axes() const { return axes_; }
  std::int64_t count() const { return axes_[0].output * row_bands_ * column_bands_; }
  ConvBand band(std::int64_t index) const;

  bool copies() const { return copies_; }
  std::int64_t scratch_floats() const { return copies_ ? units_ * unit_floats_ : 0; }
  const ConvSteps& steps() const { return steps_; }

  // The floats of a band's first position: in `planes`, the units' input, or copied from there to `scratch`.
  const float* input(const ConvBand& band, const float* planes, float* scratch) const;

  // The depth of some channels, in the order unit, slice, row, column, lane.
  std::vector<DepthRun> runs(std::int64_t first_channel, std::int64_t last_channel) const;

 private:
  std::array<WindowAxis, 3> axes_;
  std::int64_t lanes_;
  std::int64_t units_;
  bool copies_;
  std::int64_t rows_ = 1, columns_ = 1;  // of the largest band
  std::int64_t row_bands_ = 1, column_bands_ = 1;
  std::int64_t copied_rows_ = 0, copied_columns_ = 0;
  std::int64_t unit_floats_ = 0;  // of the copy
  ConvSteps steps_;
};

}  // namespace onnx_split
