// Depthwise convolution in the blocked layout, with as many output channels as input channels: sixteen side by side.
#include <algorithm>

#include "engine/kernels/conv_band.h"
#include "engine/kernels/factories.h"
#include "engine/kernels/tile_epilogue.h"

namespace onnx_split {
namespace {

constexpr std::int64_t kBlock = kChannelBlock;
constexpr std::int64_t kBandFloats = 16384;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

class DepthwiseKernel final : public Kernel {
 public:
  DepthwiseKernel(const KernelSpec& spec, const ConvGeometry& geometry)
      : geometry_(geometry),
        epilogue_(spec.epilogue),
        blocks_(channel_blocks(geometry.output_channels)),
        bands_(geometry.window, kBlock, 1, kBandFloats) {
    runs_ = bands_.elements();
    weights_.assign(static_cast<std::size_t>(blocks_ * kBlock * geometry.kernel_elements()), 0.0F);
    bias_.assign(static_cast<std::size_t>(blocks_ * kBlock), 0.0F);
    constant_ = spec.constants.size() > 1 && spec.constants[1] != nullptr &&
                (!geometry.has_bias || spec.constants[2] != nullptr);
    if (constant_) {
      lay_out(static_cast<const float*>(spec.constants[1]),
              geometry.has_bias ? static_cast<const float*>(spec.constants[2]) : nullptr);
    }
  }

  std::size_t weight_bytes() const override { return (weights_.size() + bias_.size()) * sizeof(float); }
  std::size_t workspace_bytes() const override {
    return static_cast<std::size_t>(bands_.scratch_floats()) * sizeof(float);
  }

  Expected<void> run(const RunContext& context) override {
    if (!constant_) lay_out(context.input(1), geometry_.has_bias ? context.input(2) : nullptr);
    const std::int64_t tasks = geometry_.batch * blocks_ * bands_.count();
    context.pool.parallel_for(static_cast<std::size_t>(tasks), [&](std::size_t task, unsigned worker) {
      const auto plane = static_cast<std::int64_t>(task) / bands_.count();
      compute(context, plane, bands_.band(static_cast<std::int64_t>(task) % bands_.count()), context.scratch(worker));
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

  // `plane`: of sixteen channels, all samples together.
  void compute(const RunContext& context, std::int64_t plane, const ConvBand& band, float* scratch) const {
    const auto& axes = bands_.axes();
    const std::int64_t block = plane % blocks_;
    const float* x =
        bands_.input(band, context.input(0) + plane * geometry_.window.input_elements() * kBlock, scratch);
    const float* addend = epilogue_.add ? static_cast<const float*>(context.inputs.back().data()) : nullptr;
    FmaTile tile;
    tile.x_step = bands_.steps().position;
    tile.runs = runs_.data();
    tile.run_count = static_cast<std::int64_t>(runs_.size());
    tile.weights = weights_.data() + block * geometry_.kernel_elements() * kBlock;
    tile.bias = geometry_.has_bias ? bias_.data() + block * kBlock : nullptr;
    set_clamp(epilogue_.activation, tile);
    const std::int64_t pieces = ceil_div(band.columns, tiles_.most_depthwise_positions);
    for (std::int64_t row = 0; row < band.rows; ++row) {
      const std::int64_t line = (band.slice * axes[1].output + band.row + row) * axes[2].output + band.column;
      for (std::int64_t piece = 0; piece < pieces; ++piece) {
        const std::int64_t begin = band.columns * piece / pieces, end = band.columns * (piece + 1) / pieces;
        const std::int64_t offset = (plane * geometry_.output_positions() + line + begin) * kBlock;
        tile.x = x + row * bands_.steps().position_row + begin * bands_.steps().position;
        tile.y = context.output() + offset;
        tile.addend = addend == nullptr ? nullptr : addend + offset;
        tiles_.depthwise(end - begin, tile.x_step)(tile);
        activate_tile(epilogue_.activation, tile, end - begin);
      }
    }
  }

  ConvGeometry geometry_;
  Epilogue epilogue_;
  const FmaTiles& tiles_ = fma_tiles();
  std::int64_t blocks_;
  ConvBands bands_;
  std::vector<DepthRun> runs_;
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
