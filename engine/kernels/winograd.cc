// 3×3 convolution with stride 1 by Winograd's minimal filtering, in the blocked layout: the tiles of a band are
// transformed, multiplied with the transformed weights, one matrix for each of a tile's (m+2)² elements, and
// transformed back. Threads have bands of their own where the values are more than the weights, which each of them
// reads; elsewhere they share each band, and each reads its part of the weights.
#include <algorithm>
#include <array>
#include <cstring>

#include "engine/cache_size.h"
#include "engine/choice.h"
#include "engine/kernels/factories.h"
#include "engine/kernels/laid_out_weights.h"
#include "engine/kernels/tile_epilogue.h"
#include "engine/kernels/winograd_transform.h"
#include "graph/ops/conv.h"

namespace onnx_split {
namespace {

constexpr std::int64_t kBlock = kChannelBlock;
constexpr std::int64_t kMostElements = 36;  // of a transformed kernel, for F(4×4,3×3)

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Transformed inputs and products of the tiles that are computed together: what the cache of one core holds, but at
// least so many tiles that reading the weights doesn't cost more than multiplying them.
constexpr std::int64_t kFewestTiles = 28;
constexpr std::int64_t kFewestTilesApart = kFewestTiles / 2;
constexpr std::int64_t kLargeWeights = 1024 * 1024;  // floats
constexpr std::int64_t kFewestTilesOfLarge = 64;

class WinogradKernel final : public Kernel {
 public:
  WinogradKernel(const KernelSpec& spec, const ConvGeometry& geometry, std::int64_t outputs, bool half)
      : geometry_(geometry),
        epilogue_(spec.epilogue),
        m_(outputs),
        n_(winograd_inputs(outputs)),
        y_(geometry.window.axes[0]),
        x_(geometry.window.axes[1]),
        input_blocks_(channel_blocks(geometry.input_channels)),
        output_blocks_(channel_blocks(geometry.output_channels)),
        tile_rows_(ceil_div(y_.output, m_)),
        tile_columns_(ceil_div(x_.output, m_)) {
    const std::int64_t tiles = tile_rows_ * tile_columns_;
    const std::int64_t tile_floats = n_ * n_ * (input_blocks_ + output_blocks_) * kBlock;
    const bool large = n_ * n_ * geometry.input_channels * geometry.output_channels > kLargeWeights;
    std::int64_t most = std::max(cached_floats() / tile_floats, large ? kFewestTilesOfLarge : kFewestTiles);
    threads_ = spec.threads;
    apart_ = threads_ > 1 && tiles >= threads_ * kFewestTilesApart &&
             geometry.input_channels * geometry.output_channels <= tiles * (input_blocks_ + output_blocks_) * kBlock;
    if (apart_) {
      bands_ = ceil_div(ceil_div(tiles, most), threads_) * threads_;
    } else {
      bands_ = ceil_div(tiles, most * threads_);  // each brings a cache
    }
    band_tiles_ = ceil_div(tiles, bands_);
    bands_ = ceil_div(tiles, band_tiles_);
    for (std::int64_t block = 0; block < input_blocks_; ++block) {
      const std::int64_t channels = std::min(kBlock, geometry.input_channels - block * kBlock);
      runs_.push_back({block * band_tiles_ * kBlock, channels, block * kBlock});
    }
    panels_ = ceil_div(output_blocks_ * kBlock, tiles_.panel);
    bias_.assign(static_cast<std::size_t>(output_blocks_ * kBlock), 0.0F);
    constant_ = spec.constants.size() > 1 && spec.constants[1] != nullptr &&
                (!geometry.has_bias || spec.constants[2] != nullptr);
    weights_ =
        LaidOutWeights(n_ * n_ * geometry.input_channels * output_blocks_ * kBlock, half && constant_, *spec.pages);
    if (constant_) {
      lay_out(static_cast<const float*>(spec.constants[1]),
              geometry.has_bias ? static_cast<const float*>(spec.constants[2]) : nullptr);
    }
  }

  std::size_t weight_bytes() const override { return !constant_ ? 0 : weights_.bytes() + bias_.size() * sizeof(float); }
  std::size_t workspace_bytes() const override {
    const std::int64_t band = input_floats() + product_floats();
    // Of the shared one its share.
    return static_cast<std::size_t>((apart_ ? band : ceil_div(band, threads_)) + own_floats()) * sizeof(float);
  }

  Expected<void> run(const RunContext& context) override {
    if (!constant_) lay_out(context.input(1), geometry_.has_bias ? context.input(2) : nullptr);
    const std::int64_t bands = geometry_.batch * bands_;
    if (apart_) {
      context.pool.parallel_for(static_cast<std::size_t>(bands), [&](std::size_t index, unsigned worker) {
        compute_alone(context, band(static_cast<std::int64_t>(index)), context.scratch(worker));
      });
    } else {
      for (std::int64_t i = 0; i < bands; ++i) compute_together(context, band(i));
    }
    return {};
  }

 private:
  struct Band {
    std::int64_t sample, first, count;  // tiles
  };

  Band band(std::int64_t index) const {
    const std::int64_t first = index % bands_ * band_tiles_;
    return {index / bands_, first, std::min(band_tiles_, tile_rows_ * tile_columns_ - first)};
  }

  void compute_alone(const RunContext& context, const Band& band, float* scratch) const {
    float* products = scratch + input_floats();
    float* own = products + product_floats();
    for (std::int64_t block = 0; block < input_blocks_; ++block) {
      transform_inputs(context, band, block, {0, band.count}, scratch, own);
    }
    for (std::int64_t panel = 0; panel < panels_; ++panel) {
      for (std::int64_t element = 0; element < n_ * n_; ++element) {
        multiply(element, panel, band.count, scratch, products);
      }
    }
    for (std::int64_t block = 0; block < output_blocks_; ++block) {
      transform_outputs(context, band, block, {0, band.count}, products, own);
    }
  }

  // All threads, the same band: each reads its part of the weights.
  void compute_together(const RunContext& context, const Band& band) const {
    float* inputs = context.scratch(0);
    float* products = inputs + input_floats();
    const auto own = [&](unsigned worker) { return products + product_floats() + worker * own_floats(); };
    for_pieces(context.pool, input_blocks_, band, [&](std::int64_t block, Range tiles, unsigned worker) {
      transform_inputs(context, band, block, tiles, inputs, own(worker));
    });
    // A thread's are neighbouring panels, those whose products it then transforms.
    context.pool.parallel_for(static_cast<std::size_t>(panels_ * n_ * n_), [&](std::size_t task, unsigned) {
      const auto index = static_cast<std::int64_t>(task);
      multiply(index % (n_ * n_), index / (n_ * n_), band.count, inputs, products);
    });
    for_pieces(context.pool, output_blocks_, band, [&](std::int64_t block, Range tiles, unsigned worker) {
      transform_outputs(context, band, block, tiles, products, own(worker));
    });
  }

  struct Range {
    std::int64_t begin, end;
  };

  // Calls body(block, tiles, worker) for all tiles of the blocks, in as many pieces as keep all threads busy.
  template <class Body>
  void for_pieces(ThreadPool& pool, std::int64_t blocks, const Band& band, const Body& body) const {
    const std::int64_t pieces = std::min(band.count, ceil_div(2 * threads_, blocks));
    pool.parallel_for(static_cast<std::size_t>(blocks * pieces), [&](std::size_t task, unsigned worker) {
      const std::int64_t block = static_cast<std::int64_t>(task) / pieces,
                         piece = static_cast<std::int64_t>(task) % pieces;
      body(block, Range{band.count * piece / pieces, band.count * (piece + 1) / pieces}, worker);
    });
  }

  // Of a band: [n²][blocks][tiles][16].
  std::int64_t input_floats() const { return n_ * n_ * input_blocks_ * band_tiles_ * kBlock; }
  std::int64_t product_floats() const { return n_ * n_ * output_blocks_ * band_tiles_ * kBlock; }
  // Of a thread: a tile's inputs with padding, or its outputs.
  std::int64_t own_floats() const { return n_ * n_ * kBlock; }

  // [panel][n²][input channel][panel's channels]; the last panel may be narrow.
  void lay_out(const float* weights, const float* bias) {
    const std::int64_t channel = geometry_.input_channels * 9;
    std::array<float, kMostElements * kBlock> transformed{};
    for (std::int64_t block = 0; block < output_blocks_; ++block) {
      const std::int64_t first = block * kBlock, panel = first / tiles_.panel;
      const std::int64_t count = std::min(kBlock, geometry_.output_channels - first);
      if (count < kBlock) transformed.fill(0.0F);
      for (std::int64_t input = 0; input < geometry_.input_channels; ++input) {
        transform_kernels(m_, weights + first * channel + input * 9, channel, count, transformed.data(), kBlock);
        const std::int64_t to = input * panel_width(panel) + first % tiles_.panel;
        for (std::int64_t i = 0; i < n_ * n_; ++i) {
          weights_.put(weights_of(panel, i) + to, transformed.data() + i * kBlock, kBlock);
        }
      }
    }
    if (bias != nullptr) std::copy_n(bias, geometry_.output_channels, bias_.data());
  }

  // Where those of a panel's element begin.
  std::int64_t weights_of(std::int64_t panel, std::int64_t element) const {
    return (panel * n_ * n_ * tiles_.panel + element * panel_width(panel)) * geometry_.input_channels;
  }

  std::int64_t panel_width(std::int64_t panel) const {
    return std::min(tiles_.panel, output_blocks_ * kBlock - panel * tiles_.panel);
  }

  void transform_inputs(const RunContext& context, const Band& band, std::int64_t block, Range tiles, float* inputs,
                        float* edge) const {
    const std::int64_t row = x_.input * kBlock, plane = y_.input * row;
    const std::int64_t step = input_blocks_ * band_tiles_ * kBlock;
    const float* x = context.input(0) + (band.sample * input_blocks_ + block) * plane;
    for (std::int64_t i = tiles.begin; i < tiles.end; ++i) {
      const std::int64_t top = (band.first + i) / tile_columns_ * m_ - y_.pad_begin;
      const std::int64_t left = (band.first + i) % tile_columns_ * m_ - x_.pad_begin;
      float* to = inputs + (block * band_tiles_ + i) * kBlock;
      const bool inside = top >= 0 && left >= 0 && top + n_ <= y_.input && left + n_ <= x_.input;
      if (inside) {
        transform_input(m_, x + top * row + left * kBlock, row, to, step);
      } else {
        copy_edge(x, top, left, edge);
        transform_input(m_, edge, n_ * kBlock, to, step);
      }
    }
  }

  // A tile's inputs with the padding around them.
  void copy_edge(const float* x, std::int64_t top, std::int64_t left, float* edge) const {
    const std::int64_t begin = std::clamp<std::int64_t>(-left, 0, n_);
    const std::int64_t end = std::clamp<std::int64_t>(x_.input - left, begin, n_);
    std::fill_n(edge, own_floats(), 0.0F);
    if (begin == end) return;
    for (std::int64_t i = 0; i < n_; ++i) {
      if (top + i < 0 || top + i >= y_.input) continue;
      std::memcpy(edge + (i * n_ + begin) * kBlock, x + ((top + i) * x_.input + left + begin) * kBlock,
                  static_cast<std::size_t>((end - begin) * kBlock) * sizeof(float));
    }
  }

  // One of the (m+2)² products of a panel of output channels.
  void multiply(std::int64_t element, std::int64_t panel, std::int64_t count, const float* inputs,
                float* products) const {
    const std::int64_t pieces = ceil_div(count, tiles_.most_positions);
    const std::int64_t first_block = panel * (tiles_.panel / kBlock);
    const bool narrow = panel_width(panel) < tiles_.panel;
    FmaTile tile;
    tile.x_step = kBlock;
    tile.runs = runs_.data();
    tile.run_count = input_blocks_;
    tile.y_block = band_tiles_ * kBlock;
    tile.weights = weights_.at(weights_of(panel, element));
    tile.blocks = panel_width(panel) / kBlock;
    const bool last = element + 1 == n_ * n_;
    const std::int64_t next = last ? panel + 1 : panel;
    if (next < panels_) {
      prefetch_meanwhile(tile, weights_.at(weights_of(next, last ? 0 : element + 1)),
                         weights_.bytes_of(geometry_.input_channels * panel_width(next)), pieces);
    }
    for (std::int64_t piece = 0; piece < pieces; ++piece) {
      const std::int64_t begin = count * piece / pieces, end = count * (piece + 1) / pieces;
      tile.x = inputs + (element * input_blocks_ * band_tiles_ + begin) * kBlock;
      tile.y = products + ((element * output_blocks_ + first_block) * band_tiles_ + begin) * kBlock;
      tiles_.function(end - begin, kBlock, narrow, weights_.half())(tile);
      prefetch_further(tile);
    }
  }

  void transform_outputs(const RunContext& context, const Band& band, std::int64_t block, Range tiles,
                         const float* products, float* result) const {
    const std::int64_t step = output_blocks_ * band_tiles_ * kBlock;
    const float* addend = epilogue_.add ? static_cast<const float*>(context.inputs.back().data()) : nullptr;
    const std::int64_t plane = (band.sample * output_blocks_ + block) * y_.output * x_.output;
    BlockFinish finish;
    finish.bias = geometry_.has_bias ? bias_.data() + block * kBlock : nullptr;
    for (std::int64_t i = tiles.begin; i < tiles.end; ++i) {
      transform_output(m_, products + (block * band_tiles_ + i) * kBlock, step, result);
      const std::int64_t top = (band.first + i) / tile_columns_ * m_, left = (band.first + i) % tile_columns_ * m_;
      const std::int64_t columns = std::min(m_, x_.output - left);
      for (std::int64_t r = 0; r < std::min(m_, y_.output - top); ++r) {
        const std::int64_t offset = (plane + (top + r) * x_.output + left) * kBlock;
        finish.addend = addend == nullptr ? nullptr : addend + offset;
        finish_blocks(finish, epilogue_.activation, result + r * m_ * kBlock, context.output() + offset, columns);
      }
    }
  }

  ConvGeometry geometry_;
  Epilogue epilogue_;
  const FmaTiles& tiles_ = fma_tiles();
  std::int64_t m_, n_;  // a tile's outputs and inputs along each axis
  WindowAxis y_, x_;
  std::int64_t input_blocks_, output_blocks_;
  std::int64_t tile_rows_, tile_columns_;
  std::int64_t bands_ = 1, band_tiles_ = 1;
  std::int64_t threads_ = 1;
  bool apart_ = false;          // each thread has bands of its own
  std::vector<DepthRun> runs_;  // the input channels of a transformed tile
  std::int64_t panels_ = 0;
  LaidOutWeights weights_;
  std::vector<float> bias_;
  bool constant_ = false;
};

}  // namespace

std::unique_ptr<Kernel> make_winograd(const KernelSpec& spec, std::int64_t outputs, bool half) {
  const auto geometry = conv_geometry(spec.call());
  CHECK(geometry.has_value());
  return std::make_unique<WinogradKernel>(spec, *geometry, outputs, half);
}

}  // namespace onnx_split
