// The calibrated networks are good witnesses: their logits have a reasonable size and depend on the input, and nothing
// in between is near overflow. Checked on inputs that the calibration hasn't seen.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/evaluate.h"
#include "graph/builder.h"
#include "graph/zoo/zoo.h"

namespace onnx_split::zoo {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

Evaluate with_threads(unsigned threads) {
  return [threads](const Graph& graph, std::span<const Tensor> inputs) {
    return evaluate_once(graph, inputs, {.threads = threads, .choices = {}});
  };
}

// The same graph with every node's outputs as outputs; the network's own output is the last.
Expected<Graph> with_every_value(const Graph& graph) {
  GraphBuilder builder(graph.name());
  std::vector<ValueId> ids(graph.value_count());
  for (std::size_t i = 0; i < graph.value_count(); ++i) {
    const Value& value = graph.values()[i];
    if (value.constant) {
      TRY_ASSIGN(ids[i], builder.add_constant(value.name, *value.constant));
    } else if (!value.producer.valid()) {
      TRY_ASSIGN(ids[i], builder.add_input(value.name, value.type));
    }
  }
  std::vector<ValueId> outputs;
  for (const Node& node : graph.nodes()) {
    std::vector<ValueId> inputs;
    for (const ValueId input : node.inputs) inputs.push_back(ids[input.index()]);
    const ValueId output = node.outputs.front();
    TRY_ASSIGN(const NodeId added,
               builder.add_node(node.name, node.op, node.attributes, std::move(inputs), {graph.value(output).name}));
    ids[output.index()] = builder.graph().node(added).outputs.front();
    outputs.push_back(ids[output.index()]);
  }
  return std::move(builder).build(std::move(outputs));
}

double largest(std::span<const float> values) {
  double largest = 0.0;
  for (const float value : values) {
    if (!std::isfinite(value)) return INFINITY;
    largest = std::max(largest, std::fabs(static_cast<double>(value)));
  }
  return largest;
}

double deviation(std::span<const float> values) {
  double sum = 0.0;
  double squares = 0.0;
  for (const float value : values) {
    sum += value;
    squares += static_cast<double>(value) * value;
  }
  const double mean = sum / static_cast<double>(values.size());
  return std::sqrt(squares / static_cast<double>(values.size()) - mean * mean);
}

class ZooCalibration : public testing::TestWithParam<Network> {};

TEST_P(ZooCalibration, LogitsHaveAReasonableSizeAndDependOnTheInput) {
  constexpr std::array kSmall = {"resnet18", "mobilenet_v2", "squeezenet1_1"};
  if (kSanitized && std::ranges::find(kSmall, GetParam().name) == kSmall.end()) {
    GTEST_SKIP() << "too slow under sanitizers; resnet18, mobilenet_v2 and squeezenet1_1 stand for all";
  }
  const Evaluate evaluate = with_threads(2);
  const Expected<Graph> network = build(GetParam().name, 1, evaluate);
  ASSERT_TRUE(network) << network.error().message;
  const Expected<Graph> graph = with_every_value(*network);
  ASSERT_TRUE(graph) << graph.error().message;

  std::vector<Tensor> logits;
  for (const std::uint64_t seed : {0, 1}) {
    const auto values = evaluate(*graph, std::array{random_input(GetParam().input, seed)});
    ASSERT_TRUE(values) << values.error().message;
    for (std::size_t i = 0; i < values->size(); ++i) {
      ASSERT_LT(largest((*values)[i].as<float>()), 1e4) << describe(graph->nodes()[i]);
    }
    logits.push_back(values->back());
    const double spread = deviation(logits.back().as<float>());
    EXPECT_GE(spread, 0.5);
    EXPECT_LE(spread, 5.0);
  }

  const std::span<const float> first = logits[0].as<float>();
  const std::span<const float> second = logits[1].as<float>();
  std::vector<float> difference(first.size());
  std::ranges::transform(first, second, difference.begin(), std::minus<>());
  const double ratio = largest(difference) / std::max(largest(first), largest(second));
  EXPECT_GE(ratio, 0.1);
  RecordProperty("logits_deviation", fmt::format("{:.2f}", deviation(first)));
  RecordProperty("difference_ratio", fmt::format("{:.2f}", ratio));
}

INSTANTIATE_TEST_SUITE_P(All, ZooCalibration, testing::ValuesIn(networks().begin(), networks().end()),
                         [](const auto& network) { return std::string(network.param.name); });

bool same_constants(const Graph& a, const Graph& b) {
  const auto same = [](const Value& x, const Value& y) {
    return x.name == y.name && x.constant.has_value() == y.constant.has_value() &&
           (!x.constant || std::ranges::equal(x.constant->buffer().bytes(), y.constant->buffer().bytes()));
  };
  return std::ranges::equal(a.values(), b.values(), same);
}

TEST(ZooWeights, TheSameSeedGivesTheSameBitsWhateverTheThreads) {
  for (const std::string_view name : {"squeezenet1_1", "mobilenet_v2"}) {
    const auto once = build(name, 7, with_threads(1));
    const auto again = build(name, 7, with_threads(2));
    ASSERT_TRUE(once && again);
    EXPECT_TRUE(same_constants(*once, *again)) << name;
  }
}

TEST(ZooWeights, AnotherSeedGivesOtherWeights) {
  const auto first = build("squeezenet1_1", 1, with_threads(2));
  const auto second = build("squeezenet1_1", 2, with_threads(2));
  ASSERT_TRUE(first && second);
  for (std::size_t i = 0; i < first->value_count(); ++i) {
    const Value& value = first->values()[i];
    if (!value.constant) continue;
    EXPECT_FALSE(std::ranges::equal(value.constant->as<float>(), second->values()[i].constant->as<float>()))
        << value.name;
  }
}

}  // namespace
}  // namespace onnx_split::zoo
