// Gemm (ONNX Gemm-13): y = alpha·A'·B' + beta·C, A' and B' transposed where transA, transB say so; and MatMul
// (MatMul-13) with NumPy's batching.
#pragma once

#include "graph/operators.h"

namespace onnx_split {

struct GemmGeometry {
  std::int64_t m = 0, n = 0, k = 0;
  bool transpose_a = false;
  bool transpose_b = false;
  float alpha = 1.0F;
  float beta = 1.0F;
  bool has_c = false;
  // Element (row, column) of y adds C[row·c_row_stride + column·c_column_stride]; 0 where C is broadcast.
  std::int64_t c_row_stride = 0;
  std::int64_t c_column_stride = 0;
};

Expected<GemmGeometry> gemm_geometry(const OpCall& call);

struct MatMulGeometry {
  std::int64_t m = 0, n = 0, k = 0;
  Shape batch;                                // broadcast batch extents
  std::vector<std::int64_t> a_batch_strides;  // in elements, 0 where broadcast
  std::vector<std::int64_t> b_batch_strides;
};

Expected<MatMulGeometry> matmul_geometry(const OpCall& call);

extern const Operator kGemmOperator;
extern const Operator kMatMulOperator;

}  // namespace onnx_split
