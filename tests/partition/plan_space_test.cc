// What the search may choose from: stages that can be made, all of them, and where it may cut.
#include "partition/plan_space.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "graph/operators.h"
#include "graph/zoo/zoo.h"
#include "tests/partition/search_problem.h"

namespace onnx_split {
namespace {

using testing::describe;
using testing::Instance;
using testing::must;
using testing::Problem;
using testing::RandomInstance;

// Whether all nodes of a stage have a place in its parts.
bool can_be_made(const Graph& graph, std::size_t begin, std::size_t end, const Division& division) {
  StageNodes nodes;
  for (std::size_t i = begin; i < end; ++i) nodes.emplace_back(i);
  const auto divided = divide_stage(graph, nodes, division, channel_units(graph), PartWeights::kBlank);
  return divided && divided->rest.empty() && divided->parts.size() == division.ways;
}

TEST(PlanSpace, HasEveryDivisionThatCanBeMadeAndNoOther) {
  int possible = 0, impossible = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const Problem problem{RandomInstance(seed).make(6, 4)};
    const std::vector<std::size_t> order = canonical_order(problem.cost);
    const SpaceOptions all;
    for (std::size_t begin = 0; begin < 6; ++begin) {
      for (std::size_t end = begin + 1; end <= 6; ++end) {
        for (std::size_t count = 1; count <= 4; ++count) {
          const std::vector<std::size_t> devices(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count));
          const auto choices = stage_choices(problem.cost, begin, end, devices, all);
          std::size_t known = 0;
          for (std::size_t ways = 1; ways <= count; ++ways) {
            if (count % ways != 0) continue;
            std::vector<Division> divisions;
            if (ways == 1) divisions = {{}};
            if (ways > 1) {
              divisions = {{Split::kSpatial, ways, {ways, 1}, {}},
                           {Split::kOutputChannel, ways, {}, {}},
                           {Split::kInputChannel, ways, {}, {}},
                           {Split::kChannelPair, ways, {}, {}}};
            }
            if (ways == 4) divisions.push_back({Split::kSpatial, ways, {2, 2}, {}});
            for (Division division : divisions) {
              const auto found = std::find_if(choices.begin(), choices.end(), [&](const CandidateStage& choice) {
                return choice.division.split == division.split && choice.division.ways == ways &&
                       choice.division.grid == division.grid;
              });
              SCOPED_TRACE(fmt::format("seed {} nodes {} to {} {}\n{}", seed, begin, end, to_string(division),
                                       to_text(problem.instance.graph)));
              if (found == choices.end()) {
                // With shares in proportion to the devices' speeds it may be impossible where equal ones aren't.
                if (ways < count || division.split == Split::kWhole) {
                  ASSERT_FALSE(can_be_made(problem.instance.graph, begin, end, division));
                }
                ++impossible;
                continue;
              }
              ++known;
              ++possible;
              division.weights = found->division.weights;
              ASSERT_TRUE(can_be_made(problem.instance.graph, begin, end, division));
              ASSERT_EQ(found->begin, begin);
              ASSERT_EQ(found->end, end);
              ASSERT_EQ(found->replicas * ways, count);
              if (found->replicas > 1) {
                ASSERT_TRUE(found->division.weights.empty());
              }
              // Replica i has the devices i·w … i·w + w - 1.
              for (std::size_t part = 0; part < ways; ++part) {
                for (std::size_t replica = 0; replica < found->replicas; ++replica) {
                  ASSERT_EQ(found->devices[part * found->replicas + replica], devices[replica * ways + part]);
                }
              }
            }
          }
          ASSERT_EQ(known, choices.size());
          for (const CandidateStage& choice : stage_choices(problem.cost, begin, end, devices, {false, true, 2})) {
            ASSERT_EQ(choice.replicas, 1U);
            ASSERT_LE(choice.division.ways, 2U);
          }
          for (const CandidateStage& choice : stage_choices(problem.cost, begin, end, devices, {true, false, 16})) {
            ASSERT_EQ(choice.division.split, Split::kWhole);
          }
        }
      }
    }
  }
  EXPECT_GT(possible, 1000);
  EXPECT_GT(impossible, 1000);
}

// The same for equal devices, whose parts have equal shares: what isn't there can't be made.
TEST(PlanSpace, LeavesNothingOutForEqualDevices) {
  int impossible = 0;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    Instance instance = RandomInstance(seed).make(6, 4);
    instance.model.pairs.clear();
    for (DeviceModel& device : instance.model.devices) device.times = instance.model.devices[0].times;
    RandomInstance::number_kinds(instance.model);
    const Problem problem{std::move(instance)};
    const std::vector<std::size_t> order = canonical_order(problem.cost);
    for (std::size_t begin = 0; begin < 6; ++begin) {
      for (std::size_t end = begin + 1; end <= 6; ++end) {
        for (std::size_t ways = 2; ways <= 4; ++ways) {
          const std::span<const std::size_t> devices(order.data(), ways);
          for (const Split split :
               {Split::kSpatial, Split::kOutputChannel, Split::kInputChannel, Split::kChannelPair}) {
            const auto choice = stage_choice(problem.cost, begin, end, devices, split, ways);
            Division division{split, ways, {}, {}};
            if (split == Split::kSpatial) division.grid = {ways, 1};
            if (choice) {
              ASSERT_EQ(choice->division, division);
            }
            ASSERT_EQ(choice.has_value(), can_be_made(problem.instance.graph, begin, end, division))
                << "seed " << seed << " nodes " << begin << " to " << end << " " << to_string(division) << "\n"
                << to_text(problem.instance.graph);
            impossible += choice ? 0 : 1;
          }
        }
      }
    }
  }
  EXPECT_GT(impossible, 1000);
}

TEST(PlanSpace, ListsTheFastestDevicesFirst) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    const Problem problem{RandomInstance(seed).make(5, 4)};
    const std::vector<DeviceModel>& devices = problem.instance.model.devices;
    const std::vector<std::size_t> order = canonical_order(problem.cost);
    EXPECT_EQ(std::set<std::size_t>(order.begin(), order.end()).size(), devices.size());
    for (std::size_t i = 0; i + 1 < order.size(); ++i) {
      double first_s = 0.0, second_s = 0.0;
      for (std::size_t node = 0; node < 5; ++node) {
        first_s += devices[order[i]].times->node_s(NodeId(node));
        second_s += devices[order[i + 1]].times->node_s(NodeId(node));
      }
      EXPECT_LE(first_s, second_s);
      if (devices[order[i]].kind == devices[order[i + 1]].kind) {
        EXPECT_LT(devices[order[i]].name, devices[order[i + 1]].name);
      }
    }
  }
}

// Bytes of the values that are known before a place and needed behind it.
std::int64_t crossing_bytes(const Graph& graph, std::size_t place) {
  std::int64_t bytes = 0;
  for (const Value& value : graph.values()) {
    if (value.constant) continue;
    const bool before = !value.producer.valid() || value.producer.index() < place;
    const bool behind = std::any_of(value.consumers.begin(), value.consumers.end(),
                                    [&](NodeId consumer) { return consumer.index() >= place; });
    if (before && behind) bytes += static_cast<std::int64_t>(value.type.size_bytes());
  }
  return bytes;
}

void expect_cuts(const Graph& graph, std::size_t most) {
  const std::vector<std::size_t> cuts = candidate_cuts(graph, most);
  SCOPED_TRACE(fmt::format("{} nodes, at most {}: {}", graph.node_count(), most, fmt::join(cuts, " ")));
  ASSERT_GE(cuts.size(), 2U);
  ASSERT_LE(cuts.size(), most);
  ASSERT_EQ(cuts.front(), 0U);
  ASSERT_EQ(cuts.back(), graph.node_count());
  ASSERT_TRUE(std::adjacent_find(cuts.begin(), cuts.end(), std::greater_equal<>()) == cuts.end());
  const std::vector<std::size_t> every = candidate_cuts(graph, graph.node_count() + 2);
  ASSERT_TRUE(std::includes(every.begin(), every.end(), cuts.begin(), cuts.end()));
  if (every.size() <= most) {
    ASSERT_EQ(cuts, every);
  }
  for (std::size_t place = 1; place < graph.node_count(); ++place) {
    const bool has_macs = node_cost(graph, graph.nodes()[place]).macs > 0;
    const bool is_better_behind = crossing_bytes(graph, place) >= crossing_bytes(graph, place + 1);
    ASSERT_EQ(std::binary_search(every.begin(), every.end(), place), has_macs || !is_better_behind) << place;
  }
}

TEST(CandidateCuts, LeaveOutOnlyWhatIsBetterCutBehind) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    const Graph graph = testing::SmallNetwork(seed).make(1 + seed % 8, seed % 3 == 0);
    for (const std::size_t most : {2U, 3U, 5U, 65U}) expect_cuts(graph, most);
  }
  for (const char* name : {"resnet18", "vgg16", "mobilenet_v2", "squeezenet1_1", "resnet50"}) {
    const Graph graph = must(zoo::structure(name));
    for (const std::size_t most : {2U, 20U, 65U}) expect_cuts(graph, most);
  }
}

// Where few cuts are allowed, those stay that have the most work on both sides.
TEST(CandidateCuts, KeepTheOnesThatDivideTheWork) {
  const Graph graph = must(zoo::structure("vgg16"));
  const std::vector<std::size_t> cuts = candidate_cuts(graph, 9);
  double total = 0.0, largest = 0.0;
  for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
    double macs = 0.0;
    for (std::size_t node = cuts[i]; node < cuts[i + 1]; ++node) {
      macs += static_cast<double>(node_cost(graph, graph.nodes()[node]).macs);
    }
    total += macs;
    largest = std::max(largest, macs);
  }
  EXPECT_LT(largest, 0.25 * total);
}

}  // namespace
}  // namespace onnx_split
