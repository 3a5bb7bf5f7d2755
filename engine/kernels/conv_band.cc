#include "engine/kernels/conv_band.h"

#include <algorithm>
#include <cstring>

namespace onnx_split {
namespace {

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Input elements from the first that a window sees at the first of `positions` to the last at the last.
std::int64_t reach(const WindowAxis& axis, std::int64_t positions) {
  return (positions - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 1;
}

bool is_padded(const WindowAxis& axis) {
  return axis.pad_begin > 0 || axis.begin(axis.output - 1) + (axis.kernel - 1) * axis.dilation >= axis.input;
}

bool is_single(const WindowAxis& axis) { return axis.kernel == 1 && axis.stride == 1 && axis.output == axis.input; }

}  // namespace

ConvBands::ConvBands(const Window& window, std::int64_t lanes, std::int64_t units, std::int64_t most_floats,
                     std::int64_t multiple)
    : lanes_(lanes), units_(units) {
  axes_.fill(WindowAxis{.input = 1, .output = 1});
  CHECK(window.axes.size() <= axes_.size());
  std::copy(window.axes.rbegin(), window.axes.rend(), axes_.rbegin());
  copies_ = std::any_of(axes_.begin(), axes_.end(), is_padded);
  if (!copies_ && std::all_of(axes_.begin(), axes_.end(), is_single)) {
    const std::int64_t positions = axes_[0].output * axes_[1].output * axes_[2].output;
    axes_[2].input = axes_[2].output = positions;
    axes_[0].input = axes_[0].output = axes_[1].input = axes_[1].output = 1;
  }
  const WindowAxis &z = axes_[0], &y = axes_[1], &x = axes_[2];
  // As many rows as fit; if not even one does, a part of it.
  const auto floats = [&](std::int64_t rows, std::int64_t columns) {
    return units_ * lanes_ * z.kernel * reach(y, rows) * reach(x, columns);
  };
  constexpr std::int64_t kFewestColumns = 28;
  columns_ = x.output;
  for (std::int64_t bands = 2; columns_ > kFewestColumns && floats(1, columns_) > most_floats; ++bands) {
    columns_ = std::max(std::min(x.output, kFewestColumns), ceil_div(x.output, bands));
  }
  column_bands_ = ceil_div(x.output, columns_);
  rows_ = 1;
  while (column_bands_ == 1 && rows_ < y.output && floats(rows_ + 1, columns_) <= most_floats) ++rows_;
  row_bands_ = ceil_div(y.output, rows_);
  const auto raise = [&](std::int64_t& bands, std::int64_t most) {
    const std::int64_t fewest = bands;
    while (count() % multiple != 0 && bands < std::min(most, fewest + multiple)) ++bands;
    if (count() % multiple != 0) bands = fewest;
  };
  raise(row_bands_, y.output);
  raise(column_bands_, x.output);
  rows_ = ceil_div(y.output, row_bands_);
  columns_ = ceil_div(x.output, column_bands_);

  copied_rows_ = reach(y, rows_);
  copied_columns_ = reach(x, columns_);
  unit_floats_ = z.kernel * copied_rows_ * copied_columns_ * lanes_;
  const std::int64_t row = (copies_ ? copied_columns_ : x.input) * lanes_;
  steps_.unit = copies_ ? unit_floats_ : z.input * y.input * x.input * lanes_;
  steps_.slice = copies_ ? copied_rows_ * row : z.dilation * y.input * row;
  steps_.row = y.dilation * row;
  steps_.column = x.dilation * lanes_;
  steps_.position_row = y.stride * row;
  steps_.position = x.stride * lanes_;
}

ConvBand ConvBands::band(std::int64_t index) const {
  const auto share = [](std::int64_t size, std::int64_t i, std::int64_t bands) { return size * i / bands; };
  const std::int64_t row = index / column_bands_ % row_bands_, column = index % column_bands_;
  ConvBand band;
  band.slice = index / column_bands_ / row_bands_;
  band.row = share(axes_[1].output, row, row_bands_);
  band.rows = share(axes_[1].output, row + 1, row_bands_) - band.row;
  band.column = share(axes_[2].output, column, column_bands_);
  band.columns = share(axes_[2].output, column + 1, column_bands_) - band.column;
  return band;
}

const float* ConvBands::input(const ConvBand& band, const float* planes, float* scratch) const {
  const auto& [z, y, x] = axes_;
  const std::int64_t row_floats = x.input * lanes_, plane_floats = z.input * y.input * row_floats;
  if (!copies_) {
    return planes + (z.begin(band.slice) * y.input + y.begin(band.row)) * row_floats + x.begin(band.column) * lanes_;
  }
  const std::int64_t first_column = x.begin(band.column), columns = reach(x, band.columns);
  const std::int64_t left = std::clamp<std::int64_t>(-first_column, 0, columns);
  const std::int64_t right = std::clamp<std::int64_t>(x.input - first_column, left, columns);
  const auto bytes = static_cast<std::size_t>((right - left) * lanes_) * sizeof(float);
  for (std::int64_t unit = 0; unit < units_; ++unit) {
    for (std::int64_t k = 0; k < z.kernel; ++k) {
      const std::int64_t iz = z.begin(band.slice) + k * z.dilation;
      for (std::int64_t row = 0; row < reach(y, band.rows); ++row) {
        const std::int64_t iy = y.begin(band.row) + row;
        float* to = scratch + unit * unit_floats_ + (k * copied_rows_ + row) * copied_columns_ * lanes_;
        if (iz < 0 || iz >= z.input || iy < 0 || iy >= y.input || left == right) {
          std::fill_n(to, columns * lanes_, 0.0F);
          continue;
        }
        std::fill_n(to, left * lanes_, 0.0F);
        std::memcpy(to + left * lanes_,
                    planes + unit * plane_floats + (iz * y.input + iy) * row_floats + (first_column + left) * lanes_,
                    bytes);
        std::fill_n(to + right * lanes_, (columns - right) * lanes_, 0.0F);
      }
    }
  }
  return scratch;
}

std::vector<DepthRun> ConvBands::runs(std::int64_t first_channel, std::int64_t last_channel) const {
  const auto& [z, y, x] = axes_;
  std::vector<DepthRun> runs;
  std::int64_t depth = 0;
  for (std::int64_t unit = first_channel / lanes_; unit * lanes_ < last_channel; ++unit) {
    const std::int64_t first = std::max<std::int64_t>(0, first_channel - unit * lanes_);
    const std::int64_t length = std::min(lanes_, last_channel - unit * lanes_) - first;
    for (std::int64_t kz = 0; kz < z.kernel; ++kz) {
      for (std::int64_t ky = 0; ky < y.kernel; ++ky) {
        for (std::int64_t kx = 0; kx < x.kernel; ++kx) {
          const std::int64_t offset =
              unit * steps_.unit + kz * steps_.slice + ky * steps_.row + kx * steps_.column + first;
          // Neighbours become one.
          if (!runs.empty() && runs.back().offset + runs.back().length == offset) {
            runs.back().length += length;
          } else {
            runs.push_back({offset, length, depth});
          }
          depth += length;
        }
      }
    }
  }
  return runs;
}

}  // namespace onnx_split
