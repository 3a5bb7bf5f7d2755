// Unary, binary and variadic operators on float32, element by element.
#include "engine/kernels/activation.h"
#include "engine/kernels/factories.h"
#include "engine/kernels/simd.h"
#include "engine/kernels/strided_rows.h"
#include "graph/ops/binary.h"
#include "graph/ops/variadic.h"

namespace onnx_split {
namespace {

class UnaryKernel final : public Kernel {
 public:
  UnaryKernel(const UnaryParams& params, std::int64_t elements) : params_(params), tasks_(1, elements) {}

  Expected<void> run(const RunContext& context) override {
    const float* x = context.input(0);
    float* y = context.output();
    context.pool.parallel_for(tasks_.count(), [&](std::size_t task, unsigned) {
      tasks_.each(task, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
        apply_activation(params_, x + begin, y + begin, static_cast<std::size_t>(end - begin));
      });
    });
    return {};
  }

 private:
  UnaryParams params_;
  RowTasks tasks_;
};

// a and b advance by a_step and b_step, each 0 or 1, but for the first form in which they may be anything.
template <class Function>
ONNX_SPLIT_INLINE void zip_row(const Function& f, const float* a, std::int64_t a_step, const float* b,
                               std::int64_t b_step, float* y, std::int64_t count) {
  if (a_step == 1 && b_step == 1) {
    for (std::int64_t i = 0; i < count; ++i) y[i] = f(a[i], b[i]);
  } else if (a_step == 1 && b_step == 0) {
    const float fixed = *b;
    for (std::int64_t i = 0; i < count; ++i) y[i] = f(a[i], fixed);
  } else if (a_step == 0 && b_step == 1) {
    const float fixed = *a;
    for (std::int64_t i = 0; i < count; ++i) y[i] = f(fixed, b[i]);
  } else {
    for (std::int64_t i = 0; i < count; ++i) y[i] = f(a[i * a_step], b[i * b_step]);
  }
}

template <OpType kOp>
ONNX_SPLIT_INLINE void binary_row(const float* a, std::int64_t a_step, const float* b, std::int64_t b_step, float* y,
                                  std::int64_t count) {
  zip_row([](float p, float q) { return apply_binary(kOp, p, q); }, a, a_step, b, b_step, y, count);
}

template <OpType kOp>
ONNX_SPLIT_INLINE void variadic_row(const float* a, std::int64_t a_step, const float* b, std::int64_t b_step, float* y,
                                    std::int64_t count) {
  zip_row([](float p, float q) { return combine_variadic(kOp, p, q); }, a, a_step, b, b_step, y, count);
}

ONNX_SPLIT_CLONES void combine_row(OpType op, const float* a, std::int64_t a_step, const float* b, std::int64_t b_step,
                                   float* y, std::int64_t count) {
  switch (op) {
    case OpType::kAdd: return binary_row<OpType::kAdd>(a, a_step, b, b_step, y, count);
    case OpType::kSub: return binary_row<OpType::kSub>(a, a_step, b, b_step, y, count);
    case OpType::kMul: return binary_row<OpType::kMul>(a, a_step, b, b_step, y, count);
    case OpType::kDiv: return binary_row<OpType::kDiv>(a, a_step, b, b_step, y, count);
    case OpType::kPow: return binary_row<OpType::kPow>(a, a_step, b, b_step, y, count);
    case OpType::kPRelu: return binary_row<OpType::kPRelu>(a, a_step, b, b_step, y, count);
    case OpType::kMax: return variadic_row<OpType::kMax>(a, a_step, b, b_step, y, count);
    case OpType::kMin: return variadic_row<OpType::kMin>(a, a_step, b, b_step, y, count);
    default: return variadic_row<OpType::kSum>(a, a_step, b, b_step, y, count);
  }
}

class BinaryKernel final : public Kernel {
 public:
  BinaryKernel(const KernelSpec& spec, const StridedRows& rows)
      : op_(spec.op), activation_(spec.epilogue.activation), rows_(rows), tasks_(rows.rows(), rows.row_elements()) {}

  Expected<void> run(const RunContext& context) override {
    const std::int64_t a_step = rows_.strides[0].back();
    const std::int64_t b_step = rows_.strides[1].back();
    context.pool.parallel_for(tasks_.count(), [&](std::size_t task, unsigned) {
      tasks_.each(task, [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
        const float* a = context.input(0) + rows_.offset(0, row) + begin * a_step;
        const float* b = context.input(1) + rows_.offset(1, row) + begin * b_step;
        float* y = context.output() + row * rows_.row_elements() + begin;
        combine_row(op_, a, a_step, b, b_step, y, end - begin);
        apply_activation(activation_, y, y, static_cast<std::size_t>(end - begin));
      });
    });
    return {};
  }

 private:
  OpType op_;
  UnaryParams activation_;
  StridedRows rows_;
  RowTasks tasks_;
};

// Folds the inputs from the left, a row at a time.
class VariadicKernel final : public Kernel {
 public:
  VariadicKernel(const KernelSpec& spec, const StridedRows& rows)
      : op_(spec.op), activation_(spec.epilogue.activation), rows_(rows), tasks_(rows.rows(), rows.row_elements()) {}

  Expected<void> run(const RunContext& context) override {
    context.pool.parallel_for(tasks_.count(), [&](std::size_t task, unsigned) {
      tasks_.each(task, [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
        fold(context, row, begin, end - begin);
      });
    });
    return {};
  }

 private:
  void fold(const RunContext& context, std::int64_t row, std::int64_t begin, std::int64_t count) const {
    float* y = context.output() + row * rows_.row_elements() + begin;
    const auto operand = [&](std::size_t i) {
      return context.input(i) + rows_.offset(i, row) + begin * rows_.strides[i].back();
    };
    const float* first = operand(0);
    const std::int64_t step = rows_.strides[0].back();
    for (std::int64_t i = 0; i < count; ++i) y[i] = first[i * step];
    for (std::size_t i = 1; i < rows_.strides.size(); ++i) {
      combine_row(op_, y, 1, operand(i), rows_.strides[i].back(), y, count);
    }
    if (op_ == OpType::kMean) {
      const auto inputs = static_cast<float>(rows_.strides.size());
      for (std::int64_t i = 0; i < count; ++i) y[i] /= inputs;
    }
    apply_activation(activation_, y, y, static_cast<std::size_t>(count));
  }

  OpType op_;
  UnaryParams activation_;
  StridedRows rows_;
  RowTasks tasks_;
};

// As many floats as the output takes in its layout.
std::int64_t floats_of(const KernelSpec& spec) {
  const Layout layout = spec.blocked ? Layout::kBlocked : Layout::kPlain;
  return static_cast<std::int64_t>(layout_bytes(spec.outputs.front(), layout) / sizeof(float));
}

StridedRows rows_of(const KernelSpec& spec) {
  std::vector<Shape> shapes;
  if (spec.blocked) {
    const Shape flat{floats_of(spec)};
    shapes.assign(spec.inputs.size(), flat);
    return StridedRows::broadcast(shapes, flat);
  }
  for (const TensorType& input : spec.inputs) shapes.push_back(input.shape);
  return StridedRows::broadcast(shapes, spec.outputs.front().shape);
}

}  // namespace

std::unique_ptr<Kernel> make_unary(const KernelSpec& spec) {
  const auto params = unary_params(spec.op, spec.attributes);
  CHECK(params.has_value());
  return std::make_unique<UnaryKernel>(*params, floats_of(spec));
}

std::unique_ptr<Kernel> make_binary(const KernelSpec& spec) {
  return std::make_unique<BinaryKernel>(spec, rows_of(spec));
}

std::unique_ptr<Kernel> make_variadic(const KernelSpec& spec) {
  return std::make_unique<VariadicKernel>(spec, rows_of(spec));
}

}  // namespace onnx_split
