// Convolution as matrix products, tile by tile over the output positions: the im2col matrix is never there as a whole,
// and a tile of it is still in cache when it is multiplied. Its rows too are taken in blocks ("depth"), so that a tile
// can be wide enough for the product to run at full speed; the blocks' products add up in the output.
#include <cblas.h>

#include <algorithm>

#include "engine/blas_core.h"
#include "engine/choice.h"
#include "engine/kernels/activation.h"
#include "engine/kernels/factories.h"
#include "engine/kernels/im2col.h"
#include "engine/kernels/loose_columns.h"

namespace onnx_split {
namespace {

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

class ConvKernel final : public Kernel {
 public:
  ConvKernel(const KernelSpec& spec, const ConvGeometry& geometry, const Choice& choice)
      : geometry_(geometry),
        shape_(geometry.window),
        epilogue_(spec.epilogue),
        direct_(choice.algorithm == Choice::Algorithm::kDirect1x1),
        channels_(geometry.output_channels / geometry.groups),
        depth_(geometry.input_channels / geometry.groups * shape_.kernel_elements),
        tile_(std::min(choice.tile, shape_.output_plane)),
        depth_block_(direct_ ? depth_ : std::min(choice.depth, depth_)),
        rows_(std::min(choice.rows, channels_)),
        tiles_(ceil_div(shape_.output_plane, tile_)),
        fewest_rows_(multiplies_unpacked(blas_core()) ? (channels_ - 1) % rows_ + 1 : kUnpackedProducts + 1) {
    // A task takes a range of the row blocks: all of them, unless threads would stay idle. Each range repeats the
    // im2col, but multiplies the same blocks, so the result doesn't depend on it.
    const std::int64_t blocks = ceil_div(channels_, rows_);
    const std::int64_t tasks = geometry.batch * geometry.groups * tiles_;
    const std::int64_t wanted = spec.threads > 1 ? ceil_div(std::int64_t{2} * spec.threads, tasks) : 1;
    blocks_per_range_ = ceil_div(blocks, std::min(blocks, wanted));
    ranges_ = ceil_div(blocks, blocks_per_range_);
  }

  std::size_t workspace_bytes() const override {
    return static_cast<std::size_t>(matrix_elements() + most_loose_columns() * depth_block_) * sizeof(float);
  }

  Expected<void> run(const RunContext& context) override {
    const std::int64_t tasks = geometry_.batch * geometry_.groups * tiles_ * ranges_;
    context.pool.parallel_for(static_cast<std::size_t>(tasks), [&](std::size_t task, unsigned worker) {
      auto rest = static_cast<std::int64_t>(task);
      const std::int64_t range = rest % ranges_;
      rest /= ranges_;
      const std::int64_t tile = rest % tiles_;
      rest /= tiles_;
      compute(context, rest / geometry_.groups, rest % geometry_.groups, tile, range, context.scratch(worker));
    });
    return {};
  }

 private:
  std::int64_t matrix_elements() const { return direct_ ? 0 : depth_block_ * tile_; }

  // Those of a tile's columns that OpenBLAS would allocate memory for, at least for the last rows.
  std::int64_t loose_of(std::int64_t width, std::int64_t depth) const {
    const double products = static_cast<double>(fewest_rows_) * static_cast<double>(width) * static_cast<double>(depth);
    return products <= kUnpackedProducts ? loose_columns(width, depth) : 0;
  }
  std::int64_t most_loose_columns() const {
    std::int64_t most = 0;
    for (const std::int64_t width : {tile_, (shape_.output_plane - 1) % tile_ + 1}) {
      for (const std::int64_t depth : {depth_block_, (depth_ - 1) % depth_block_ + 1}) {
        most = std::max(most, loose_of(width, depth));
      }
    }
    return most;
  }

  void compute(const RunContext& context, std::int64_t sample, std::int64_t group, std::int64_t tile,
               std::int64_t range, float* scratch) const {
    const std::int64_t positions = shape_.output_plane;
    const std::int64_t begin = tile * tile_;
    const std::int64_t width = std::min(tile_, positions - begin);
    const std::int64_t row_begin = range * blocks_per_range_ * rows_;
    const std::int64_t row_end = std::min(channels_, row_begin + blocks_per_range_ * rows_);
    const float* x = context.input(0) + (sample * geometry_.groups + group) *
                                            (geometry_.input_channels / geometry_.groups) * shape_.input_plane;
    const float* weights = context.input(1) + group * channels_ * depth_;
    const std::int64_t first_channel = sample * geometry_.output_channels + group * channels_;
    float* y = context.output() + first_channel * positions + begin;

    for (std::int64_t d = 0; d < depth_; d += depth_block_) {
      const std::int64_t depth = std::min(depth_block_, depth_ - d);
      const float* matrix = direct_ ? x + begin : scratch;
      const std::int64_t stride = direct_ ? positions : tile_;
      if (!direct_) im2col(shape_, x, {d, d + depth, begin, begin + width}, scratch, stride);
      const std::int64_t loose = loose_of(width, depth);
      float* columns = scratch + matrix_elements();
      if (loose > 0) gather_columns(matrix + width - loose, stride, loose, depth, columns);
      for (std::int64_t row = row_begin; row < row_end; row += rows_) {
        const std::int64_t rows = std::min(rows_, channels_ - row);
        const float* w = weights + row * depth_ + d;
        float* result = y + row * positions;
        if (width > loose) {
          cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<blasint>(rows),
                      static_cast<blasint>(width - loose), static_cast<blasint>(depth), 1.0F, w,
                      static_cast<blasint>(depth_), matrix, static_cast<blasint>(stride), d == 0 ? 0.0F : 1.0F, result,
                      static_cast<blasint>(positions));
        }
        if (loose > 0) {
          multiply_columns(w, depth_, columns, result + width - loose, positions, rows, loose, depth, d > 0);
        }
      }
    }
    const float* bias = geometry_.has_bias ? context.input(2) + group * channels_ : nullptr;
    const float* addend =
        epilogue_.add ? context.inputs.back().as<float>().data() + first_channel * positions + begin : nullptr;
    for (std::int64_t row = row_begin; row < row_end; ++row) {
      finish_row(y + row * positions, static_cast<std::size_t>(width), bias == nullptr ? nullptr : bias + row,
                 addend == nullptr ? nullptr : addend + row * positions, epilogue_.activation);
    }
  }

  ConvGeometry geometry_;
  Im2colShape shape_;
  Epilogue epilogue_;
  bool direct_;
  std::int64_t channels_;  // output channels of a group
  std::int64_t depth_;     // rows of the im2col matrix
  std::int64_t tile_;      // output positions of a tile
  std::int64_t depth_block_;
  std::int64_t rows_;  // output channels multiplied at once
  std::int64_t tiles_;
  std::int64_t fewest_rows_;  // multiplied at once; too many for a product without packing where there is none
  std::int64_t blocks_per_range_ = 1;
  std::int64_t ranges_ = 1;
};

}  // namespace

std::unique_ptr<Kernel> make_conv(const KernelSpec& spec) {
  const auto geometry = conv_geometry(spec.call());
  const auto choice = parse_choice(spec.op, spec.call(), spec.choice);
  CHECK(geometry.has_value() && choice.has_value());
  return std::make_unique<ConvKernel>(spec, *geometry, *choice);
}

}  // namespace onnx_split
