// Pools. A window's rows are combined first, element by element along the input row (contiguous, so it vectorises),
// then its columns: fewer operations than combining every element of every window, and the padding costs no branch.
#include "graph/ops/pool.h"

#include <algorithm>
#include <array>
#include <limits>

#include "engine/kernels/factories.h"
#include "engine/kernels/pool_divisors.h"
#include "engine/kernels/row_math.h"
#include "engine/kernels/simd.h"
#include "engine/kernels/strided_rows.h"

namespace onnx_split {
namespace {

// y[i] = combination over k of row[i·stride + k·dilation].
template <bool kMax>
ONNX_SPLIT_INLINE void combine_columns(const float* row, const WindowAxis& axis, float* y) {
  const std::int64_t stride = axis.stride;
  for (std::int64_t k = 0; k < axis.kernel; ++k) {
    const float* from = row + k * axis.dilation;
    for (std::int64_t i = 0; i < axis.output; ++i) {
      const float value = stride == 1 ? from[i] : stride == 2 ? from[2 * i] : from[i * stride];
      y[i] = k == 0 ? value : kMax ? (value > y[i] ? value : y[i]) : y[i] + value;
    }
  }
}
ONNX_SPLIT_CLONES void add_columns(const float* row, const WindowAxis& axis, float* y) {
  combine_columns<false>(row, axis, y);
}
ONNX_SPLIT_CLONES void max_columns(const float* row, const WindowAxis& axis, float* y) {
  combine_columns<true>(row, axis, y);
}

// Elements of an input row with the padding that the windows see.
std::int64_t padded_row_elements(const WindowAxis& x) {
  return std::max((x.output - 1) * x.stride + (x.kernel - 1) * x.dilation + 1, x.pad_begin + x.input);
}

class PoolKernel final : public Kernel {
 public:
  PoolKernel(const PoolGeometry& geometry, bool is_max) : is_max_(is_max), planes_(geometry.batch * geometry.channels) {
    std::array<WindowAxis, 3> axes;
    axes.fill(WindowAxis{.input = 1, .output = 1});
    CHECK(geometry.window.axes.size() <= axes.size());
    std::copy(geometry.window.axes.rbegin(), geometry.window.axes.rend(), axes.rbegin());
    z_ = axes[0];
    y_ = axes[1];
    x_ = axes[2];
    for (std::size_t i = 0; i < axes.size(); ++i) divisors_[i] = pool_divisors(axes[i], geometry.count_include_pad);
    row_elements_ = padded_row_elements(x_);
    planes_per_task_ = std::max<std::int64_t>(1, kTaskElements / (z_.input * y_.input * x_.input));
  }

  std::size_t workspace_bytes() const override { return static_cast<std::size_t>(row_elements_) * sizeof(float); }

  Expected<void> run(const RunContext& context) override {
    const std::int64_t tasks = (planes_ + planes_per_task_ - 1) / planes_per_task_;
    context.pool.parallel_for(static_cast<std::size_t>(tasks), [&](std::size_t task, unsigned worker) {
      const std::int64_t begin = static_cast<std::int64_t>(task) * planes_per_task_;
      float* row = context.scratch(worker);
      std::fill_n(row, row_elements_, identity());
      for (std::int64_t plane = begin; plane < std::min(planes_, begin + planes_per_task_); ++plane) {
        compute(context.input(0) + plane * z_.input * y_.input * x_.input,
                context.output() + plane * z_.output * y_.output * x_.output, row);
      }
    });
    return {};
  }

 private:
  float identity() const { return is_max_ ? -std::numeric_limits<float>::infinity() : 0.0F; }

  // `row` is a padded input row, whose padding holds the identity and stays.
  void compute(const float* x, float* y, float* row) const {
    for (std::int64_t oz = 0; oz < z_.output; ++oz) {
      for (std::int64_t oy = 0; oy < y_.output; ++oy, y += x_.output) {
        combine_rows(x, oz, oy, row + x_.pad_begin);
        if (is_max_) {
          max_columns(row, x_, y);
        } else {
          add_columns(row, x_, y);
          divide(oz, oy, y);
        }
      }
    }
  }

  void combine_rows(const float* x, std::int64_t oz, std::int64_t oy, float* row) const {
    std::fill_n(row, x_.input, identity());
    for (std::int64_t kz = 0; kz < z_.kernel; ++kz) {
      const std::int64_t iz = z_.begin(oz) + kz * z_.dilation;
      if (iz < 0 || iz >= z_.input) continue;
      for (std::int64_t ky = 0; ky < y_.kernel; ++ky) {
        const std::int64_t iy = y_.begin(oy) + ky * y_.dilation;
        if (iy < 0 || iy >= y_.input) continue;
        const float* from = x + (iz * y_.input + iy) * x_.input;
        is_max_ ? max_into(from, row, x_.input) : add_into(from, row, x_.input);
      }
    }
  }

  void divide(std::int64_t oz, std::int64_t oy, float* y) const {
    const std::int64_t count = divisors_[0][static_cast<std::size_t>(oz)] * divisors_[1][static_cast<std::size_t>(oy)];
    for (std::int64_t i = 0; i < x_.output; ++i) {
      const std::int64_t all = count * divisors_[2][static_cast<std::size_t>(i)];
      y[i] = all == 0 ? 0.0F : y[i] / static_cast<float>(all);
    }
  }

  bool is_max_;
  std::int64_t planes_;
  WindowAxis z_, y_, x_;
  std::array<std::vector<std::int64_t>, 3> divisors_;
  std::int64_t row_elements_;
  std::int64_t planes_per_task_;
};

class GlobalPoolKernel final : public Kernel {
 public:
  GlobalPoolKernel(std::int64_t planes, std::int64_t pixels, bool is_max)
      : planes_(planes),
        pixels_(pixels),
        is_max_(is_max),
        per_task_(std::max<std::int64_t>(1, kTaskElements / pixels)) {}

  Expected<void> run(const RunContext& context) override {
    const std::int64_t tasks = (planes_ + per_task_ - 1) / per_task_;
    context.pool.parallel_for(static_cast<std::size_t>(tasks), [&](std::size_t task, unsigned) {
      const std::int64_t begin = static_cast<std::int64_t>(task) * per_task_;
      for (std::int64_t plane = begin; plane < std::min(planes_, begin + per_task_); ++plane) {
        const float* x = context.input(0) + plane * pixels_;
        context.output()[plane] = is_max_ ? max_of(x, pixels_) : sum_of(x, pixels_) / static_cast<float>(pixels_);
      }
    });
    return {};
  }

 private:
  std::int64_t planes_;
  std::int64_t pixels_;
  bool is_max_;
  std::int64_t per_task_;
};

}  // namespace

std::unique_ptr<Kernel> make_pool(const KernelSpec& spec) {
  const auto geometry = pool_geometry(spec.call());
  CHECK(geometry.has_value());
  for (const WindowAxis& axis : geometry->window.axes) {
    if (padded_row_elements(axis) > kMaxTableElements) return nullptr;
  }
  return std::make_unique<PoolKernel>(*geometry, spec.op == OpType::kMaxPool);
}

std::unique_ptr<Kernel> make_global_pool(const KernelSpec& spec) {
  const Shape& x = spec.inputs.front().shape;
  return std::make_unique<GlobalPoolKernel>(x[0] * x[1], x.elements(2, x.rank()), spec.op == OpType::kGlobalMaxPool);
}

}  // namespace onnx_split
