#include <cmath>
#include <optional>

#include "graph/ops/batch_norm.h"
#include "graph/ops/gemm.h"
#include "graph/passes/passes.h"
#include "graph/passes/rewrite.h"

namespace onnx_split {
namespace {

bool all_constant(const Graph& graph, const Node& node) {
  for (std::size_t i = 1; i < node.inputs.size(); ++i) {
    if (!graph.value(node.inputs[i]).constant) return false;
  }
  return true;
}

// The batch norm with constant parameters that alone reads `id`, if there is one.
std::optional<NodeId> norm_behind(const Graph& graph, ValueId id) {
  if (graph.value(id).consumers.size() != 1 || graph.is_output(id)) return std::nullopt;
  const NodeId next = graph.value(id).consumers[0];
  const Node& norm = graph.node(next);
  if (norm.op != OpType::kBatchNormalization || norm.inputs[0] != id || !all_constant(graph, norm)) return std::nullopt;
  return next;
}

std::vector<ScaleShift> channels_of(const Graph& graph, const Node& norm) {
  const auto parameter = [&](std::size_t i) { return graph.value(norm.inputs[i]).constant->as<float>(); };
  const float epsilon = norm.attributes.float_or("epsilon", 1e-5F);
  std::vector<ScaleShift> channels;
  for (std::size_t c = 0; c < parameter(1).size(); ++c) {
    channels.push_back(batch_norm_channel(parameter(1)[c], parameter(2)[c], parameter(3)[c], parameter(4)[c], epsilon));
  }
  return channels;
}

// Batch norms one behind the other, as one.
struct NormChain {
  std::vector<NodeId> nodes;
  std::vector<ScaleShift> channels;
};

// Those that can go into `node`. A variance that makes no number (and so no network) ends the chain: it is left for
// whoever computes it.
NormChain chain_behind(const Graph& graph, const Node& node) {
  NormChain chain;
  if ((node.op != OpType::kConv && node.op != OpType::kGemm) || !all_constant(graph, node)) return chain;
  ValueId tail = node.outputs[0];
  while (const std::optional<NodeId> norm = norm_behind(graph, tail)) {
    std::vector<ScaleShift> together = channels_of(graph, graph.node(*norm));
    for (std::size_t c = 0; c < chain.channels.size(); ++c) {
      const ScaleShift& before = chain.channels[c];
      together[c].shift += before.shift * together[c].scale;
      together[c].scale *= before.scale;
    }
    for (const ScaleShift& channel : together) {
      if (!std::isfinite(static_cast<float>(channel.scale)) || !std::isfinite(static_cast<float>(channel.shift))) {
        return chain;
      }
    }
    chain.nodes.push_back(*norm);
    chain.channels = std::move(together);
    tail = graph.node(*norm).outputs[0];
  }
  return chain;
}

struct Folded {
  Tensor weight;
  Tensor bias;
};

// Multiplies each weight by its output channel's factor. The channels are neighbours `inner` elements apart, over and
// over.
Tensor scale_weight(const Tensor& weight, const std::vector<ScaleShift>& channels, std::size_t inner) {
  TensorBuilder scaled(weight.type());
  const float* from = weight.as<float>().data();
  float* to = scaled.as<float>().data();
  for (std::size_t left = weight.as<float>().size(); left > 0; left -= channels.size() * inner) {
    for (const ScaleShift& channel : channels) {
      for (std::size_t i = 0; i < inner; ++i) to[i] = static_cast<float>(static_cast<double>(from[i]) * channel.scale);
      from += inner;
      to += inner;
    }
  }
  weight.buffer().give_back_pages();  // nobody reads them again
  return std::move(scaled).build();
}

Folded fold_conv(const Graph& graph, const Node& conv, const std::vector<ScaleShift>& channels) {
  const Tensor& weight = *graph.value(conv.inputs[1]).constant;
  const std::size_t filter = weight.as<float>().size() / channels.size();
  TensorBuilder bias({DataType::kFloat32, Shape{static_cast<std::int64_t>(channels.size())}});
  for (std::size_t c = 0; c < channels.size(); ++c) {
    const bool has_bias = conv.inputs.size() == 3;
    const double old = has_bias ? static_cast<double>(graph.value(conv.inputs[2]).constant->as<float>()[c]) : 0.0;
    bias.as<float>()[c] = static_cast<float>(old * channels[c].scale + channels[c].shift);
  }
  return {scale_weight(weight, channels, filter), std::move(bias).build()};
}

// The new C takes beta in, since it is added as it is; alpha stays outside of the weight.
Folded fold_gemm(const Graph& graph, const Node& gemm, const std::vector<ScaleShift>& channels) {
  const std::vector<TensorType> types = input_types(graph, gemm);
  const auto geometry = gemm_geometry({gemm.attributes, types, 1});
  CHECK(geometry.has_value());
  const Tensor& weight = *graph.value(gemm.inputs[1]).constant;
  const std::size_t n = channels.size();
  const auto k = static_cast<std::size_t>(geometry->k);
  const std::int64_t rows = geometry->c_row_stride == 0 ? 1 : geometry->m;
  const auto signed_n = static_cast<std::int64_t>(n);
  TensorBuilder c({DataType::kFloat32, rows == 1 ? Shape{signed_n} : Shape{rows, signed_n}});
  std::size_t next = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::size_t column = 0; column < n; ++column) {
      double old = 0.0;
      if (geometry->has_c) {
        const std::int64_t at =
            row * geometry->c_row_stride + static_cast<std::int64_t>(column) * geometry->c_column_stride;
        old = static_cast<double>(geometry->beta) *
              static_cast<double>(graph.value(gemm.inputs[2]).constant->as<float>()[static_cast<std::size_t>(at)]);
      }
      c.as<float>()[next++] = static_cast<float>(old * channels[column].scale + channels[column].shift);
    }
  }
  const bool transposed = geometry->transpose_b;
  return {scale_weight(weight, channels, transposed ? k : 1), std::move(c).build()};
}

bool finite(const Folded& folded) {
  for (const Tensor* tensor : {&folded.weight, &folded.bias}) {
    for (const float x : tensor->as<float>()) {
      if (!std::isfinite(x)) return false;
    }
  }
  return true;
}

// Emits `node` with the batch norms in it, giving the last one's output. False: not these.
Expected<bool> fold_into(Rewrite& rewrite, const Graph& graph, const Node& node, const NormChain& chain) {
  if (chain.channels.empty()) return false;
  const Folded folded =
      node.op == OpType::kConv ? fold_conv(graph, node, chain.channels) : fold_gemm(graph, node, chain.channels);
  if (!finite(folded)) return false;
  TRY_ASSIGN(const ValueId x, rewrite.value(node.inputs[0]));
  TRY_ASSIGN(const ValueId weight, rewrite.add_constant(node.name + "_folded_weight", folded.weight));
  TRY_ASSIGN(const ValueId bias, rewrite.add_constant(node.name + "_folded_bias", folded.bias));
  Node replacement = node;
  if (node.op == OpType::kGemm) replacement.attributes.set("beta", 1.0F);
  TRY(rewrite.emit(replacement, {x, weight, bias}, graph.node(chain.nodes.back()).outputs));
  return true;
}

}  // namespace

Expected<Graph> fold_batch_norm(const Graph& graph) {
  Rewrite rewrite(graph);
  std::vector<bool> gone(graph.node_count(), false);
  for (std::size_t i = 0; i < graph.node_count(); ++i) {
    if (gone[i]) continue;
    const Node& node = graph.nodes()[i];
    const NormChain chain = chain_behind(graph, node);
    TRY_ASSIGN(const bool folded, fold_into(rewrite, graph, node, chain));
    if (folded) {
      for (const NodeId norm : chain.nodes) gone[norm.index()] = true;
    } else {
      TRY(rewrite.copy(node));
    }
  }
  return std::move(rewrite).finish();
}

}  // namespace onnx_split
