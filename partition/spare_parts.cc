#include "partition/spare_parts.h"

#include <algorithm>

#include "base/check.h"
#include "graph/builder.h"
#include "graph/operators.h"

namespace onnx_split {
namespace {

// Shapes that differ in at most one axis: the largest, and that axis.
struct Padded {
  Shape shape;
  std::optional<std::size_t> axis;  // nothing: they are equal
};

Expected<Padded> padded_shape(const std::vector<const Tensor*>& tensors) {
  Padded padded{tensors.front()->shape(), {}};
  for (const Tensor* tensor : tensors) {
    const Shape& shape = tensor->shape();
    if (shape.rank() != padded.shape.rank()) return fail(ErrorCode::kUnsupported, "its weights differ in rank");
    for (std::size_t axis = 0; axis < shape.rank(); ++axis) {
      if (shape[axis] == padded.shape[axis]) continue;
      if (padded.axis && *padded.axis != axis) return fail(ErrorCode::kUnsupported, "its weights differ in two axes");
      padded.axis = axis;
      if (shape[axis] > padded.shape[axis]) padded.shape = shape;
    }
  }
  return padded;
}

// The sum of tensors that all begin at the same corner.
Expected<Tensor> padded_sum(const std::vector<const Tensor*>& tensors, PartWeights weights) {
  TRY_ASSIGN(const Padded padded, padded_shape(tensors));
  const TensorType type{tensors.front()->type().type, padded.shape};
  if (type.type != DataType::kFloat32) return fail(ErrorCode::kUnsupported, "its weights aren't float32");
  if (weights == PartWeights::kBlank) return Tensor(type, untouched_zeros(type.size_bytes()));
  TensorBuilder builder(type, true);
  const std::span<float> sum = builder.view().as<float>();
  for (const Tensor* tensor : tensors) {
    const std::span<const float> addend = tensor->as<float>();
    // A row is all from the padded axis on.
    std::size_t row = addend.size(), sum_row = sum.size();
    for (std::size_t axis = 0; padded.axis && axis < *padded.axis; ++axis) {
      row /= static_cast<std::size_t>(padded.shape[axis]);
      sum_row /= static_cast<std::size_t>(padded.shape[axis]);
    }
    for (std::size_t i = 0; i < addend.size(); ++i) sum[i / row * sum_row + i % row] += addend[i];
  }
  return std::move(builder).build();
}

// The layer of each part, if that is all it has.
Expected<const Node*> layer_of(const DividedPart& part) {
  const Graph& graph = part.graph;
  if (graph.node_count() != 1 || graph.inputs().size() != 1 || part.outputs.size() != 1 ||
      part.outputs[0].combine != Combine::kPlace) {
    return fail(ErrorCode::kUnsupported, "it isn't one layer");
  }
  const Node& node = graph.nodes()[0];
  const bool is_linear = node.op == OpType::kConv || node.op == OpType::kGemm || node.op == OpType::kMatMul;
  if (!is_linear) return fail(ErrorCode::kUnsupported, "{} isn't a Conv, Gemm or MatMul", describe(node));
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    if (graph.value(node.inputs[i]).constant.has_value() == (i > 0)) continue;
    return fail(ErrorCode::kUnsupported, "{} has other weights than constants", describe(node));
  }
  return &node;
}

Expected<DividedPart> parity_part(const std::vector<DividedPart>& parts, PartWeights weights) {
  std::vector<const Node*> layers;
  std::int64_t channels = 0;
  bool same_channels = true;
  for (const DividedPart& part : parts) {
    TRY_ASSIGN(const Node* layer, layer_of(part));
    if (part.inputs != parts[0].inputs || part.outputs[0].value != parts[0].outputs[0].value ||
        (!layers.empty() && layer->attributes != layers.front()->attributes)) {
      return fail(ErrorCode::kUnsupported, "its parts need different inputs");
    }
    layers.push_back(layer);
    const std::int64_t own = part.outputs[0].region[kChannelAxis].size();
    same_channels = same_channels && (channels == 0 || own == channels);
    channels = std::max(channels, own);
  }
  const Graph& first = parts[0].graph;
  const Node& layer = *layers[0];
  GraphBuilder builder(first.name());
  std::vector<ValueId> inputs;
  for (std::size_t i = 0; i < layer.inputs.size(); ++i) {
    const Value& value = first.value(layer.inputs[i]);
    if (!value.constant) {
      TRY_ASSIGN(const ValueId input, builder.add_input(value.name, value.type));
      inputs.push_back(input);
      continue;
    }
    std::vector<const Tensor*> tensors;
    for (std::size_t p = 0; p < parts.size(); ++p) {
      tensors.push_back(&*parts[p].graph.value(layers[p]->inputs[i]).constant);
    }
    const bool same_shapes = std::all_of(tensors.begin(), tensors.end(),
                                         [&](const Tensor* tensor) { return tensor->shape() == tensors[0]->shape(); });
    // Where a part has no channel, it mustn't add anything.
    if (same_shapes && !same_channels) return fail(ErrorCode::kUnsupported, "its bias isn't one a channel");
    TRY_ASSIGN(Tensor sum, padded_sum(tensors, weights));
    TRY_ASSIGN(const ValueId constant, builder.add_constant(value.name, std::move(sum)));
    inputs.push_back(constant);
  }
  const std::string& name = parts[0].outputs[0].value;
  TRY_ASSIGN(const NodeId node, builder.add_node(layer.name, layer.op, layer.attributes, std::move(inputs), {name}));
  const ValueId output = builder.graph().node(node).outputs[0];
  ValueRegion sum = parts[0].outputs[0];
  sum.region[kChannelAxis] = {0, channels};
  sum.combine = Combine::kParity;
  CHECK(builder.value(output).shape() == sum.region.shape());
  TRY_ASSIGN(Graph graph, std::move(builder).build({output}));
  const std::int64_t macs = node_cost(graph, graph.nodes()[0]).macs;
  return DividedPart{parts[0].inputs, {std::move(sum)}, std::move(graph), macs, macs};
}

}  // namespace

Expected<void> add_spare_parts(DividedStage& stage, Spare spare, PartWeights weights) {
  if (spare == Spare::kParity) {
    auto part = parity_part(stage.parts, weights);
    if (!part) return fail_in("parity: for one Conv, Gemm or MatMul by output channels", std::move(part.error()));
    stage.parts.push_back(std::move(*part));
  }
  if (spare == Spare::kStandby) {
    const std::size_t ways = stage.parts.size();
    for (std::size_t p = 0; p < ways; ++p) {
      DividedPart copy = stage.parts[p];
      copy.repeated_macs = copy.macs;
      stage.parts.push_back(std::move(copy));
    }
  }
  return {};
}

}  // namespace onnx_split
