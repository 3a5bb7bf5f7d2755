#include "partition/pipeline.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>

#include "graph/operators.h"
#include "tests/support/expect.h"
#include "tests/support/random_network.h"

namespace onnx_split {
namespace {

using testing::error_of;
using testing::must;
using testing::random_network;

struct Score {
  std::int64_t bottleneck = 0;
  std::int64_t bytes = 0;
  auto operator<=>(const Score&) const = default;
};

// Counted anew from the stages alone: the slow reference.
Score score_of(const Graph& graph, const std::vector<std::size_t>& stage_of, std::size_t stages) {
  std::vector<std::int64_t> macs(stages, 0);
  Score score;
  for (std::size_t i = 0; i < graph.node_count(); ++i) macs[stage_of[i]] += node_cost(graph, graph.nodes()[i]).macs;
  score.bottleneck = *std::max_element(macs.begin(), macs.end());
  for (const Value& value : graph.values()) {
    if (value.constant) continue;
    for (std::size_t stage = 0; stage < stages; ++stage) {
      const bool made_here = value.producer.valid() && stage_of[value.producer.index()] == stage;
      const bool used_here = std::any_of(value.consumers.begin(), value.consumers.end(),
                                         [&](NodeId node) { return stage_of[node.index()] == stage; });
      if (used_here && !made_here) score.bytes += static_cast<std::int64_t>(value.type.size_bytes());
    }
  }
  return score;
}

std::vector<std::size_t> stage_of_nodes(const std::vector<StageNodes>& stages, std::size_t nodes) {
  std::vector<std::size_t> stage_of(nodes, SIZE_MAX);
  for (std::size_t s = 0; s < stages.size(); ++s) {
    for (const NodeId node : stages[s]) stage_of[node.index()] = s;
  }
  return stage_of;
}

Score best_by_trying_all(const Graph& graph, std::size_t stages) {
  const std::size_t nodes = graph.node_count();
  Score best{INT64_MAX, INT64_MAX};
  std::vector<std::size_t> stage_of(nodes, 0);
  const std::function<void(std::size_t, std::size_t)> cut = [&](std::size_t begin, std::size_t stage) {
    if (stage + 1 == stages) {
      std::fill(stage_of.begin() + static_cast<std::ptrdiff_t>(begin), stage_of.end(), stage);
      best = std::min(best, score_of(graph, stage_of, stages));
      return;
    }
    for (std::size_t end = begin + 1; end + (stages - stage - 1) <= nodes; ++end) {
      std::fill(stage_of.begin() + static_cast<std::ptrdiff_t>(begin),
                stage_of.begin() + static_cast<std::ptrdiff_t>(end), stage);
      cut(end, stage + 1);
    }
  };
  cut(0, 0);
  return best;
}

TEST(Pipeline, BalancedCutsAreTheBestOfAllCuts) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const Graph graph = random_network(seed, 1 + static_cast<std::int64_t>(seed % 4));
    for (std::size_t stages = 1; stages <= std::min<std::size_t>(4, graph.node_count()); ++stages) {
      const auto balanced = must(balance_stages(graph, stages));
      ASSERT_EQ(balanced.size(), stages);
      const Score score = score_of(graph, stage_of_nodes(balanced, graph.node_count()), stages);
      ASSERT_EQ(score, best_by_trying_all(graph, stages)) << "seed " << seed << ", " << stages << " stages";
    }
  }
}

TEST(Pipeline, EveryNodeIsInOneStageAndStagesFollowEachOther) {
  const Graph graph = random_network(7, 6);
  const auto stages = must(balance_stages(graph, 5));
  const std::vector<std::size_t> stage_of = stage_of_nodes(stages, graph.node_count());
  EXPECT_TRUE(std::is_sorted(stage_of.begin(), stage_of.end()));
  EXPECT_EQ(stage_of.back(), 4U);
  for (const StageNodes& nodes : stages) EXPECT_FALSE(nodes.empty());
}

TEST(Pipeline, RefusesMoreStagesThanNodes) {
  const Graph graph = random_network(1, 1);
  EXPECT_NE(error_of(balance_stages(graph, graph.node_count() + 1)).find("from 1 to"), std::string::npos);
  EXPECT_FALSE(balance_stages(graph, 0));
}

TEST(Pipeline, CutsByHandAtNamedValues) {
  const Graph graph = random_network(3, 5);
  const std::string middle = graph.value(graph.nodes()[graph.node_count() / 2].outputs[0]).name;
  const auto stages = must(stages_until(graph, {{middle}}));
  ASSERT_EQ(stages.size(), 2U);
  EXPECT_EQ(graph.value(graph.node(stages[0].back()).outputs[0]).name, middle);
  EXPECT_EQ(stages[0].size() + stages[1].size(), graph.node_count());
}

TEST(Pipeline, RefusesCutsThatMeanNothing) {
  const Graph graph = random_network(3, 3);
  const std::string last = graph.value(graph.nodes().back().outputs[0]).name;
  EXPECT_EQ(error_of(stages_until(graph, {{"nowhere"}})), "stages[0].until: no value \"nowhere\" in the model");
  EXPECT_EQ(error_of(stages_until(graph, {{"input"}})), "stages[0].until: value \"input\" isn't computed by any node");
  EXPECT_EQ(error_of(stages_until(graph, {{last}, {last}})),
            "stages[1].until: the stages before it compute everything already");
}

}  // namespace
}  // namespace onnx_split
