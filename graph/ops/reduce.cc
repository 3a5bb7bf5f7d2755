#include "graph/ops/reduce.h"

#include <algorithm>
#include <limits>

#include "graph/ops/checks.h"
#include "graph/ops/slicing.h"
#include "graph/ops/walk.h"

namespace onnx_split {
namespace {

template <OpType op>
Expected<std::vector<TensorType>> infer(const OpCall& call) {
  TRY(expect_inputs(call, 1, 1));
  if constexpr (op == OpType::kReduceMean) {
    TRY(expect_type("input", call.inputs[0], DataType::kFloat32));
  } else {
    TRY(expect_float_or_int(call));
  }
  TRY_ASSIGN(ReduceGeometry g, reduce_geometry(call));
  if (op == OpType::kReduceMax && g.count() == 0 && g.output.elements() > 0) {
    return fail(ErrorCode::kInvalid, "input {} has no elements to take the maximum of", call.inputs[0].to_string());
  }
  return one_output({call.inputs[0].type, std::move(g.output)});
}

// `Sum` is what the combined value is held in.
template <class T, class Sum>
void reduce(OpType op, const ReduceGeometry& g, std::span<const T> x, std::span<T> y) {
  for_each_index(g.kept, [&](std::size_t flat, const Index& kept) {
    const std::int64_t first = offset_of(kept, g.kept_strides);
    using Limits = std::numeric_limits<Sum>;
    constexpr Sum kSmallest = Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
    Sum all = op == OpType::kReduceMax ? kSmallest : Sum{0};
    for_each_index(g.reduced, [&](std::size_t, const Index& reduced) {
      const auto element = static_cast<Sum>(x[static_cast<std::size_t>(first + offset_of(reduced, g.reduced_strides))]);
      all = op == OpType::kReduceMax ? std::max(all, element) : all + element;
    });
    if (op == OpType::kReduceMean) all = all / static_cast<Sum>(g.count());
    y[flat] = static_cast<T>(all);
  });
}

// Sums of integers wrap around, which only unsigned ones may.
void sum_ints(const ReduceGeometry& g, std::span<const std::int64_t> x, std::span<std::int64_t> y) {
  for_each_index(g.kept, [&](std::size_t flat, const Index& kept) {
    const std::int64_t first = offset_of(kept, g.kept_strides);
    std::uint64_t sum = 0;
    for_each_index(g.reduced, [&](std::size_t, const Index& reduced) {
      sum += static_cast<std::uint64_t>(x[static_cast<std::size_t>(first + offset_of(reduced, g.reduced_strides))]);
    });
    y[flat] = static_cast<std::int64_t>(sum);
  });
}

template <OpType op>
Expected<void> evaluate(const OpCall& call, std::span<const TensorView> inputs,
                        std::span<const MutableTensorView> outputs) {
  TRY_ASSIGN(const ReduceGeometry g, reduce_geometry(call));
  if (inputs[0].type().type == DataType::kFloat32) {
    reduce<float, double>(op, g, inputs[0].as<float>(), outputs[0].as<float>());
  } else if (op == OpType::kReduceSum) {
    sum_ints(g, inputs[0].as<std::int64_t>(), outputs[0].as<std::int64_t>());
  } else {
    reduce<std::int64_t, std::int64_t>(op, g, inputs[0].as<std::int64_t>(), outputs[0].as<std::int64_t>());
  }
  return {};
}

template <OpType op>
Expected<NodeSlice> slice(const OpCall& call, std::span<const TensorType> outputs, std::size_t, const Region& region) {
  TRY_ASSIGN(const ReduceGeometry g, reduce_geometry(call));
  Region x = Region::whole(call.inputs[0].shape);
  const bool keepdims = outputs[0].shape.rank() == x.rank();
  std::size_t next = 0;
  for (std::size_t axis = 0; axis < x.rank(); ++axis) {
    if (!g.is_reduced[axis]) x[axis] = region[next];
    if (!g.is_reduced[axis] || keepdims) ++next;
  }
  return NodeSlice{op, call.attributes, {x}, region};
}

// Of a mean: the mean of the share, weighted with the number of its elements.
template <OpType op>
Expected<NodeSlice> partial_sum(const OpCall& call, std::span<const TensorType> outputs, const Region& region, bool) {
  TRY_ASSIGN(const ReduceGeometry g, reduce_geometry(call));
  const TensorType& x = call.inputs[0];
  if (x.type != DataType::kFloat32) {
    return fail(ErrorCode::kUnsupported, "partial sums of {} aren't supported", data_type_name(x.type));
  }
  TRY(expect_summed(region, x.shape, g.is_reduced));
  NodeSlice slice{op, call.attributes, {region}, Region::whole(outputs[0].shape)};
  if (op == OpType::kReduceMean) slice.scale = share_of_mean(region, x.shape);
  return slice;
}

template <OpType op>
constexpr Operator row(std::string_view name) {
  constexpr bool sums = op != OpType::kReduceMax;
  return {op,
          name,
          1,
          1,
          infer<op>,
          no_macs,
          evaluate<op>,
          slice<op>,
          sums ? partial_sum<op> : nullptr,
          sums ? Linearity::kPasses : Linearity::kNone};
}

}  // namespace

Expected<ReduceGeometry> reduce_geometry(const OpCall& call) {
  TRY(expect_inputs(call, 1, 1));
  const Shape& x = call.inputs[0].shape;
  TRY_ASSIGN(const Ints axes, call.attributes.get_ints("axes", {}));
  TRY_ASSIGN(const std::int64_t keepdims, call.attributes.get_int("keepdims", 1));
  TRY_ASSIGN(const std::vector<bool> reduced, axis_flags(axes, x.rank()));
  const std::vector<std::int64_t> strides = x.strides();
  Ints kept_dims;
  Ints reduced_dims;
  Ints output;
  ReduceGeometry g;
  g.is_reduced.resize(x.rank(), false);
  for (std::size_t axis = 0; axis < x.rank(); ++axis) {
    if (axes.empty() || reduced[axis]) {
      reduced_dims.push_back(x[axis]);
      g.reduced_strides.push_back(strides[axis]);
      g.is_reduced[axis] = true;
      if (keepdims != 0) output.push_back(1);
    } else {
      kept_dims.push_back(x[axis]);
      g.kept_strides.push_back(strides[axis]);
      output.push_back(x[axis]);
    }
  }
  g.kept = Shape(std::move(kept_dims));
  g.reduced = Shape(std::move(reduced_dims));
  g.output = Shape(std::move(output));
  return g;
}

const Operator kReduceMaxOperator = row<OpType::kReduceMax>("ReduceMax");
const Operator kReduceMeanOperator = row<OpType::kReduceMean>("ReduceMean");
const Operator kReduceSumOperator = row<OpType::kReduceSum>("ReduceSum");

}  // namespace onnx_split
