// ReduceSum, ReduceMean, ReduceMax. Where the last axis is reduced, each output is the combination of whole rows; where
// it stays, whole rows of outputs are combined element by element.
#include "graph/ops/reduce.h"

#include <limits>

#include "engine/kernels/factories.h"
#include "engine/kernels/row_math.h"
#include "engine/kernels/strided_rows.h"

namespace onnx_split {
namespace {

class ReduceKernel final : public Kernel {
 public:
  ReduceKernel(OpType op, const ReduceGeometry& geometry)
      : is_max_(op == OpType::kReduceMax),
        divisor_(op == OpType::kReduceMean ? static_cast<float>(geometry.count()) : 1.0F),
        kept_({geometry.kept_strides}, geometry.kept),
        reduced_({geometry.reduced_strides}, geometry.reduced),
        by_rows_(kept_.strides[0].back() == 1 && kept_.row_elements() > 1),
        tasks_(kept_.rows(), kept_.row_elements()),
        per_task_(std::max<std::int64_t>(1, kTaskElements / geometry.count())) {}

  Expected<void> run(const RunContext& context) override {
    if (by_rows_) {
      context.pool.parallel_for(tasks_.count(), [&](std::size_t task, unsigned) {
        tasks_.each(task, [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
          combine_rows(context.input(0) + kept_.offset(0, row) + begin,
                       context.output() + row * kept_.row_elements() + begin, end - begin);
        });
      });
      return {};
    }
    const std::int64_t outputs = kept_.rows() * kept_.row_elements();
    const std::int64_t tasks = (outputs + per_task_ - 1) / per_task_;
    context.pool.parallel_for(static_cast<std::size_t>(tasks), [&](std::size_t task, unsigned) {
      const std::int64_t begin = static_cast<std::int64_t>(task) * per_task_;
      for (std::int64_t i = begin; i < std::min(outputs, begin + per_task_); ++i) {
        const std::int64_t row = i / kept_.row_elements();
        const std::int64_t column = i % kept_.row_elements() * kept_.strides[0].back();
        context.output()[i] = combine(context.input(0) + kept_.offset(0, row) + column) / divisor_;
      }
    });
    return {};
  }

 private:
  float identity() const { return is_max_ ? -std::numeric_limits<float>::infinity() : 0.0F; }

  void combine_rows(const float* x, float* y, std::int64_t count) const {
    std::fill_n(y, count, identity());
    for (std::int64_t row = 0; row < reduced_.rows(); ++row) {
      const float* from = x + reduced_.offset(0, row);
      for (std::int64_t i = 0; i < reduced_.row_elements(); ++i, from += reduced_.strides[0].back()) {
        is_max_ ? max_into(from, y, count) : add_into(from, y, count);
      }
    }
    if (divisor_ == 1.0F) return;
    for (std::int64_t i = 0; i < count; ++i) y[i] /= divisor_;
  }

  float combine(const float* x) const {
    const std::int64_t step = reduced_.strides[0].back();
    float all = identity();
    for (std::int64_t row = 0; row < reduced_.rows(); ++row) {
      const float* from = x + reduced_.offset(0, row);
      if (step == 1) {
        const float part = is_max_ ? max_of(from, reduced_.row_elements()) : sum_of(from, reduced_.row_elements());
        all = is_max_ ? std::max(all, part) : all + part;
        continue;
      }
      for (std::int64_t i = 0; i < reduced_.row_elements(); ++i) {
        all = is_max_ ? std::max(all, from[i * step]) : all + from[i * step];
      }
    }
    return all;
  }

  bool is_max_;
  float divisor_;
  StridedRows kept_;
  StridedRows reduced_;
  bool by_rows_;
  RowTasks tasks_;
  std::int64_t per_task_;
};

}  // namespace

std::unique_ptr<Kernel> make_reduce(const KernelSpec& spec) {
  const auto geometry = reduce_geometry(spec.call());
  CHECK(geometry.has_value());
  return std::make_unique<ReduceKernel>(spec.op, *geometry);
}

}  // namespace onnx_split
