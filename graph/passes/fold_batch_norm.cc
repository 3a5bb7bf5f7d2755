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

// The batch norm that can go into `node`, if there is one.
std::optional<NodeId> foldable_behind(const Graph& graph, const Node& node) {
  if ((node.op != OpType::kConv && node.op != OpType::kGemm) || !all_constant(graph, node)) return std::nullopt;
  const Value& output = graph.value(node.outputs[0]);
  if (output.consumers.size() != 1 || graph.is_output(node.outputs[0])) return std::nullopt;
  const NodeId id = output.consumers[0];
  const Node& norm = graph.node(id);
  if (norm.op != OpType::kBatchNormalization || norm.inputs[0] != node.outputs[0]) return std::nullopt;
  if (!all_constant(graph, norm)) return std::nullopt;
  return id;
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

struct Folded {
  Tensor weight;
  Tensor bias;
};

// Multiplies each weight by its output channel's factor: channel_of(index) of the flat weight.
template <class ChannelOf>
Tensor scale_weight(const Tensor& weight, const std::vector<ScaleShift>& channels, ChannelOf&& channel_of) {
  TensorBuilder scaled(weight.type());
  const auto from = weight.as<float>();
  const auto to = scaled.as<float>();
  for (std::size_t i = 0; i < from.size(); ++i) {
    to[i] = static_cast<float>(static_cast<double>(from[i]) * channels[channel_of(i)].scale);
  }
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
  return {scale_weight(weight, channels, [&](std::size_t i) { return i / filter; }), std::move(bias).build()};
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
  return {scale_weight(weight, channels, [&](std::size_t i) { return transposed ? i / k : i % n; }),
          std::move(c).build()};
}

// A variance that makes no number (and so no network) is left for whoever computes it.
bool finite(const Folded& folded) {
  for (const Tensor* tensor : {&folded.weight, &folded.bias}) {
    for (const float x : tensor->as<float>()) {
      if (!std::isfinite(x)) return false;
    }
  }
  return true;
}

// Emits `node` with the batch norm in it, giving the batch norm's output. False: not this one.
Expected<bool> fold_into(Rewrite& rewrite, const Graph& graph, const Node& node, const Node& norm) {
  const std::vector<ScaleShift> channels = channels_of(graph, norm);
  if (channels.empty()) return false;
  const Folded folded = node.op == OpType::kConv ? fold_conv(graph, node, channels) : fold_gemm(graph, node, channels);
  if (!finite(folded)) return false;
  TRY_ASSIGN(const ValueId x, rewrite.value(node.inputs[0]));
  TRY_ASSIGN(const ValueId weight, rewrite.add_constant(node.name + "_folded_weight", folded.weight));
  TRY_ASSIGN(const ValueId bias, rewrite.add_constant(node.name + "_folded_bias", folded.bias));
  Node replacement = node;
  if (node.op == OpType::kGemm) replacement.attributes.set("beta", 1.0F);
  TRY(rewrite.emit(replacement, {x, weight, bias}, norm.outputs));
  return true;
}

}  // namespace

Expected<Graph> fold_batch_norm(const Graph& graph) {
  Rewrite rewrite(graph);
  std::vector<bool> gone(graph.node_count(), false);
  for (std::size_t i = 0; i < graph.node_count(); ++i) {
    const Node& node = graph.nodes()[i];
    if (gone[i]) continue;
    if (const std::optional<NodeId> norm = foldable_behind(graph, node)) {
      TRY_ASSIGN(gone[norm->index()], fold_into(rewrite, graph, node, graph.node(*norm)));
      if (gone[norm->index()]) continue;
    }
    TRY(rewrite.copy(node));
  }
  return std::move(rewrite).finish();
}

}  // namespace onnx_split
