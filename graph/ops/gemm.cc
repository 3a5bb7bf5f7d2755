#include "graph/ops/gemm.h"

#include <algorithm>

#include "graph/ops/broadcast.h"
#include "graph/ops/checks.h"
#include "graph/ops/slicing.h"
#include "graph/ops/walk.h"

namespace onnx_split {
namespace {

Expected<std::vector<TensorType>> infer_gemm(const OpCall& call) {
  TRY_ASSIGN(const GemmGeometry g, gemm_geometry(call));
  return one_output(DataType::kFloat32, {g.m, g.n});
}

std::int64_t gemm_macs(const OpCall& call, std::span<const TensorType> outputs) {
  const Shape& a = call.inputs[0].shape;
  return saturating_mul(outputs[0].shape.elements(), call.attributes.int_or("transA", 0) != 0 ? a[0] : a[1]);
}

Expected<void> evaluate_gemm(const OpCall& call, std::span<const TensorView> inputs,
                             std::span<const MutableTensorView> outputs) {
  TRY_ASSIGN(const GemmGeometry g, gemm_geometry(call));
  const auto a = inputs[0].as<float>();
  const auto b = inputs[1].as<float>();
  const auto y = outputs[0].as<float>();
  for (std::int64_t row = 0; row < g.m; ++row) {
    for (std::int64_t column = 0; column < g.n; ++column) {
      double sum = 0.0;
      for (std::int64_t i = 0; i < g.k; ++i) {
        const std::int64_t from_a = g.transpose_a ? i * g.m + row : row * g.k + i;
        const std::int64_t from_b = g.transpose_b ? column * g.k + i : i * g.n + column;
        sum += static_cast<double>(a[static_cast<std::size_t>(from_a)]) *
               static_cast<double>(b[static_cast<std::size_t>(from_b)]);
      }
      sum *= static_cast<double>(g.alpha);
      if (g.has_c) {
        const auto from_c = static_cast<std::size_t>(row * g.c_row_stride + column * g.c_column_stride);
        sum += static_cast<double>(g.beta) * static_cast<double>(inputs[2].as<float>()[from_c]);
      }
      y[static_cast<std::size_t>(row * g.n + column)] = static_cast<float>(sum);
    }
  }
  return {};
}

Expected<std::vector<TensorType>> infer_matmul(const OpCall& call) {
  TRY_ASSIGN(const MatMulGeometry g, matmul_geometry(call));
  std::vector<std::int64_t> dims = g.batch.vector();
  if (call.inputs[0].shape.rank() > 1) dims.push_back(g.m);
  if (call.inputs[1].shape.rank() > 1) dims.push_back(g.n);
  return one_output(DataType::kFloat32, std::move(dims));
}

std::int64_t matmul_macs(const OpCall& call, std::span<const TensorType> outputs) {
  return saturating_mul(outputs[0].shape.elements(), call.inputs[0].shape.back());
}

Expected<void> evaluate_matmul(const OpCall& call, std::span<const TensorView> inputs,
                               std::span<const MutableTensorView> outputs) {
  TRY_ASSIGN(const MatMulGeometry g, matmul_geometry(call));
  const auto a = inputs[0].as<float>();
  const auto b = inputs[1].as<float>();
  const auto y = outputs[0].as<float>();
  std::size_t next = 0;
  for_each_index(g.batch, [&](std::size_t, const Index& batch) {
    const std::int64_t first_a = offset_of(batch, g.a_batch_strides);
    const std::int64_t first_b = offset_of(batch, g.b_batch_strides);
    for (std::int64_t row = 0; row < g.m; ++row) {
      for (std::int64_t column = 0; column < g.n; ++column) {
        double sum = 0.0;
        for (std::int64_t i = 0; i < g.k; ++i) {
          sum += static_cast<double>(a[static_cast<std::size_t>(first_a + row * g.k + i)]) *
                 static_cast<double>(b[static_cast<std::size_t>(first_b + i * g.n + column)]);
        }
        y[next++] = static_cast<float>(sum);
      }
    }
  });
  return {};
}

Expected<NodeSlice> slice_gemm(const OpCall& call, std::span<const TensorType>, std::size_t, const Region& region) {
  TRY_ASSIGN(const GemmGeometry g, gemm_geometry(call));
  Region a = Region::whole(call.inputs[0].shape);
  Region b = Region::whole(call.inputs[1].shape);
  a[g.transpose_a ? 1 : 0] = region[0];
  b[g.transpose_b ? 0 : 1] = region[1];
  NodeSlice slice{OpType::kGemm, call.attributes, {a, b}, region};
  if (g.has_c) slice.inputs.emplace_back(broadcast_region(call.inputs[2].shape, region));
  return slice;
}

Expected<NodeSlice> partial_gemm(const OpCall& call, std::span<const TensorType> outputs, const Region& region,
                                 bool first) {
  TRY_ASSIGN(const GemmGeometry g, gemm_geometry(call));
  const std::size_t axis = g.transpose_a ? 0 : 1;
  std::vector<bool> summed(2, false);
  summed[axis] = true;
  TRY(expect_summed(region, call.inputs[0].shape, summed));
  Region b = Region::whole(call.inputs[1].shape);
  b[g.transpose_b ? 1 : 0] = region[axis];
  NodeSlice slice{OpType::kGemm, call.attributes, {region, b}, Region::whole(outputs[0].shape)};
  if (g.has_c) slice.inputs.push_back(first ? std::optional(Region::whole(call.inputs[2].shape)) : std::nullopt);
  return slice;
}

// The extents in front of a matrix (of a vector: none).
Shape batch_of(const Shape& shape) {
  const std::size_t count = shape.rank() > 2 ? shape.rank() - 2 : 0;
  return Shape(Ints(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(count)));
}

Expected<NodeSlice> slice_matmul(const OpCall& call, std::span<const TensorType>, std::size_t, const Region& region) {
  const Shape& a_shape = call.inputs[0].shape;
  const Shape& b_shape = call.inputs[1].shape;
  TRY_ASSIGN(const MatMulGeometry g, matmul_geometry(call));
  std::vector<Range> batch;
  for (std::size_t axis = 0; axis < g.batch.rank(); ++axis) batch.push_back(region[axis]);
  const Region batch_region(std::move(batch));
  const auto with_batch = [&](const Shape& shape) {
    Region whole = Region::whole(shape);
    const Region own = broadcast_region(batch_of(shape), batch_region);
    for (std::size_t axis = 0; axis < own.rank(); ++axis) whole[axis] = own[axis];
    return whole;
  };
  Region a = with_batch(a_shape);
  Region b = with_batch(b_shape);
  std::size_t next = g.batch.rank();
  if (a_shape.rank() > 1) a[a_shape.rank() - 2] = region[next++];
  if (b_shape.rank() > 1) b[b_shape.rank() - 1] = region[next];
  return NodeSlice{OpType::kMatMul, call.attributes, {a, b}, region};
}

Expected<NodeSlice> partial_matmul(const OpCall& call, std::span<const TensorType> outputs, const Region& region,
                                   bool) {
  const Shape& a_shape = call.inputs[0].shape;
  std::vector<bool> summed(a_shape.rank(), false);
  summed.back() = true;
  TRY(expect_summed(region, a_shape, summed));
  Region b = Region::whole(call.inputs[1].shape);
  b[b.rank() == 1 ? 0 : b.rank() - 2] = region[a_shape.rank() - 1];
  return NodeSlice{OpType::kMatMul, call.attributes, {region, b}, Region::whole(outputs[0].shape)};
}

std::vector<std::int64_t> scaled(std::vector<std::int64_t> strides, std::int64_t factor) {
  for (std::int64_t& stride : strides) stride *= factor;
  return strides;
}

}  // namespace

Expected<GemmGeometry> gemm_geometry(const OpCall& call) {
  TRY(expect_inputs(call, 2, 3));
  TRY(expect_type("A", call.inputs[0], DataType::kFloat32));
  TRY(expect_type("B", call.inputs[1], DataType::kFloat32));
  const Shape& a = call.inputs[0].shape;
  const Shape& b = call.inputs[1].shape;
  if (a.rank() != 2 || b.rank() != 2) {
    return fail(ErrorCode::kInvalid, "A and B expect rank 2, found {} and {}", a.to_string(), b.to_string());
  }
  TRY_ASSIGN(const std::int64_t transpose_a, call.attributes.get_int("transA", 0));
  TRY_ASSIGN(const std::int64_t transpose_b, call.attributes.get_int("transB", 0));
  GemmGeometry g;
  TRY_ASSIGN(g.alpha, call.attributes.get_float("alpha", 1.0F));
  TRY_ASSIGN(g.beta, call.attributes.get_float("beta", 1.0F));
  g.transpose_a = transpose_a != 0;
  g.transpose_b = transpose_b != 0;
  g.m = a[g.transpose_a ? 1 : 0];
  g.k = a[g.transpose_a ? 0 : 1];
  g.n = b[g.transpose_b ? 0 : 1];
  if (const std::int64_t rows = b[g.transpose_b ? 1 : 0]; rows != g.k) {
    return fail(ErrorCode::kInvalid, "B expects {} input features, A has {}", rows, g.k);
  }
  if (call.inputs.size() == 2) return g;

  TRY(expect_type("C", call.inputs[2], DataType::kFloat32));
  const Shape& c = call.inputs[2].shape;
  const Shape y{g.m, g.n};
  const auto together = broadcast(c, y);
  if (!together || *together != y) {
    return fail(ErrorCode::kInvalid, "C expects a shape that broadcasts to {}, found {}", y.to_string(), c.to_string());
  }
  const std::vector<std::int64_t> strides = broadcast_strides(c, y);
  g.has_c = true;
  g.c_row_stride = strides[0];
  g.c_column_stride = strides[1];
  return g;
}

Expected<MatMulGeometry> matmul_geometry(const OpCall& call) {
  TRY(expect_inputs(call, 2, 2));
  TRY(expect_type("A", call.inputs[0], DataType::kFloat32));
  TRY(expect_type("B", call.inputs[1], DataType::kFloat32));
  const Shape& a = call.inputs[0].shape;
  const Shape& b = call.inputs[1].shape;
  if (a.rank() < 1 || b.rank() < 1) {
    return fail(ErrorCode::kInvalid, "A and B expect at least one axis, found {} and {}", a.to_string(), b.to_string());
  }
  MatMulGeometry g;
  g.m = a.rank() == 1 ? 1 : a[a.rank() - 2];
  g.k = a.back();
  g.n = b.rank() == 1 ? 1 : b.back();
  if (const std::int64_t rows = b.rank() == 1 ? b[0] : b[b.rank() - 2]; rows != g.k) {
    return fail(ErrorCode::kInvalid, "B expects {} input features, A has {}", rows, g.k);
  }
  auto batch = broadcast(batch_of(a), batch_of(b));
  if (!batch) return fail_in("batch axes", std::move(batch.error()));
  g.batch = std::move(*batch);
  g.a_batch_strides = scaled(broadcast_strides(batch_of(a), g.batch), g.m * g.k);
  g.b_batch_strides = scaled(broadcast_strides(batch_of(b), g.batch), g.k * g.n);
  return g;
}

const Operator kGemmOperator = {OpType::kGemm, "Gemm",        2,          3,           infer_gemm,
                                gemm_macs,     evaluate_gemm, slice_gemm, partial_gemm};
const Operator kMatMulOperator = {OpType::kMatMul, "MatMul",      2, 2, infer_matmul, matmul_macs, evaluate_matmul,
                                  slice_matmul,    partial_matmul};

}  // namespace onnx_split
