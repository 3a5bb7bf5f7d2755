// Pools of sixteen channels at a time. They combine in the order of pool.cc, so that the bits are the same.
#include <algorithm>
#include <array>
#include <limits>

#include "engine/kernels/factories.h"
#include "engine/kernels/pool_divisors.h"
#include "engine/kernels/simd.h"
#include "engine/kernels/strided_rows.h"
#include "graph/ops/pool.h"

namespace onnx_split {
namespace {

constexpr std::int64_t kBlock = kChannelBlock;

template <bool kMax>
ONNX_SPLIT_INLINE void combine(const Float16& value, Float16& into) {
  into = kMax ? (value > into ? value : into) : into + value;
}

// The input's part of one window along the axes in front of the last.
struct WindowRows {
  const float* x;  // the first row; rows are `row` floats apart within a slice, slices `slice`
  std::int64_t slices, slice;
  std::int64_t rows, row;
};

// y[position] for all positions of an output row: first a window's rows, column by column, then its columns.
template <bool kMax>
ONNX_SPLIT_INLINE void pool_row(const WindowRows& rows, const WindowAxis& axis, float* y) {
  const Float16 identity = Float16{} + (kMax ? -std::numeric_limits<float>::infinity() : 0.0F);
  for (std::int64_t position = 0; position < axis.output; ++position) {
    Float16 result = identity;
    for (std::int64_t k = 0; k < axis.kernel; ++k) {
      const std::int64_t column = axis.begin(position) + k * axis.dilation;
      Float16 value = identity;
      if (column >= 0 && column < axis.input) {
        const float* x = rows.x + column * kBlock;
        for (std::int64_t s = 0; s < rows.slices; ++s) {
          for (std::int64_t r = 0; r < rows.rows; ++r) combine<kMax>(at(x + s * rows.slice + r * rows.row), value);
        }
      }
      if (k == 0) {
        result = value;
      } else {
        combine<kMax>(value, result);
      }
    }
    *reinterpret_cast<Float16*>(y + position * kBlock) = result;
  }
}
ONNX_SPLIT_CLONES void max_row(const WindowRows& rows, const WindowAxis& axis, float* y) {
  pool_row<true>(rows, axis, y);
}
ONNX_SPLIT_CLONES void add_row(const WindowRows& rows, const WindowAxis& axis, float* y) {
  pool_row<false>(rows, axis, y);
}
ONNX_SPLIT_CLONES void divide_block(float* y, float divisor) { *reinterpret_cast<Float16*>(y) /= divisor; }

// Window elements k of `axis` at `position` that lie in the input: [first, last).
std::pair<std::int64_t, std::int64_t> inside(const WindowAxis& axis, std::int64_t position) {
  const std::int64_t begin = axis.begin(position);
  const auto reached = [&](std::int64_t limit) {
    const std::int64_t steps = limit > begin ? (limit - begin + axis.dilation - 1) / axis.dilation : 0;
    return std::min(steps, axis.kernel);
  };
  return {reached(0), reached(axis.input)};
}

class BlockedPoolKernel final : public Kernel {
 public:
  BlockedPoolKernel(const PoolGeometry& geometry, bool is_max)
      : is_max_(is_max), planes_(geometry.batch * channel_blocks(geometry.channels)) {
    axes_.fill(WindowAxis{.input = 1, .output = 1});
    CHECK(geometry.window.axes.size() <= axes_.size());
    std::copy(geometry.window.axes.rbegin(), geometry.window.axes.rend(), axes_.rbegin());
    for (std::size_t i = 0; i < axes_.size(); ++i) divisors_[i] = pool_divisors(axes_[i], geometry.count_include_pad);
  }

  Expected<void> run(const RunContext& context) override {
    const std::int64_t rows = axes_[0].output * axes_[1].output;
    const std::int64_t elements = rows * axes_[2].output * kBlock;
    const std::int64_t threads = context.pool.threads();
    // By rows, as a convolution before it divides them: a thread meets its own.
    const std::int64_t fewest = threads > 1 ? std::min(rows, 2 * threads) : 1;
    const std::int64_t pieces = std::clamp((elements + kTaskElements - 1) / kTaskElements, fewest, rows);
    context.pool.parallel_for(static_cast<std::size_t>(pieces * planes_), [&](std::size_t task, unsigned) {
      const std::int64_t piece = static_cast<std::int64_t>(task) / planes_;
      const std::int64_t plane = static_cast<std::int64_t>(task) % planes_;
      for (std::int64_t row = rows * piece / pieces; row < rows * (piece + 1) / pieces; ++row) {
        compute(context, plane, row);
      }
    });
    return {};
  }

 private:
  // Row `row` of all slices together.
  void compute(const RunContext& context, std::int64_t plane, std::int64_t row) const {
    const auto& [z, y, x] = axes_;
    const std::int64_t oz = row / y.output, oy = row % y.output;
    const auto [z_first, z_last] = inside(z, oz);
    const auto [y_first, y_last] = inside(y, oy);
    const std::int64_t row_floats = x.input * kBlock, slice_floats = y.input * row_floats;
    const std::int64_t first =
        (z.begin(oz) + z_first * z.dilation) * slice_floats + (y.begin(oy) + y_first * y.dilation) * row_floats;
    const WindowRows rows{context.input(0) + plane * z.input * slice_floats + first,
                          std::max<std::int64_t>(0, z_last - z_first), z.dilation * slice_floats,
                          std::max<std::int64_t>(0, y_last - y_first), y.dilation * row_floats};
    float* to = context.output() + (plane * z.output * y.output + row) * x.output * kBlock;
    if (is_max_) return max_row(rows, x, to);
    add_row(rows, x, to);
    const std::int64_t count = divisors_[0][static_cast<std::size_t>(oz)] * divisors_[1][static_cast<std::size_t>(oy)];
    for (std::int64_t i = 0; i < x.output; ++i) {
      const std::int64_t all = count * divisors_[2][static_cast<std::size_t>(i)];
      if (all == 0) {
        std::fill_n(to + i * kBlock, kBlock, 0.0F);
      } else {
        divide_block(to + i * kBlock, static_cast<float>(all));
      }
    }
  }

  bool is_max_;
  std::int64_t planes_;  // of sixteen channels
  std::array<WindowAxis, 3> axes_;
  std::array<std::vector<std::int64_t>, 3> divisors_;
};

// As sum_of and max_of (row_math.h) combine a plane: sixteen partial results, then those in halves.
template <bool kMax>
ONNX_SPLIT_INLINE void combine_plane(const float* x, std::int64_t positions, float* y) {
  constexpr std::int64_t kPartial = 16;
  Float16 partial[kPartial];
  for (Float16& p : partial) p = Float16{} + (kMax ? -std::numeric_limits<float>::infinity() : 0.0F);
  std::int64_t i = 0;
  for (; i + kPartial <= positions; i += kPartial) {
    for (std::int64_t p = 0; p < kPartial; ++p) combine<kMax>(at(x + (i + p) * kBlock), partial[p]);
  }
  for (std::int64_t p = 0; i < positions; ++i, ++p) combine<kMax>(at(x + i * kBlock), partial[p]);
  for (std::int64_t half = kPartial / 2; half > 0; half /= 2) {
    for (std::int64_t p = 0; p < half; ++p) combine<kMax>(partial[p + half], partial[p]);
  }
  *reinterpret_cast<Float16*>(y) = partial[0];
}
ONNX_SPLIT_CLONES void max_plane(const float* x, std::int64_t positions, float* y) {
  combine_plane<true>(x, positions, y);
}
ONNX_SPLIT_CLONES void mean_plane(const float* x, std::int64_t positions, float* y) {
  combine_plane<false>(x, positions, y);
  *reinterpret_cast<Float16*>(y) /= static_cast<float>(positions);
}

class BlockedGlobalPoolKernel final : public Kernel {
 public:
  BlockedGlobalPoolKernel(const Shape& x, bool is_max)
      : planes_(x[0] * channel_blocks(x[1])), positions_(x.elements(2, x.rank())), is_max_(is_max) {}

  Expected<void> run(const RunContext& context) override {
    const std::int64_t per_task = std::max<std::int64_t>(1, kTaskElements / (positions_ * kBlock));
    const std::int64_t tasks = (planes_ + per_task - 1) / per_task;
    context.pool.parallel_for(static_cast<std::size_t>(tasks), [&](std::size_t task, unsigned) {
      const std::int64_t begin = static_cast<std::int64_t>(task) * per_task;
      for (std::int64_t plane = begin; plane < std::min(planes_, begin + per_task); ++plane) {
        const float* x = context.input(0) + plane * positions_ * kBlock;
        (is_max_ ? max_plane : mean_plane)(x, positions_, context.output() + plane * kBlock);
      }
    });
    return {};
  }

 private:
  std::int64_t planes_;  // of sixteen channels
  std::int64_t positions_;
  bool is_max_;
};

}  // namespace

std::unique_ptr<Kernel> make_blocked_pool(const KernelSpec& spec) {
  const auto geometry = pool_geometry(spec.call());
  CHECK(geometry.has_value());
  return std::make_unique<BlockedPoolKernel>(*geometry, spec.op == OpType::kMaxPool);
}

std::unique_ptr<Kernel> make_blocked_global_pool(const KernelSpec& spec) {
  return std::make_unique<BlockedGlobalPoolKernel>(spec.inputs.front().shape, spec.op == OpType::kGlobalMaxPool);
}

}  // namespace onnx_split
