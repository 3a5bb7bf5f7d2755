// Resize: nearest along any axes, linear along the last two.
#include "graph/ops/resize.h"

#include "engine/kernels/factories.h"
#include "engine/kernels/strided_rows.h"

namespace onnx_split {
namespace {

class NearestKernel final : public Kernel {
 public:
  explicit NearestKernel(const ResizeGeometry& geometry) : tasks_(1, 1) {
    offsets_.resize(geometry.axes.size());
    std::int64_t rows = 1;
    std::int64_t stride = 1;
    for (std::size_t axis = geometry.axes.size(); axis-- > 0;) {
      const ResizeAxis& a = geometry.axes[axis];
      for (std::int64_t p = 0; p < a.output; ++p) offsets_[axis].push_back(a.nearest(p) * stride);
      stride *= a.input;
      if (axis + 1 < geometry.axes.size()) rows *= a.output;
    }
    tasks_ = RowTasks(rows, geometry.axes.back().output);
  }

  Expected<void> run(const RunContext& context) override {
    const std::vector<std::int64_t>& columns = offsets_.back();
    context.pool.parallel_for(tasks_.count(), [&](std::size_t task, unsigned) {
      tasks_.each(task, [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
        const float* x = context.input(0) + source_row(row);
        float* y = context.output() + row * static_cast<std::int64_t>(columns.size());
        for (std::int64_t i = begin; i < end; ++i) y[i] = x[columns[static_cast<std::size_t>(i)]];
      });
    });
    return {};
  }

 private:
  std::int64_t source_row(std::int64_t row) const {
    std::int64_t offset = 0;
    for (std::size_t axis = offsets_.size() - 1; axis-- > 0;) {
      const auto extent = static_cast<std::int64_t>(offsets_[axis].size());
      offset += offsets_[axis][static_cast<std::size_t>(row % extent)];
      row /= extent;
    }
    return offset;
  }

  std::vector<std::vector<std::int64_t>> offsets_;  // by axis, by output position, in elements
  RowTasks tasks_;
};

class BilinearKernel final : public Kernel {
 public:
  BilinearKernel(std::int64_t planes, const ResizeAxis& y, const ResizeAxis& x)
      : y_(y), x_(x), tasks_(planes * y.output, x.output) {
    for (std::int64_t p = 0; p < y.output; ++p) rows_.push_back(y.linear(p));
    for (std::int64_t p = 0; p < x.output; ++p) columns_.push_back(x.linear(p));
  }

  Expected<void> run(const RunContext& context) override {
    context.pool.parallel_for(tasks_.count(), [&](std::size_t task, unsigned) {
      tasks_.each(task, [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
        const LinearSource& source = rows_[static_cast<std::size_t>(row % y_.output)];
        const float* plane = context.input(0) + row / y_.output * y_.input * x_.input;
        const float* top = plane + source.low * x_.input;
        const float* bottom = plane + source.high * x_.input;
        float* y = context.output() + row * x_.output;
        for (std::int64_t i = begin; i < end; ++i) {
          const LinearSource& column = columns_[static_cast<std::size_t>(i)];
          const float above = mix(top[column.low], top[column.high], column.weight);
          const float below = mix(bottom[column.low], bottom[column.high], column.weight);
          y[i] = mix(above, below, source.weight);
        }
      });
    });
    return {};
  }

 private:
  static float mix(float low, float high, float weight) { return low * (1.0F - weight) + high * weight; }

  ResizeAxis y_;
  ResizeAxis x_;
  std::vector<LinearSource> rows_;
  std::vector<LinearSource> columns_;
  RowTasks tasks_;
};

}  // namespace

std::unique_ptr<Kernel> make_resize(const KernelSpec& spec) {
  const auto geometry = resize_geometry(spec.call());
  CHECK(geometry.has_value());
  const std::vector<ResizeAxis>& axes = geometry->axes;
  if (axes.empty()) return nullptr;
  for (const ResizeAxis& axis : axes) {
    if (axis.output > kMaxTableElements) return nullptr;
  }
  if (!geometry->is_linear) return std::make_unique<NearestKernel>(*geometry);
  std::int64_t planes = 1;
  for (std::size_t axis = 0; axis + 2 < axes.size(); ++axis) {
    if (!axes[axis].identity()) return nullptr;
    planes *= axes[axis].input;
  }
  if (axes.size() < 2) return nullptr;
  return std::make_unique<BilinearKernel>(planes, axes[axes.size() - 2], axes.back());
}

}  // namespace onnx_split
