// Depthwise convolution in the blocked layout, with as many output channels as input channels: sixteen side by side. It
// reads the input where it lies: at the edges, kernel elements that meet the padding are left out.
#include <algorithm>
#include <array>

#include "engine/kernels/factories.h"
#include "engine/kernels/strided_rows.h"
#include "engine/kernels/tile_epilogue.h"
#include "graph/ops/conv.h"

namespace onnx_split {
namespace {

constexpr std::int64_t kBlock = kChannelBlock;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Neighbouring output positions along one axis whose windows have the same elements in the input: [first, last).
struct Stretch {
  std::int64_t begin = 0, end = 0;  // positions
  std::int64_t first = 0, last = 0;
};

std::vector<Stretch> stretches_of(const WindowAxis& axis) {
  std::vector<Stretch> stretches;
  for (std::int64_t position = 0; position < axis.output; ++position) {
    const std::int64_t begin = axis.begin(position);
    const auto reached = [&](std::int64_t limit) {
      return std::min(axis.kernel, limit > begin ? ceil_div(limit - begin, axis.dilation) : 0);
    };
    const std::int64_t first = reached(0), last = std::max(first, reached(axis.input));
    if (stretches.empty() || stretches.back().first != first || stretches.back().last != last) {
      stretches.push_back({position, position, first, last});
    }
    stretches.back().end = position + 1;
  }
  return stretches;
}

class DepthwiseKernel final : public Kernel {
 public:
  DepthwiseKernel(const KernelSpec& spec, const ConvGeometry& geometry)
      : geometry_(geometry), epilogue_(spec.epilogue), blocks_(channel_blocks(geometry.output_channels)) {
    axes_.fill(WindowAxis{.input = 1, .output = 1});
    CHECK(geometry.window.axes.size() <= axes_.size());
    std::copy(geometry.window.axes.rbegin(), geometry.window.axes.rend(), axes_.rbegin());
    for (std::size_t i = 0; i < axes_.size(); ++i) stretches_[i] = stretches_of(axes_[i]);
    weights_.assign(static_cast<std::size_t>(blocks_ * kBlock * geometry.kernel_elements()), 0.0F);
    bias_.assign(static_cast<std::size_t>(blocks_ * kBlock), 0.0F);
    constant_ = spec.constants.size() > 1 && spec.constants[1] != nullptr &&
                (!geometry.has_bias || spec.constants[2] != nullptr);
    if (constant_) {
      lay_out(static_cast<const float*>(spec.constants[1]),
              geometry.has_bias ? static_cast<const float*>(spec.constants[2]) : nullptr);
    }
  }

  std::size_t weight_bytes() const override {
    return !constant_ ? 0 : (weights_.size() + bias_.size()) * sizeof(float);
  }

  std::size_t workspace_bytes() const override {
    return static_cast<std::size_t>(geometry_.kernel_elements()) * sizeof(DepthRun);
  }

  Expected<void> run(const RunContext& context) override {
    if (!constant_) lay_out(context.input(1), geometry_.has_bias ? context.input(2) : nullptr);
    const auto& [z, y, x] = axes_;
    const std::int64_t rows = z.output * y.output;
    // As the convolutions before and after it divide their work: a thread meets its own rows, or its own channels.
    const bool rows_first = 4 * rows * x.output > geometry_.output_channels;
    const std::int64_t threads = context.pool.threads();
    const std::int64_t fewest = rows_first && threads > 1 ? std::min(rows, 2 * threads) : 1;
    const std::int64_t pieces = std::clamp(ceil_div(rows * x.output * kBlock, kTaskElements), fewest, rows);
    const std::int64_t planes = geometry_.batch * blocks_;
    context.pool.parallel_for(static_cast<std::size_t>(planes * pieces), [&](std::size_t task, unsigned worker) {
      const auto index = static_cast<std::int64_t>(task);
      const std::int64_t piece = rows_first ? index / planes : index % pieces;
      const std::int64_t plane = rows_first ? index % planes : index / pieces;
      compute(context, plane, rows * piece / pieces, rows * (piece + 1) / pieces,
              reinterpret_cast<DepthRun*>(context.scratch(worker)));
    });
    return {};
  }

 private:
  // [block][kernel element][16]
  void lay_out(const float* weights, const float* bias) {
    const std::int64_t elements = geometry_.kernel_elements();
    for (std::int64_t c = 0; c < geometry_.output_channels; ++c) {
      for (std::int64_t k = 0; k < elements; ++k) {
        weights_[static_cast<std::size_t>((c / kBlock * elements + k) * kBlock + c % kBlock)] =
            weights[c * elements + k];
      }
    }
    if (bias != nullptr) std::copy_n(bias, geometry_.output_channels, bias_.data());
  }

  std::int64_t input_offset(std::int64_t z, std::int64_t y, std::int64_t x) const {
    return ((z * axes_[1].input + y) * axes_[2].input + x) * kBlock;
  }

  // The elements that are in the input, behind the first of them. Returns how many there are.
  std::int64_t put_runs(const Stretch& z, const Stretch& y, const Stretch& x, DepthRun* runs) const {
    const DepthRun* const first = runs;
    for (std::int64_t kz = z.first; kz < z.last; ++kz) {
      for (std::int64_t ky = y.first; ky < y.last; ++ky) {
        for (std::int64_t kx = x.first; kx < x.last; ++kx) {
          const std::int64_t offset =
              input_offset((kz - z.first) * axes_[0].dilation, (ky - y.first) * axes_[1].dilation,
                           (kx - x.first) * axes_[2].dilation);
          *runs++ = {offset, kBlock, (kz * axes_[1].kernel + ky) * axes_[2].kernel + kx};
        }
      }
    }
    return runs - first;
  }

  // `plane`: of sixteen channels, all samples together. Rows: of all slices.
  void compute(const RunContext& context, std::int64_t plane, std::int64_t first_row, std::int64_t last_row,
               DepthRun* runs) const {
    const auto& [z, y, x] = axes_;
    const std::int64_t block = plane % blocks_;
    const float* input = context.input(0) + plane * geometry_.window.input_elements() * kBlock;
    const float* addend = epilogue_.add ? static_cast<const float*>(context.inputs.back().data()) : nullptr;
    FmaTile tile;
    tile.runs = runs;
    tile.weights = weights_.data() + block * geometry_.kernel_elements() * kBlock;
    tile.bias = geometry_.has_bias ? bias_.data() + block * kBlock : nullptr;
    set_clamp(epilogue_.activation, tile);
    for (std::int64_t row = first_row; row < last_row;) {
      const std::int64_t oz = row / y.output, oy = row % y.output;
      const Stretch &in_z = stretch_of(0, oz), &in_y = stretch_of(1, oy);
      // The rows of this stretch that are left.
      const std::int64_t rows = std::min(last_row - row, in_y.end - oy);
      for (const Stretch& in_x : stretches_[2]) {
        tile.run_count = put_runs(in_z, in_y, in_x, runs);
        const float* x_first = input;
        if (tile.run_count > 0) {
          x_first += input_offset(z.begin(oz) + in_z.first * z.dilation, y.begin(oy) + in_y.first * y.dilation,
                                  x.begin(in_x.begin) + in_x.first * x.dilation);
        }
        const Box box{x_first, plane * geometry_.output_positions() + row * x.output + in_x.begin, rows,
                      in_x.end - in_x.begin};
        compute(box, tile, addend, context.output());
      }
      row += rows;
    }
  }

  // Output positions that meet the same kernel elements.
  struct Box {
    const float* x;         // what the first position's first element meets
    std::int64_t position;  // the first one, in the output
    std::int64_t rows, columns;
  };

  // Along its longer side, so that several positions are computed at once.
  void compute(const Box& box, FmaTile& tile, const float* addend, float* output) const {
    const std::int64_t x_row = axes_[1].stride * axes_[2].input * kBlock, x_column = axes_[2].stride * kBlock;
    const std::int64_t y_row = axes_[2].output * kBlock;
    const bool down = box.columns < box.rows && box.columns < tiles_.most_depthwise_positions / 2;
    const std::int64_t lines = down ? box.columns : box.rows, length = down ? box.rows : box.columns;
    tile.x_step = down ? x_row : x_column;
    tile.y_step = down ? y_row : kBlock;
    const std::int64_t pieces = ceil_div(length, tiles_.most_depthwise_positions);
    for (std::int64_t line = 0; line < lines; ++line) {
      for (std::int64_t piece = 0; piece < pieces; ++piece) {
        const std::int64_t begin = length * piece / pieces, end = length * (piece + 1) / pieces;
        const std::int64_t offset = box.position * kBlock + line * (down ? kBlock : y_row) + begin * tile.y_step;
        tile.x = box.x + line * (down ? x_column : x_row) + begin * tile.x_step;
        tile.y = output + offset;
        tile.addend = addend == nullptr ? nullptr : addend + offset;
        tiles_.depthwise(end - begin, tile.x_step)(tile);
        activate_tile(epilogue_.activation, tile, end - begin);
      }
    }
  }

  const Stretch& stretch_of(std::size_t axis, std::int64_t position) const {
    return *std::upper_bound(stretches_[axis].begin(), stretches_[axis].end(), position,
                             [](std::int64_t p, const Stretch& stretch) { return p < stretch.end; });
  }

  ConvGeometry geometry_;
  Epilogue epilogue_;
  const FmaTiles& tiles_ = fma_tiles();
  std::int64_t blocks_;
  std::array<WindowAxis, 3> axes_;
  std::array<std::vector<Stretch>, 3> stretches_;
  std::vector<float> weights_;
  std::vector<float> bias_;
  bool constant_ = false;
};

}  // namespace

std::unique_ptr<Kernel> make_depthwise(const KernelSpec& spec) {
  const auto geometry = conv_geometry(spec.call());
  CHECK(geometry.has_value());
  return std::make_unique<DepthwiseKernel>(spec, *geometry);
}

}  // namespace onnx_split
