#include "engine/weight_memory.h"

#include <algorithm>
#include <vector>

#include "base/half.h"
#include "engine/kernels/winograd_transform.h"
#include "graph/layout.h"
#include "graph/ops/conv.h"
#include "graph/ops/gemm.h"

namespace onnx_split {
namespace {

constexpr std::int64_t kBlock = kChannelBlock;

// As engine/kernels/direct_conv.cc has them: for each block of output channels, all input channels that any of them
// sees.
std::int64_t direct_weights(const ConvGeometry& geometry) {
  const std::int64_t outputs = geometry.output_channels / geometry.groups;
  const std::int64_t inputs = geometry.input_channels / geometry.groups;
  std::int64_t weights = 0;
  for (std::int64_t first = 0; first < geometry.output_channels; first += kBlock) {
    const std::int64_t last = std::min(geometry.output_channels, first + kBlock) - 1;
    weights += (last / outputs - first / outputs + 1) * inputs * geometry.kernel_elements() * kBlock;
  }
  return weights;
}

// As engine/kernels/gemm.cc has them.
std::int64_t half_gemv_bytes(OpType op, const OpCall& call) {
  const auto bytes = [](std::int64_t n, std::int64_t k) {
    return n * k * static_cast<std::int64_t>(sizeof(Half)) + n * static_cast<std::int64_t>(sizeof(float));
  };
  if (op == OpType::kGemm) {
    const auto geometry = gemm_geometry(call);
    CHECK(geometry.has_value());
    return bytes(geometry->n, geometry->k);
  }
  const auto geometry = matmul_geometry(call);
  CHECK(geometry.has_value());
  return bytes(geometry->n, geometry->k);
}

}  // namespace

std::optional<std::int64_t> laid_out_weight_bytes(OpType op, const OpCall& call, const ChoiceRule& rule) {
  if (!has_choice(op)) return std::nullopt;
  const Choice choice = choose(op, call, rule);
  const std::int64_t weight_bytes = choice.half ? sizeof(Half) : sizeof(float);
  if (op != OpType::kConv) {
    if (!choice.half) return std::nullopt;
    return half_gemv_bytes(op, call);
  }
  const auto geometry = conv_geometry(call);
  CHECK(geometry.has_value());
  const std::int64_t outputs = channel_blocks(geometry->output_channels) * kBlock;
  std::int64_t weights = 0;
  switch (choice.algorithm) {
    case Choice::Algorithm::kDirect: weights = direct_weights(*geometry); break;
    case Choice::Algorithm::kDepthwise: weights = outputs * geometry->kernel_elements(); break;
    case Choice::Algorithm::kWinograd2:
      weights = winograd_inputs(2) * winograd_inputs(2) * geometry->input_channels * outputs;
      break;
    case Choice::Algorithm::kWinograd4:
      weights = winograd_inputs(4) * winograd_inputs(4) * geometry->input_channels * outputs;
      break;
    default: return std::nullopt;
  }
  return weights * weight_bytes + outputs * static_cast<std::int64_t>(sizeof(float));  // and the bias
}

WeightMemory weight_memory(const Graph& graph, const ChoiceRule& rule) {
  WeightMemory memory;
  std::vector<bool> in_place(graph.value_count(), false);
  for (const Node& node : graph.nodes()) {
    const std::vector<TensorType> types = input_types(graph, node);
    const auto laid_out = laid_out_weight_bytes(node.op, {node.attributes, types, node.outputs.size()}, rule);
    const bool constant = std::all_of(node.inputs.begin() + (laid_out ? 1 : 0), node.inputs.end(),
                                      [&](ValueId input) { return graph.value(input).constant.has_value(); });
    if (laid_out && constant) memory.laid_out_bytes += *laid_out;
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const bool is_laid_out = laid_out && constant && i > 0;
      if (graph.value(node.inputs[i]).constant && !is_laid_out) in_place[node.inputs[i].index()] = true;
    }
  }
  for (std::size_t i = 0; i < in_place.size(); ++i) {
    if (in_place[i]) memory.in_place_bytes += static_cast<std::int64_t>(graph.values()[i].type.size_bytes());
  }
  return memory;
}

}  // namespace onnx_split
