// Convolution in the blocked layout: every output position's sums over the whole depth, straight from the input. No
// im2col matrix; the weights are laid out once, in panels of as many output channels as the innermost product takes.
#include <algorithm>
#include <array>

#include "engine/cache_size.h"
#include "engine/choice.h"
#include "engine/kernels/conv_band.h"
#include "engine/kernels/factories.h"
#include "engine/kernels/laid_out_weights.h"
#include "engine/kernels/tile_epilogue.h"

namespace onnx_split {
namespace {

constexpr std::int64_t kBlock = kChannelBlock;
constexpr std::int64_t kNarrow = 16;
constexpr std::int64_t kMostPanel = 32;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

class DirectConvKernel final : public Kernel {
 public:
  DirectConvKernel(const KernelSpec& spec, const ConvGeometry& geometry, bool half)
      : geometry_(geometry),
        epilogue_(spec.epilogue),
        lanes_(is_plain(geometry) ? 1 : kBlock),
        bands_(geometry.window, lanes_, ceil_div(geometry.input_channels, lanes_), band_floats(geometry, spec.threads),
               divides_positions(geometry) ? std::max(1U, spec.threads) : 1) {
    make_panels();
    // A task takes all panels, unless threads would stay idle: each range of them copies the input again.
    const std::int64_t tasks = geometry.batch * bands_.count();
    const auto panels = static_cast<std::int64_t>(panels_.size());
    const std::int64_t wanted = spec.threads > 1 ? ceil_div(kTasks * spec.threads, tasks) : 1;
    ranges_ = std::min(panels, wanted);
    bias_.assign(static_cast<std::size_t>(channel_blocks(geometry.output_channels) * kBlock), 0.0F);
    constant_ = spec.constants.size() > 1 && spec.constants[1] != nullptr &&
                (!geometry.has_bias || spec.constants[2] != nullptr);
    weights_ = LaidOutWeights(weight_count_, half && constant_, *spec.pages);
    if (constant_) {
      lay_out(static_cast<const float*>(spec.constants[1]),
              geometry.has_bias ? static_cast<const float*>(spec.constants[2]) : nullptr);
    }
  }

  // Few input channels, as a picture has, aren't worth a block.
  static bool is_plain(const ConvGeometry& geometry) { return geometry.input_channels < kBlock; }

  std::size_t weight_bytes() const override { return !constant_ ? 0 : weights_.bytes() + bias_.size() * sizeof(float); }
  std::size_t workspace_bytes() const override {
    return static_cast<std::size_t>(bands_.scratch_floats()) * sizeof(float);
  }

  Expected<void> run(const RunContext& context) override {
    if (!constant_) lay_out(context.input(1), geometry_.has_bias ? context.input(2) : nullptr);
    const std::int64_t bands = geometry_.batch * bands_.count();
    context.pool.parallel_for(static_cast<std::size_t>(bands * ranges_), [&](std::size_t task, unsigned worker) {
      // Neighbours, which a thread takes one after the other, have the panels in common.
      const auto range = static_cast<std::int64_t>(task) / bands, band = static_cast<std::int64_t>(task) % bands;
      const auto panels = static_cast<std::int64_t>(panels_.size());
      compute(context, band / bands_.count(), bands_.band(band % bands_.count()), panels * range / ranges_,
              panels * (range + 1) / ranges_, context.scratch(worker));
    });
    return {};
  }

 private:
  // Tasks for each thread, so that all end at about the same time.
  static constexpr std::int64_t kTasks = 2;

  // What several threads divide: positions, so that each finds most of its input in its own cache; but panels where
  // there are far more weights than input, so that not each thread reads all of them. Four was best of 1 and 4,
  // measured on two cores that share no cache.
  static bool divides_positions(const ConvGeometry& geometry) {
    const std::int64_t weights =
        geometry.output_channels * geometry.input_channels / geometry.groups * geometry.kernel_elements();
    return 4 * input_floats(geometry) > weights;
  }

  static std::int64_t input_floats(const ConvGeometry& geometry) {
    return geometry.batch * geometry.input_channels * geometry.window.input_elements();
  }

  // How much input a band may have.
  static std::int64_t band_floats(const ConvGeometry& geometry, unsigned threads) {
    if (threads == 1) return cached_floats();
    const std::int64_t panels = ceil_div(geometry.output_channels, fma_tiles().panel);
    const std::int64_t bands = divides_positions(geometry) ? kTasks * threads : ceil_div(kTasks * threads, panels);
    return std::min(cached_floats(), ceil_div(input_floats(geometry), bands));
  }

  // A multiple of sixteen output channels, from a block's first, and the input channels that any of them sees.
  struct Panel {
    std::int64_t block = 0;
    bool narrow = false;
    std::size_t runs = 0;  // index into runs_
    std::int64_t first_input = 0, last_input = 0;
    std::int64_t weights = 0;  // where they begin
  };

  std::int64_t panel_size(const Panel& panel) const { return panel.narrow ? kNarrow : tiles_.panel; }

  std::int64_t weights_of(const Panel& panel) const {
    return (panel.last_input - panel.first_input) * geometry_.kernel_elements() * panel_size(panel);
  }

  void make_panels() {
    const std::int64_t outputs = geometry_.output_channels / geometry_.groups;
    const std::int64_t inputs = geometry_.input_channels / geometry_.groups;
    const std::int64_t blocks = channel_blocks(geometry_.output_channels);
    for (std::int64_t block = 0; block < blocks;) {
      Panel panel;
      panel.block = block;
      // A wide panel's channels are of one group.
      const std::int64_t last_wide = block * kBlock + tiles_.panel - 1;
      panel.narrow = block + tiles_.panel / kBlock > blocks || block * kBlock / outputs != last_wide / outputs;
      if (geometry_.groups == 1 && block + tiles_.panel / kBlock <= blocks) panel.narrow = false;
      const std::int64_t last = std::min(geometry_.output_channels, block * kBlock + panel_size(panel)) - 1;
      panel.first_input = block * kBlock / outputs * inputs;
      panel.last_input = (last / outputs + 1) * inputs;
      const bool same = !panels_.empty() && panels_.back().first_input == panel.first_input &&
                        panels_.back().last_input == panel.last_input;
      if (!same) runs_.push_back(bands_.runs(panel.first_input, panel.last_input));
      panel.runs = runs_.size() - 1;
      panel.weights = weight_count_;
      weight_count_ += weights_of(panel);
      panels_.push_back(panel);
      block += panel_size(panel) / kBlock;
    }
  }

  // In the order of ConvBands::runs; 0 where an output channel doesn't see an input channel.
  void lay_out(const float* weights, const float* bias) {
    const std::int64_t outputs = geometry_.output_channels / geometry_.groups;
    const std::int64_t inputs = geometry_.input_channels / geometry_.groups;
    const std::int64_t elements = geometry_.kernel_elements();
    std::array<float, kMostPanel> values;
    std::int64_t to = 0;
    for (const Panel& panel : panels_) {
      const std::int64_t size = panel_size(panel), first = panel.block * kBlock;
      for (std::int64_t unit = panel.first_input / lanes_; unit * lanes_ < panel.last_input; ++unit) {
        const std::int64_t begin = std::max(panel.first_input, unit * lanes_);
        const std::int64_t end = std::min(panel.last_input, (unit + 1) * lanes_);
        for (std::int64_t k = 0; k < elements; ++k) {
          for (std::int64_t input = begin; input < end; ++input, to += size) {
            // Those that see it are neighbours.
            const std::int64_t group = input / inputs;
            const std::int64_t first_seen = std::clamp(group * outputs, first, first + size);
            const std::int64_t last_seen = std::clamp((group + 1) * outputs, first_seen, first + size);
            const float* from = weights + (first_seen * inputs + input % inputs) * elements + k;
            values.fill(0.0F);
            for (std::int64_t output = first_seen; output < last_seen; ++output, from += inputs * elements) {
              values[static_cast<std::size_t>(output - first)] = *from;
            }
            weights_.put(to, values.data(), size);
          }
        }
      }
    }
    if (bias != nullptr) std::copy_n(bias, geometry_.output_channels, bias_.data());
  }

  void compute(const RunContext& context, std::int64_t sample, const ConvBand& band, std::int64_t first_panel,
               std::int64_t last_panel, float* scratch) const {
    const auto& axes = bands_.axes();
    const std::int64_t positions = geometry_.output_positions();
    const std::int64_t blocks = channel_blocks(geometry_.output_channels);
    const std::int64_t units = ceil_div(geometry_.input_channels, lanes_);
    const std::int64_t input_floats = geometry_.window.input_elements() * units * lanes_;
    const float* x = bands_.input(band, context.input(0) + sample * input_floats, scratch);
    const float* addend = epilogue_.add ? static_cast<const float*>(context.inputs.back().data()) : nullptr;
    for (std::int64_t i = first_panel; i < last_panel; ++i) {
      const Panel& panel = panels_[static_cast<std::size_t>(i)];
      FmaTile tile = tile_of(panel);
      // Equal pieces, rather than a short one at the end.
      const std::int64_t pieces = ceil_div(band.columns, tiles_.most_positions);
      if (i + 1 < last_panel) {
        const Panel& next = panels_[static_cast<std::size_t>(i + 1)];
        prefetch_meanwhile(tile, weights_.at(next.weights), weights_.bytes_of(weights_of(next)), band.rows * pieces);
      }
      const std::int64_t plane = (sample * blocks + panel.block) * positions;
      for (std::int64_t row = 0; row < band.rows; ++row) {
        const std::int64_t line = (band.slice * axes[1].output + band.row + row) * axes[2].output + band.column;
        for (std::int64_t piece = 0; piece < pieces; ++piece) {
          const std::int64_t begin = band.columns * piece / pieces, end = band.columns * (piece + 1) / pieces;
          tile.x = x + row * bands_.steps().position_row + begin * bands_.steps().position;
          const std::int64_t offset = (plane + line + begin) * kBlock;
          tile.y = context.output() + offset;
          tile.addend = addend == nullptr ? nullptr : addend + offset;
          tiles_.function(end - begin, tile.x_step, panel.narrow, weights_.half())(tile);
          activate_tile(epilogue_.activation, tile, end - begin);
          prefetch_further(tile);
        }
      }
    }
  }

  FmaTile tile_of(const Panel& panel) const {
    FmaTile tile;
    tile.x_step = bands_.steps().position;
    tile.runs = runs_[panel.runs].data();
    tile.run_count = static_cast<std::int64_t>(runs_[panel.runs].size());
    tile.weights = weights_.at(panel.weights);
    tile.y_block = geometry_.output_positions() * kBlock;
    tile.blocks = panel_size(panel) / kBlock;
    tile.bias = geometry_.has_bias ? bias_.data() + panel.block * kBlock : nullptr;
    set_clamp(epilogue_.activation, tile);
    return tile;
  }

  ConvGeometry geometry_;
  Epilogue epilogue_;
  const FmaTiles& tiles_ = fma_tiles();
  std::int64_t lanes_;  // of the input: 1 in the plain layout
  ConvBands bands_;
  std::vector<std::vector<DepthRun>> runs_;
  std::vector<Panel> panels_;
  std::int64_t weight_count_ = 0;
  LaidOutWeights weights_;
  std::vector<float> bias_;
  bool constant_ = false;  // weights and bias are laid out once
  std::int64_t ranges_ = 1;
};

ConvGeometry geometry_of(const KernelSpec& spec) {
  auto geometry = conv_geometry(spec.call());
  CHECK(geometry.has_value());
  return std::move(*geometry);
}

}  // namespace

std::vector<Layout> blocked_conv_inputs(const KernelSpec& spec) {
  const auto choice = parse_choice(spec.op, spec.call(), spec.choice);
  CHECK(choice.has_value());
  std::vector<Layout> layouts(spec.inputs.size(), Layout::kPlain);
  switch (choice->algorithm) {
    case Choice::Algorithm::kDirect:
      if (!DirectConvKernel::is_plain(geometry_of(spec))) layouts.front() = Layout::kBlocked;
      return layouts;
    case Choice::Algorithm::kDepthwise:
    case Choice::Algorithm::kWinograd2:
    case Choice::Algorithm::kWinograd4: layouts.front() = Layout::kBlocked; return layouts;
    default: return {};
  }
}

std::unique_ptr<Kernel> make_blocked_conv(const KernelSpec& spec) {
  const auto choice = parse_choice(spec.op, spec.call(), spec.choice);
  CHECK(choice.has_value());
  switch (choice->algorithm) {
    case Choice::Algorithm::kDepthwise: return make_depthwise(spec);
    case Choice::Algorithm::kWinograd2: return make_winograd(spec, 2, choice->half);
    case Choice::Algorithm::kWinograd4: return make_winograd(spec, 4, choice->half);
    default: break;
  }
  return std::make_unique<DirectConvKernel>(spec, geometry_of(spec), choice->half);
}

}  // namespace onnx_split
