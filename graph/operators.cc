#include "graph/operators.h"

#include <algorithm>
#include <array>
#include <new>

#include "graph/ops/batch_norm.h"
#include "graph/ops/binary.h"
#include "graph/ops/broadcast.h"
#include "graph/ops/cast.h"
#include "graph/ops/concat.h"
#include "graph/ops/conv.h"
#include "graph/ops/gather.h"
#include "graph/ops/gemm.h"
#include "graph/ops/lrn.h"
#include "graph/ops/pad.h"
#include "graph/ops/pool.h"
#include "graph/ops/reduce.h"
#include "graph/ops/reshape.h"
#include "graph/ops/resize.h"
#include "graph/ops/slice.h"
#include "graph/ops/softmax.h"
#include "graph/ops/transpose.h"
#include "graph/ops/unary.h"
#include "graph/ops/variadic.h"

namespace onnx_split {

// The table: every operator, in the order of OpType.
std::span<const Operator> all_operators() {
  static const std::array table = {
      kAbsOperator,           kAddOperator,         kAveragePoolOperator, kBatchNormalizationOperator,
      kCastOperator,          kClipOperator,        kConcatOperator,      kConvOperator,
      kDivOperator,           kEluOperator,         kExpOperator,         kExpandOperator,
      kFlattenOperator,       kGatherOperator,      kGemmOperator,        kGlobalAveragePoolOperator,
      kGlobalMaxPoolOperator, kHardSigmoidOperator, kHardSwishOperator,   kIdentityOperator,
      kLeakyReluOperator,     kLogSoftmaxOperator,  kLrnOperator,         kMatMulOperator,
      kMaxOperator,           kMaxPoolOperator,     kMeanOperator,        kMinOperator,
      kMulOperator,           kNegOperator,         kPReluOperator,       kPadOperator,
      kPowOperator,           kReduceMaxOperator,   kReduceMeanOperator,  kReduceSumOperator,
      kReluOperator,          kReshapeOperator,     kResizeOperator,      kSeluOperator,
      kSigmoidOperator,       kSliceOperator,       kSoftmaxOperator,     kSoftplusOperator,
      kSplitOperator,         kSqrtOperator,        kSqueezeOperator,     kSubOperator,
      kSumOperator,           kTanhOperator,        kTransposeOperator,   kUnsqueezeOperator,
  };
  return table;
}

const Operator& operator_of(OpType op) {
  const std::span<const Operator> table = all_operators();
  CHECK(static_cast<std::size_t>(op) < table.size());
  return table[static_cast<std::size_t>(op)];
}

std::vector<TensorType> input_types(const Graph& graph, const Node& node) {
  std::vector<TensorType> types;
  types.reserve(node.inputs.size());
  for (const ValueId id : node.inputs) types.push_back(graph.value(id).type);
  return types;
}

std::vector<TensorType> output_types(const Graph& graph, const Node& node) {
  std::vector<TensorType> types;
  types.reserve(node.outputs.size());
  for (const ValueId id : node.outputs) types.push_back(graph.value(id).type);
  return types;
}

Expected<NodeSlice> slice_node(const Graph& graph, const Node& node, std::size_t output, const Region& region) {
  const std::vector<TensorType> inputs = input_types(graph, node);
  const std::vector<TensorType> outputs = output_types(graph, node);
  CHECK(region.inside(outputs[output].shape) && !region.empty());
  auto slice = operator_of(node.op).slice({node.attributes, inputs, outputs.size()}, outputs, output, region);
  if (!slice) return fail_in(describe(node), std::move(slice.error()));
  CHECK(slice->inputs.size() == inputs.size() && slice->produced.contains(region));
  return slice;
}

Expected<NodeSlice> partial_sum_of_node(const Graph& graph, const Node& node, const Region& region, bool first) {
  const Operator& definition = operator_of(node.op);
  if (definition.partial_sum == nullptr) {
    return fail(ErrorCode::kUnsupported, "{}: it doesn't sum over its input", describe(node));
  }
  const std::vector<TensorType> inputs = input_types(graph, node);
  const std::vector<TensorType> outputs = output_types(graph, node);
  CHECK(region.inside(inputs[0].shape) && !region.empty());
  auto slice = definition.partial_sum({node.attributes, inputs, outputs.size()}, outputs, region, first);
  if (!slice) return fail_in(describe(node), std::move(slice.error()));
  CHECK(slice->inputs.size() == inputs.size());
  return slice;
}

NodeCost node_cost(const Graph& graph, const Node& node) {
  const std::vector<TensorType> inputs = input_types(graph, node);
  const std::vector<TensorType> outputs = output_types(graph, node);
  NodeCost cost;
  cost.macs = operator_of(node.op).macs({node.attributes, inputs, outputs.size()}, outputs);
  std::vector<ValueId> read = node.inputs;  // each counts once
  std::sort(read.begin(), read.end());
  read.erase(std::unique(read.begin(), read.end()), read.end());
  for (const ValueId id : read) {
    const Value& value = graph.value(id);
    if (value.constant) cost.weight_bytes += static_cast<std::int64_t>(value.type.size_bytes());
  }
  for (const TensorType& output : outputs) cost.activation_bytes += static_cast<std::int64_t>(output.size_bytes());
  return cost;
}

Expected<std::vector<Tensor>> evaluate(OpType op, const Attributes& attributes, std::span<const Tensor> inputs,
                                       std::size_t output_count) {
  const Operator& definition = operator_of(op);
  std::vector<TensorType> types;
  std::vector<TensorView> input_views;
  for (const Tensor& input : inputs) {
    types.push_back(input.type());
    input_views.push_back(input.view());
  }
  const OpCall call{attributes, types, output_count};
  TRY_ASSIGN(std::vector<TensorType> inferred, definition.infer(call));
  if (inferred.size() != output_count) {
    return fail(ErrorCode::kInvalid, "gives {} outputs, expected {}", inferred.size(), output_count);
  }
  try {
    std::vector<TensorBuilder> builders;
    builders.reserve(output_count);
    for (TensorType& type : inferred) builders.emplace_back(std::move(type));
    std::vector<MutableTensorView> output_views;
    for (TensorBuilder& builder : builders) output_views.push_back(builder.view());
    TRY(definition.evaluate(call, input_views, output_views));
    std::vector<Tensor> outputs;
    for (TensorBuilder& builder : builders) outputs.push_back(std::move(builder).build());
    return outputs;
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::kExhausted, "not enough memory for the outputs");
  }
}

}  // namespace onnx_split
