// Gemm and MatMul: OpenBLAS in tiles of the result, or, for a single row, a stream over the weights.
#include <cblas.h>

#include <algorithm>

#include "engine/choice.h"
#include "engine/kernels/activation.h"
#include "engine/kernels/factories.h"
#include "engine/kernels/gemv.h"
#include "engine/kernels/laid_out_weights.h"
#include "graph/ops/gemm.h"
#include "graph/ops/walk.h"

namespace onnx_split {
namespace {

// Columns of the result that one task computes when it streams over the weights.
constexpr std::int64_t kGemvColumns = 256;
// The same by rows of the weights ([N,K]): enough bytes to keep the memory busy, enough tasks for the threads.
constexpr std::int64_t kGemvRows = 32;

struct Product {
  std::int64_t a;  // offsets of one batch entry's matrices, in elements
  std::int64_t b;
};

class GemmKernel final : public Kernel {
 public:
  GemmKernel(const KernelSpec& spec, const GemmGeometry& geometry, std::vector<Product> products, const Choice& choice)
      : g_(geometry), products_(std::move(products)), epilogue_(spec.epilogue) {
    gemv_ = choice.algorithm == Choice::Algorithm::kGemv;
    const bool constant =
        spec.constants.size() > 1 && spec.constants[1] != nullptr && (!g_.has_c || spec.constants[2] != nullptr);
    const bool half = choice.half && constant;
    tile_ = std::min(gemv_ ? (g_.transpose_b || half ? kGemvRows : kGemvColumns) : choice.tile, g_.n);
    rows_ = gemv_ ? 1 : std::min(choice.rows, g_.m);
    column_tiles_ = (g_.n + tile_ - 1) / tile_;
    row_tiles_ = (g_.m + rows_ - 1) / rows_;
    if (half) lay_out(spec);
  }

  std::size_t weight_bytes() const override { return half_.bytes() + c_.size() * sizeof(float); }

  Expected<void> run(const RunContext& context) override {
    const auto tiles = static_cast<std::size_t>(row_tiles_ * column_tiles_);
    context.pool.parallel_for(products_.size() * tiles, [&](std::size_t task, unsigned) {
      const auto tile = static_cast<std::int64_t>(task % tiles);
      compute(context, task / tiles, tile / column_tiles_ * rows_, tile % column_tiles_ * tile_);
    });
    return {};
  }

 private:
  // The weights as half floats, a row for each column of the result, and C.
  void lay_out(const KernelSpec& spec) {
    CHECK(gemv_ && products_.size() == 1);
    half_ = LaidOutWeights(g_.n * g_.k, true, *spec.pages);
    const float* b = static_cast<const float*>(spec.constants[1]);
    const std::int64_t row_step = g_.transpose_b ? g_.k : 1, step = g_.transpose_b ? 1 : g_.n;
    std::vector<float> row(static_cast<std::size_t>(g_.k));
    for (std::int64_t n = 0; n < g_.n; ++n) {
      for (std::int64_t k = 0; k < g_.k; ++k) row[static_cast<std::size_t>(k)] = b[n * row_step + k * step];
      half_.put(n * g_.k, row.data(), g_.k);
    }
    c_.assign(static_cast<std::size_t>(g_.n), 0.0F);
    if (!g_.has_c) return;
    const float* c = static_cast<const float*>(spec.constants[2]);
    for (std::int64_t n = 0; n < g_.n; ++n) c_[static_cast<std::size_t>(n)] = c[n * g_.c_column_stride];
    g_.c_column_stride = 1;
  }

  void compute(const RunContext& context, std::size_t product, std::int64_t row, std::int64_t column) const {
    const std::int64_t rows = std::min(rows_, g_.m - row);
    const std::int64_t columns = std::min(tile_, g_.n - column);
    const float* a = context.input(0) + products_[product].a + row * (g_.transpose_a ? 1 : g_.k);
    const float* b =
        half_.half() ? nullptr : context.input(1) + products_[product].b + column * (g_.transpose_b ? g_.k : 1);
    const std::int64_t begin = (static_cast<std::int64_t>(product) * g_.m + row) * g_.n + column;
    float* y = context.output() + begin;
    if (gemv_) {
      if (half_.half()) {
        gemv_rows(static_cast<const Half*>(half_.at(column * g_.k)), g_.k, a, y, columns, g_.k);
      } else if (g_.transpose_b) {
        gemv_rows(b, g_.k, a, y, columns, g_.k);
      } else {
        gemv_columns(b, g_.n, a, y, columns, g_.k);
      }
      for (std::int64_t i = 0; i < columns; ++i) y[i] *= g_.alpha;
    } else {
      cblas_sgemm(CblasRowMajor, g_.transpose_a ? CblasTrans : CblasNoTrans, g_.transpose_b ? CblasTrans : CblasNoTrans,
                  static_cast<blasint>(rows), static_cast<blasint>(columns), static_cast<blasint>(g_.k), g_.alpha, a,
                  static_cast<blasint>(g_.transpose_a ? g_.m : g_.k), b,
                  static_cast<blasint>(g_.transpose_b ? g_.k : g_.n), 0.0F, y, static_cast<blasint>(g_.n));
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      float* line = y + r * g_.n;
      if (g_.has_c) {
        const float* c = half_.half() ? c_.data() : context.input(2) + (row + r) * g_.c_row_stride;
        add_c(c + column * g_.c_column_stride, line, columns);
      }
      const float* addend = epilogue_.add ? context.input(context.inputs.size() - 1) + begin + r * g_.n : nullptr;
      finish_row(line, static_cast<std::size_t>(columns), nullptr, addend, epilogue_.activation);
    }
  }

  void add_c(const float* c, float* y, std::int64_t columns) const {
    for (std::int64_t i = 0; i < columns; ++i) y[i] += g_.beta * c[i * g_.c_column_stride];
  }

  GemmGeometry g_;
  std::vector<Product> products_;
  Epilogue epilogue_;
  LaidOutWeights half_;   // if there are any, in place of B
  std::vector<float> c_;  // and of C
  bool gemv_;
  std::int64_t tile_;
  std::int64_t rows_;
  std::int64_t column_tiles_;
  std::int64_t row_tiles_;
};

Choice choice_of(const KernelSpec& spec) {
  const auto choice = parse_choice(spec.op, spec.call(), spec.choice);
  CHECK(choice.has_value());
  return *choice;
}

}  // namespace

std::unique_ptr<Kernel> make_gemm(const KernelSpec& spec) {
  const auto geometry = gemm_geometry(spec.call());
  CHECK(geometry.has_value());
  return std::make_unique<GemmKernel>(spec, *geometry, std::vector<Product>{{0, 0}}, choice_of(spec));
}

std::unique_ptr<Kernel> make_matmul(const KernelSpec& spec) {
  const auto geometry = matmul_geometry(spec.call());
  CHECK(geometry.has_value());
  std::vector<Product> products;
  for_each_index(geometry->batch, [&](std::size_t, const Index& index) {
    products.push_back({offset_of(index, geometry->a_batch_strides), offset_of(index, geometry->b_batch_strides)});
  });
  GemmGeometry single;
  single.m = geometry->m;
  single.n = geometry->n;
  single.k = geometry->k;
  return std::make_unique<GemmKernel>(spec, single, std::move(products), choice_of(spec));
}

}  // namespace onnx_split
