// What travels: the costs that the paper gives for each split, rows that neighbours lack and no others, and values that
// are needed far behind.
#include <gtest/gtest.h>

#include "partition/routing.h"
#include "tests/partition/split_cases.h"

namespace onnx_split {
namespace {

using testing::Chain;
using testing::must;
using testing::plan_stages;
using testing::stage;

// Elements (of 4 bytes) that the parts of the first stage receive, and that the whole stage behind it does.
struct Traffic {
  std::int64_t in = 0;
  std::int64_t out = 0;
  bool operator==(const Traffic&) const = default;
};
std::ostream& operator<<(std::ostream& stream, const Traffic& traffic) {
  return stream << traffic.in << " in, " << traffic.out << " out";
}

// `until`: the last value of the divided stage. The `whole` consumer is on a device of its own.
Traffic traffic_of(const Graph& graph, const std::string& until, Split split, std::size_t ways) {
  const Plan plan = must(plan_stages(graph, ways + 1, {stage({until}, split, ways), StageRequest{}}));
  EXPECT_EQ(plan.stages.size(), 2U);
  Traffic traffic;
  std::int64_t sent = 0;
  for (const Part& part : plan.stages[0].parts) {
    traffic.in += part.received_bytes / 4;
    sent += part.sent_bytes / 4;
  }
  traffic.out = plan.stages[1].parts[0].received_bytes / 4;
  EXPECT_EQ(sent, traffic.out);
  return traffic;
}

// arXiv 1901.02537, the communication of FC output and input splitting, conv channel, filter and spatial splitting.
TEST(Traffic, IsThePapersForEachSplitAndNumberOfDevices) {
  constexpr std::int64_t m = 120, k = 90;
  const Graph fc = Chain(Shape{1, m}).fc("fc", k).relu("y").graph();
  constexpr std::int64_t h = 16, w = 11, c_in = 24, c_out = 40;
  const Graph conv = Chain(Shape{1, c_in, h, w}).conv("conv", c_out).relu("y").graph();
  for (const std::size_t ways : {2U, 3U, 4U, 8U}) {
    const auto n = static_cast<std::int64_t>(ways);
    SCOPED_TRACE(n);
    EXPECT_EQ(traffic_of(fc, "fc", Split::kOutputChannel, ways), (Traffic{n * m, k}));
    EXPECT_EQ(traffic_of(fc, "fc", Split::kInputChannel, ways), (Traffic{m, n * k}));
    EXPECT_EQ(traffic_of(conv, "conv", Split::kOutputChannel, ways), (Traffic{n * h * w * c_in, h * w * c_out}));
    EXPECT_EQ(traffic_of(conv, "conv", Split::kInputChannel, ways), (Traffic{h * w * c_in, n * h * w * c_out}));
    const std::int64_t halo = 2 * (n - 1) * w * c_in;  // a row on each side of each inner border
    EXPECT_EQ(traffic_of(conv, "conv", Split::kSpatial, ways), (Traffic{h * w * c_in + halo, h * w * c_out}));
  }
}

TEST(Traffic, OfAChannelPairIsTheInputToEachAndASumFromEach) {
  const Graph graph = Chain(Shape{1, 8, 6, 5}).conv("a", 30).relu("r").conv("b", 12).relu("y").graph();
  EXPECT_EQ(traffic_of(graph, "b", Split::kChannelPair, 3), (Traffic{3 * 8 * 30, 3 * 12 * 30}));
}

// Two spatial stages on the same devices: each sends its neighbours the rows that they lack.
TEST(Traffic, FromSpatialToSpatialIsTheHaloOnly) {
  const Graph graph = Chain(Shape{1, 4, 12, 10}).conv("a", 6).conv("b", 2).graph();
  std::vector<StageRequest> stages{stage({"a"}, Split::kSpatial, 3), stage({}, Split::kSpatial, 3)};
  for (StageRequest& request : stages) request.devices = {"pi0", "pi1", "pi2"};
  const Plan plan = must(plan_stages(graph, 3, stages));
  constexpr std::int64_t row_bytes = 6 * 10 * 4;
  EXPECT_EQ(plan.stages[1].parts[0].received_bytes, row_bytes);
  EXPECT_EQ(plan.stages[1].parts[1].received_bytes, 2 * row_bytes);
  EXPECT_EQ(plan.stages[1].parts[2].received_bytes, row_bytes);
  EXPECT_EQ(plan.stages[0].parts[1].sent_bytes, 2 * row_bytes);
}

// x → a → b → c, and a + c at the end: a's rows go to the last stage's device once, though b's needs them too.
TEST(Traffic, AValueNeededSeveralStagesLaterGoesStraightThereOnce) {
  Chain chain(Shape{1, 4, 12, 10});
  chain.conv("a", 4);
  const ValueId a = chain.now();
  chain.conv("b", 4).conv("c", 4).add("sum", OpType::kAdd, {}, {a});
  const Graph graph = chain.graph();
  // a on pi0; b on pi1 and pi2; c and the sum on pi1 again: pi1 has a's rows for b already, but other ones.
  std::vector<StageRequest> stages{stage({"a"}, Split::kWhole, 1), stage({"b"}, Split::kSpatial, 2),
                                   stage({}, Split::kWhole, 1)};
  stages[0].devices = {"pi0"};
  stages[1].devices = {"pi1", "pi2"};
  stages[2].devices = {"pi1"};
  const Plan plan = must(plan_stages(graph, 3, stages));
  const Routing routing = must(make_routing(plan, {"x"}, {"sum"}));
  std::int64_t to_pi1 = 0;
  int transfers_of_a = 0;
  for (const Transfer& transfer : routing.transfers) {
    if (transfer.what.value != "a") continue;
    ++transfers_of_a;
    const std::vector<std::size_t> receivers = receiving_devices(plan, transfer, 0);
    if (std::find(receivers.begin(), receivers.end(), 1U) != receivers.end()) {
      to_pi1 += transfer.what.region.shape().elements();
    }
  }
  EXPECT_EQ(transfers_of_a, 2);
  EXPECT_EQ(to_pi1, 4 * 12 * 10);
  EXPECT_EQ(plan.stages[1].parts[0].received_bytes, 4 * 12 * 10 * 4);  // counted where it is needed first
  EXPECT_EQ(plan.stages[2].parts[0].received_bytes, 4 * 6 * 10 * 4);   // b's rows of pi2
}

// x → a → b, and a + b at the end: all of a goes to both devices for b's channels, so its rows for the sum are there.
TEST(Traffic, RowsOfAValueThatIsThereWholeDontGoAgain) {
  Chain chain(Shape{1, 4, 12, 10});
  chain.conv("a", 4);
  const ValueId a = chain.now();
  chain.conv("b", 4).add("sum", OpType::kAdd, {}, {a});
  const Graph graph = chain.graph();
  std::vector<StageRequest> stages{stage({"a"}, Split::kWhole, 1), stage({"b"}, Split::kOutputChannel, 2),
                                   stage({}, Split::kSpatial, 2)};
  stages[0].devices = {"pi0"};
  stages[1].devices = stages[2].devices = {"pi1", "pi2"};
  const Plan plan = must(plan_stages(graph, 3, stages));
  constexpr std::int64_t whole_bytes = 4 * 12 * 10 * 4;
  EXPECT_EQ(plan.stages[0].parts[0].sent_bytes, 2 * whole_bytes);
  for (const std::size_t part : {0U, 1U}) {
    EXPECT_EQ(plan.stages[1].parts[part].received_bytes, whole_bytes);
    EXPECT_EQ(plan.stages[2].parts[part].received_bytes, whole_bytes / 4);  // the other's channels, half the rows
  }
}

// A convolution of one element and stride 2 reads every other row: the parts that own the others have nothing to do.
TEST(Traffic, PartsThatNobodyNeedsAreIdle) {
  const Graph graph = Chain(Shape{1, 3, 4, 4}).conv("a", 3, 1).conv("b", 3, 1, 2).graph();
  const Plan plan = must(plan_stages(graph, 5, {stage({"a"}, Split::kSpatial, 4), stage({}, Split::kSpatial, 2)}));
  const Routing routing = must(make_routing(plan, {"x"}, {"b"}));
  for (std::size_t part = 0; part < 4; ++part) {
    const bool is_needed = part % 2 == 0;
    EXPECT_EQ(routing.from(PartId{0, part}).size(), is_needed ? 1U : 0U);
    EXPECT_EQ(plan.stages[0].parts[part].received_bytes, is_needed ? 3 * 4 * 4 : 0);
  }
}

TEST(Traffic, BetweenPartsOfOneDeviceIsNone) {
  const Graph graph = Chain(Shape{1, 3, 8, 8}).conv("a", 4).conv("b", 3).graph();
  std::vector<StageRequest> stages{stage({"a"}, Split::kOutputChannel, 2), StageRequest{}};
  stages[0].devices = {"pi0", "pi0"};
  stages[1].devices = {"pi0"};
  const Plan plan = must(plan_stages(graph, 1, stages));
  EXPECT_EQ(plan.stages[0].parts[0].received_bytes, 3 * 64 * 4);
  EXPECT_EQ(plan.stages[0].parts[1].received_bytes, 0);  // it is there already
  EXPECT_EQ(plan.stages[0].parts[0].sent_bytes, 0);
  EXPECT_EQ(plan.stages[1].parts[0].received_bytes, 0);
}

}  // namespace
}  // namespace onnx_split
