// BatchNormalization, LRN, Softmax and LogSoftmax.
#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/kernels/activation.h"
#include "engine/kernels/factories.h"
#include "engine/kernels/simd.h"
#include "engine/kernels/strided_rows.h"
#include "graph/ops/batch_norm.h"
#include "graph/ops/lrn.h"
#include "graph/ops/softmax.h"

namespace onnx_split {
namespace {

ONNX_SPLIT_CLONES void scale_shift_row(const float* x, float scale, float shift, float* y, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) y[i] = x[i] * scale + shift;
}

class BatchNormKernel final : public Kernel {
 public:
  BatchNormKernel(const KernelSpec& spec, const BatchNormGeometry& geometry)
      : g_(geometry), activation_(spec.epilogue.activation), tasks_(g_.batch * g_.channels, g_.inner) {}

  Expected<void> run(const RunContext& context) override {
    context.pool.parallel_for(tasks_.count(), [&](std::size_t task, unsigned) {
      tasks_.each(task, [&](std::int64_t plane, std::int64_t begin, std::int64_t end) {
        const std::int64_t c = plane % g_.channels;
        const ScaleShift s = batch_norm_channel(context.input(1)[c], context.input(2)[c], context.input(3)[c],
                                                context.input(4)[c], g_.epsilon);
        const float* x = context.input(0) + plane * g_.inner + begin;
        float* y = context.output() + plane * g_.inner + begin;
        scale_shift_row(x, static_cast<float>(s.scale), static_cast<float>(s.shift), y, end - begin);
        apply_activation(activation_, y, y, static_cast<std::size_t>(end - begin));
      });
    });
    return {};
  }

 private:
  BatchNormGeometry g_;
  UnaryParams activation_;
  RowTasks tasks_;
};

ONNX_SPLIT_CLONES void add_squares(const float* x, float* sums, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) sums[i] += x[i] * x[i];
}

// y = x / base^0.75 by two square roots, the exponent that every known network uses.
ONNX_SPLIT_CLONES void divide_by_three_quarters(const float* x, const float* sums, float factor, float bias, float* y,
                                                std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float root = std::sqrt(bias + factor * sums[i]);
    y[i] = x[i] / (root * std::sqrt(root));
  }
}

// Each task takes some pixels and all channels.
class LrnKernel final : public Kernel {
 public:
  explicit LrnKernel(const LrnGeometry& geometry)
      : g_(geometry), piece_(std::min<std::int64_t>(g_.inner, 512)), pieces_((g_.inner + piece_ - 1) / piece_) {}

  std::size_t workspace_bytes() const override { return static_cast<std::size_t>(piece_) * sizeof(float); }

  Expected<void> run(const RunContext& context) override {
    const auto tasks = static_cast<std::size_t>(g_.batch * pieces_);
    context.pool.parallel_for(tasks, [&](std::size_t task, unsigned worker) {
      const std::int64_t sample = static_cast<std::int64_t>(task) / pieces_;
      const std::int64_t begin = static_cast<std::int64_t>(task) % pieces_ * piece_;
      const std::int64_t first = sample * g_.channels * g_.inner + begin;
      compute(context.input(0) + first, context.output() + first, std::min(piece_, g_.inner - begin),
              context.scratch(worker));
    });
    return {};
  }

 private:
  void compute(const float* x, float* y, std::int64_t count, float* sums) const {
    const float factor = g_.alpha / static_cast<float>(g_.size);
    for (std::int64_t c = 0; c < g_.channels; ++c) {
      std::fill_n(sums, count, 0.0F);
      const std::int64_t end = std::min(g_.channels, c + g_.after + 1);
      for (std::int64_t other = std::max<std::int64_t>(0, c - g_.before); other < end; ++other) {
        add_squares(x + other * g_.inner, sums, count);
      }
      const float* from = x + c * g_.inner;
      float* to = y + c * g_.inner;
      if (g_.beta == 0.75F) {
        divide_by_three_quarters(from, sums, factor, g_.bias, to, count);
      } else {
        for (std::int64_t i = 0; i < count; ++i) to[i] = from[i] * std::pow(g_.bias + factor * sums[i], -g_.beta);
      }
    }
  }

  LrnGeometry g_;
  std::int64_t piece_;
  std::int64_t pieces_;
};

// Each task takes one outer index and some inner ones; the axis runs through all.
class SoftmaxKernel final : public Kernel {
 public:
  SoftmaxKernel(const SoftmaxGeometry& geometry, bool logarithm) : g_(geometry), logarithm_(logarithm) {}

  Expected<void> run(const RunContext& context) override {
    const auto tasks = static_cast<std::size_t>(g_.outer);
    context.pool.parallel_for(tasks, [&](std::size_t task, unsigned) {
      const std::int64_t begin = static_cast<std::int64_t>(task) * g_.extent * g_.inner;
      if (g_.inner == 1) {
        contiguous(context.input(0) + begin, context.output() + begin);
      } else {
        for (std::int64_t i = 0; i < g_.inner; ++i) strided(context.input(0) + begin + i, context.output() + begin + i);
      }
    });
    return {};
  }

 private:
  void contiguous(const float* x, float* y) const {
    const float largest = *std::max_element(x, x + g_.extent);
    for (std::int64_t i = 0; i < g_.extent; ++i) y[i] = x[i] - largest;
    if (logarithm_) {
      float sum = 0.0F;
      for (std::int64_t i = 0; i < g_.extent; ++i) sum += std::exp(y[i]);
      const float logarithm = std::log(sum);
      for (std::int64_t i = 0; i < g_.extent; ++i) y[i] -= logarithm;
      return;
    }
    exp_row(y, y, static_cast<std::size_t>(g_.extent));
    float sum = 0.0F;
    for (std::int64_t i = 0; i < g_.extent; ++i) sum += y[i];
    for (std::int64_t i = 0; i < g_.extent; ++i) y[i] /= sum;
  }

  void strided(const float* x, float* y) const {
    float largest = -std::numeric_limits<float>::infinity();
    for (std::int64_t a = 0; a < g_.extent; ++a) largest = std::max(largest, x[a * g_.inner]);
    float sum = 0.0F;
    for (std::int64_t a = 0; a < g_.extent; ++a) {
      const float shifted = x[a * g_.inner] - largest;
      const float e = std::exp(shifted);
      y[a * g_.inner] = logarithm_ ? shifted : e;
      sum += e;
    }
    const float logarithm = std::log(sum);
    for (std::int64_t a = 0; a < g_.extent; ++a) {
      y[a * g_.inner] = logarithm_ ? y[a * g_.inner] - logarithm : y[a * g_.inner] / sum;
    }
  }

  SoftmaxGeometry g_;
  bool logarithm_;
};

}  // namespace

std::unique_ptr<Kernel> make_batch_norm(const KernelSpec& spec) {
  const auto geometry = batch_norm_geometry(spec.call());
  CHECK(geometry.has_value());
  return std::make_unique<BatchNormKernel>(spec, *geometry);
}

std::unique_ptr<Kernel> make_lrn(const KernelSpec& spec) {
  const auto geometry = lrn_geometry(spec.call());
  CHECK(geometry.has_value());
  return std::make_unique<LrnKernel>(*geometry);
}

std::unique_ptr<Kernel> make_softmax(const KernelSpec& spec) {
  const auto geometry = softmax_geometry(spec.call());
  CHECK(geometry.has_value());
  return std::make_unique<SoftmaxKernel>(*geometry, spec.op == OpType::kLogSoftmax);
}

}  // namespace onnx_split
