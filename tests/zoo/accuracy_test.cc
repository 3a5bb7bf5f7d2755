// Every algorithm on every layer shape of the zoo, against sums in double precision at sampled places.
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>

#include "base/random.h"
#include "engine/choice.h"
#include "engine/evaluate.h"
#include "graph/builder.h"
#include "graph/ops/conv.h"
#include "graph/ops/gemm.h"
#include "graph/passes/passes.h"
#include "graph/zoo/zoo.h"

namespace onnx_split {
namespace {

constexpr double kTolerance = 1e-4;  // of the largest sampled element
constexpr int kSamples = 2000;

Tensor random_tensor(Random& random, const Shape& shape, float deviation) {
  TensorBuilder builder({DataType::kFloat32, shape});
  for (float& x : builder.as<float>()) x = deviation * random.uniform(-1.7F, 1.7F);
  return std::move(builder).build();
}

// One layer's inputs, and how it is computed.
struct Layer {
  OpType op;
  Attributes attributes;
  std::vector<TensorType> types;

  std::string key() const {
    std::string text = fmt::format("{} {}", op_name(op), attributes.to_string());
    for (const TensorType& type : types) text += " " + type.to_string();
    return text;
  }
};

std::vector<Layer> layers_of(const std::string& network) {
  auto structure = zoo::structure(network);
  EXPECT_TRUE(structure.has_value());
  auto graph = simplify(*structure);
  EXPECT_TRUE(graph.has_value());
  std::vector<Layer> layers;
  std::set<std::string> seen;
  for (const Node& node : graph->nodes()) {
    if (node.op != OpType::kConv && node.op != OpType::kGemm) continue;
    Layer layer{node.op, node.attributes, input_types(*graph, node)};
    if (seen.insert(layer.key()).second) layers.push_back(std::move(layer));
  }
  return layers;
}

// An element of a convolution's output, and the sum of its products' magnitudes.
double conv_element(const ConvGeometry& g, const std::vector<Tensor>& inputs, std::int64_t n, std::int64_t m,
                    std::vector<std::int64_t> position) {
  std::vector<WindowAxis> axes = g.window.axes;
  while (axes.size() < 3) {
    axes.insert(axes.begin(), WindowAxis{.input = 1, .output = 1});
    position.insert(position.begin(), 0);
  }
  const std::span<const float> x = inputs[0].as<float>(), w = inputs[1].as<float>();
  const std::int64_t channels = g.input_channels / g.groups;
  const std::int64_t first = m / (g.output_channels / g.groups) * channels;
  double sum = g.has_bias ? static_cast<double>(inputs[2].as<float>()[static_cast<std::size_t>(m)]) : 0.0;
  std::int64_t weight = m * channels * g.kernel_elements();
  for (std::int64_t c = 0; c < channels; ++c) {
    const std::int64_t plane = (n * g.input_channels + first + c) * axes[0].input;
    for (std::int64_t kz = 0; kz < axes[0].kernel; ++kz) {
      for (std::int64_t ky = 0; ky < axes[1].kernel; ++ky) {
        for (std::int64_t kx = 0; kx < axes[2].kernel; ++kx, ++weight) {
          const std::int64_t z = axes[0].begin(position[0]) + kz * axes[0].dilation;
          const std::int64_t y = axes[1].begin(position[1]) + ky * axes[1].dilation;
          const std::int64_t i = axes[2].begin(position[2]) + kx * axes[2].dilation;
          if (z < 0 || z >= axes[0].input || y < 0 || y >= axes[1].input || i < 0 || i >= axes[2].input) continue;
          const std::int64_t at = ((plane + z) * axes[1].input + y) * axes[2].input + i;
          sum += static_cast<double>(x[static_cast<std::size_t>(at)]) *
                 static_cast<double>(w[static_cast<std::size_t>(weight)]);
        }
      }
    }
  }
  return sum;
}

double gemm_element(const GemmGeometry& g, const std::vector<Tensor>& inputs, std::int64_t row, std::int64_t column) {
  const std::span<const float> a = inputs[0].as<float>(), b = inputs[1].as<float>();
  double sum = 0.0;
  for (std::int64_t k = 0; k < g.k; ++k) {
    const std::int64_t in_a = g.transpose_a ? k * g.m + row : row * g.k + k;
    const std::int64_t in_b = g.transpose_b ? column * g.k + k : k * g.n + column;
    sum +=
        static_cast<double>(a[static_cast<std::size_t>(in_a)]) * static_cast<double>(b[static_cast<std::size_t>(in_b)]);
  }
  sum *= static_cast<double>(g.alpha);
  if (g.has_c) {
    const std::int64_t in_c = row * g.c_row_stride + column * g.c_column_stride;
    sum += static_cast<double>(g.beta) * static_cast<double>(inputs[2].as<float>()[static_cast<std::size_t>(in_c)]);
  }
  return sum;
}

// Sampled elements: index into the output, and what it should be.
std::vector<std::pair<std::size_t, double>> samples_of(const Layer& layer, const std::vector<Tensor>& inputs,
                                                       Random& random) {
  const OpCall call{layer.attributes, layer.types, 1};
  std::vector<std::pair<std::size_t, double>> samples;
  if (layer.op == OpType::kGemm) {
    const auto g = gemm_geometry(call);
    for (int i = 0; i < kSamples; ++i) {
      const std::int64_t row = random.integer(0, g->m - 1), column = random.integer(0, g->n - 1);
      samples.emplace_back(row * g->n + column, gemm_element(*g, inputs, row, column));
    }
    return samples;
  }
  const auto g = conv_geometry(call);
  for (int i = 0; i < kSamples; ++i) {
    const std::int64_t n = random.integer(0, g->batch - 1), m = random.integer(0, g->output_channels - 1);
    std::vector<std::int64_t> position;
    std::int64_t index = n * g->output_channels + m;
    for (const WindowAxis& axis : g->window.axes) {
      position.push_back(random.integer(0, axis.output - 1));
      index = index * axis.output + position.back();
    }
    samples.emplace_back(static_cast<std::size_t>(index), conv_element(*g, inputs, n, m, position));
  }
  return samples;
}

void check(const Layer& layer, std::uint64_t seed) {
  SCOPED_TRACE(layer.key());
  Random random(seed);
  const OpCall call{layer.attributes, layer.types, 1};
  std::int64_t depth = 1;
  for (std::size_t axis = 1; axis < layer.types[1].shape.rank(); ++axis) depth *= layer.types[1].shape[axis];
  std::vector<Tensor> inputs;
  for (std::size_t i = 0; i < layer.types.size(); ++i) {
    const float deviation = i == 1 ? 1.0F / std::sqrt(static_cast<float>(depth)) : 1.0F;
    inputs.push_back(random_tensor(random, layer.types[i].shape, deviation));
  }
  const auto samples = samples_of(layer, inputs, random);
  double largest = 0.0;
  for (const auto& sample : samples) largest = std::max(largest, std::abs(sample.second));

  GraphBuilder builder("layer");
  std::vector<ValueId> ids;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::string name = fmt::format("in{}", i);
    ids.push_back(i == 0 ? *builder.add_input(name, inputs[0].type()) : *builder.add_constant(name, inputs[i]));
  }
  const ValueId output = *builder.add("layer", layer.op, layer.attributes, ids);
  const Graph graph = *std::move(builder).build({output});
  int possible = 0;
  for (const char* choice : {"direct", "winograd2", "winograd4", "depthwise", "im2col tile=448 depth=384 rows=64",
                             "direct_1x1 tile=448 rows=64", "gemv", "sgemm tile=512 rows=64"}) {
    if (!parse_choice(layer.op, call, choice)) continue;
    ++possible;
    const auto outputs =
        evaluate_once(graph, std::span(inputs).first(1), {.threads = 1, .choices = {{"layer", choice}}});
    ASSERT_TRUE(outputs.has_value()) << outputs.error().message;
    double worst = 0.0;
    for (const auto& [index, expected] : samples) {
      const auto found = static_cast<double>(outputs->front().as<float>()[index]);
      ASSERT_TRUE(std::isfinite(found)) << choice;
      worst = std::max(worst, std::abs(found - expected));
    }
    EXPECT_LE(worst, kTolerance * largest) << choice;
  }
  EXPECT_GT(possible, 0);
}

class Accuracy : public testing::TestWithParam<std::string> {};

TEST_P(Accuracy, EveryAlgorithmOfEveryLayer) {
  std::uint64_t seed = 1;
  for (const Layer& layer : layers_of(GetParam())) check(layer, seed++);
}

std::vector<std::string> network_names() {
  std::vector<std::string> names;
  for (const zoo::Network& network : zoo::networks()) names.emplace_back(network.name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Zoo, Accuracy, testing::ValuesIn(network_names()),
                         [](const auto& instance) { return instance.param; });

}  // namespace
}  // namespace onnx_split
