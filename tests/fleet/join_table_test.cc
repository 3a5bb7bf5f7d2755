#include "fleet/join_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <thread>

#include "base/random.h"
#include "fleet/frame.h"
#include "partition/cluster_model.h"
#include "partition/predict.h"
#include "tests/fleet/plans.h"
#include "tests/support/expect.h"
#include "tests/support/random_network.h"
#include "tests/support/random_plan.h"
#include "tests/support/spare_network.h"

namespace onnx_split {
namespace {

using testing::deployment_of;
using testing::error_of;
using testing::must;
using testing::plan_of;
using testing::random_network;
using testing::RandomPlan;
using testing::SpareNetwork;

// A stage after the other.
Deployment chain_deployment(const Graph& graph, std::size_t devices, std::size_t window) {
  return deployment_of(graph, plan_of(graph, devices, {}, window));
}

// A payload that says for which request and transfer it is.
Buffer payload(std::uint64_t request, std::size_t transfer) {
  MutableBuffer buffer(16);
  const std::uint64_t words[2] = {request, transfer};
  std::memcpy(buffer.bytes().data(), words, sizeof words);
  return std::move(buffer).freeze();
}

std::vector<std::size_t> needs_of(const Deployment& deployment, std::size_t device) {
  std::vector<std::size_t> needs;
  for (const PartId id : deployment.parts_of(device)) {
    for (const ValueRegion& input : deployment.plan.stages[id.stage].parts[id.part].inputs) {
      for (const std::size_t transfer : deployment.routing.pieces_of(id, input)) needs.push_back(transfer);
    }
  }
  return needs;
}

TEST(JoinTable, JoinsByRequestWhateverTheOrderOfArrival) {
  Random random(1);
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    const std::size_t window = 1 + seed % 5;
    const Deployment deployment = chain_deployment(random_network(seed, 6), 3, window);
    for (std::size_t device = 0; device < 3; ++device) {
      JoinTable table(deployment, device);
      const std::vector<std::size_t> needs = needs_of(deployment, device);
      std::uint64_t next = 0;
      for (std::uint64_t base = 0; base < 20; base += window) {
        std::vector<std::pair<std::uint64_t, std::size_t>> arrivals;
        for (std::uint64_t r = base; r < base + window; ++r) {
          for (const std::size_t transfer : needs) arrivals.emplace_back(r, transfer);
        }
        for (std::size_t i = arrivals.size(); i > 1; --i) {
          std::swap(arrivals[i - 1],
                    arrivals[static_cast<std::size_t>(random.integer(0, static_cast<std::int64_t>(i) - 1))]);
        }
        for (const auto& [request, transfer] : arrivals) {
          EXPECT_TRUE(must(table.deliver(request, transfer, payload(request, transfer))).is_kept);
          EXPECT_FALSE(must(table.deliver(request, transfer, payload(0, 0))).is_kept);  // a copy
        }
        for (std::uint64_t r = base; r < base + window; ++r) {
          const std::optional<Job> job = table.take();
          ASSERT_TRUE(job);
          EXPECT_EQ(job->request, next++);  // the oldest first
          for (const std::size_t transfer : needs) {
            std::uint64_t words[2] = {};
            std::memcpy(words, table.payload(*job, transfer), sizeof words);
            EXPECT_EQ(words[0], job->request);
            EXPECT_EQ(words[1], transfer);
          }
          table.finish(*job);
        }
      }
    }
  }
}

TEST(JoinTable, WhatComesTooLateIsDroppedAndWhatComesTooEarlyIsAnError) {
  const Deployment deployment = chain_deployment(random_network(1, 3), 1, 2);
  JoinTable table(deployment, 0);
  const std::size_t transfer = needs_of(deployment, 0)[0];
  must(table.deliver(0, transfer, payload(0, transfer)));
  EXPECT_NE(error_of(table.deliver(2, transfer, payload(2, transfer))).find("the window is 2"), std::string::npos);
  table.finish(*table.take());
  EXPECT_FALSE(must(table.deliver(0, transfer, payload(0, transfer))).is_kept);
  EXPECT_TRUE(must(table.deliver(2, transfer, payload(2, transfer))).is_kept);
  EXPECT_FALSE(must(table.deliver(0, transfer, payload(0, transfer))).is_kept);
}

// Device 0 receives b in two parts and their parity, device 1 is one of those who give it.
Deployment parity_deployment(std::size_t window) {
  const Graph graph = SpareNetwork::make(1, 8);
  std::vector<StageRequest> stages = SpareNetwork::parity_stages("b", 2);
  stages[0].devices = stages[2].devices = {"d0"};
  return deployment_of(graph, plan_of(graph, 4, std::move(stages), window));
}

// b in two parts and their parity (devices 1 to 3), what follows it twice (4 and 5), the rest (0).
Deployment two_spare_stages_deployment() {
  const Graph graph = SpareNetwork::make(1, 8);
  std::vector<StageRequest> stages = SpareNetwork::parity_stages("b", 2);
  StageRequest twice;
  twice.until = {"flat"};
  twice.spare = Spare::kStandby;
  twice.devices = {"d4", "d5"};
  stages.insert(stages.end() - 1, std::move(twice));
  stages.front().devices = stages.back().devices = {"d0"};
  stages[1].devices = {"d1", "d2", "d3"};
  return deployment_of(graph, plan_of(graph, 6, std::move(stages), 3));
}

// What the planner reserves for requests that wait, beyond weights, activations and the runner itself.
void expect_predicted(const Graph& graph, Plan plan, const std::string& what) {
  Cluster cluster;
  for (const std::string& name : plan.devices) cluster.devices.emplace_back().name = name;
  const ClusterModel model = must(make_cluster_model(graph, cluster, nullptr));
  must(predict(graph, model, plan));
  const Deployment deployment = deployment_of(graph, plan);
  for (const std::size_t device : used_devices(plan)) {
    std::int64_t waiting = plan.prediction->loads[device].memory_bytes - model.devices[device].idle_bytes;
    for (const PartId id : deployment.parts_of(device)) {
      const Part& part = plan.stages[id.stage].parts[id.part];
      waiting -= part.weight_bytes + part.activation_bytes;
    }
    const auto capacity = static_cast<std::int64_t>(JoinTable(deployment, device).capacity_bytes());
    EXPECT_EQ((capacity - waiting) % static_cast<std::int64_t>(kFrameHeaderBytes), 0) << what << " device " << device;
    EXPECT_LE(waiting, capacity) << what << " device " << device;
    const std::size_t most_frames = plan.window * deployment.routing.transfers.size();
    EXPECT_LE(capacity - waiting, static_cast<std::int64_t>(most_frames * kFrameHeaderBytes))
        << what << " device " << device;
  }
}

TEST(JoinTable, HoldsWhatThePredictionCounts) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const Graph graph = random_network(seed, 6);
    Plan plan = RandomPlan(graph, seed, {}, 3).make();
    plan.window = 1 + seed % 7;
    expect_predicted(graph, std::move(plan), fmt::format("seed {}", seed));
  }
  const Graph graph = SpareNetwork::make(1, 8);
  for (const char* layer : {"b", "c"}) {
    expect_predicted(graph, plan_of(graph, 5, SpareNetwork::parity_stages(layer, 3), 4), layer);
  }
}

TEST(JoinTable, AnyOfTheAlternativesAreEnoughAndTheRestIsDropped) {
  const Deployment deployment = parity_deployment(1);
  const std::vector<std::size_t> pieces = deployment.routing.alternatives.at(0).transfers;
  ASSERT_EQ(pieces.size(), 3U);
  const std::size_t input = deployment.routing.from(std::nullopt).front();
  JoinTable table(deployment, 0);
  for (std::uint64_t request = 0; request < 30; ++request) {
    must(table.deliver(request, input, payload(request, input)));
    table.finish(*table.take());  // the first stage
    const std::size_t lost = request % 3;
    for (std::size_t i = 1; i < 3; ++i) {
      const std::size_t transfer = pieces[(lost + i) % 3];
      EXPECT_TRUE(must(table.deliver(request, transfer, payload(request, transfer))).is_kept);
    }
    // Before its job is done, or afterwards.
    const auto deliver_late = [&] {
      EXPECT_FALSE(must(table.deliver(request, pieces[lost], payload(request, pieces[lost]))).is_kept);
    };
    if (request % 2 == 0) deliver_late();
    const std::optional<Job> job = table.take();
    ASSERT_TRUE(job);
    EXPECT_EQ(job->part, 1U);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(table.payload(*job, pieces[i]) == nullptr, i == lost);
    table.finish(*job);
    if (request % 2 == 1) deliver_late();
  }
  EXPECT_EQ(table.given_up(), 0U);
}

TEST(JoinTable, ALateDeviceGivesUpWhatOthersHaveAnswered) {
  const Deployment deployment = parity_deployment(2);
  const std::size_t transfer = needs_of(deployment, 1)[0];
  JoinTable table(deployment, 1);
  const auto deliver = [&](std::uint64_t request) {
    return must(table.deliver(request, transfer, payload(request, transfer)));
  };
  EXPECT_TRUE(deliver(0).is_kept);
  EXPECT_TRUE(deliver(1).is_kept);
  EXPECT_TRUE(deliver(2).is_kept);  // in place of 0
  EXPECT_EQ(table.given_up(), 1U);
  const std::optional<Job> job = table.take();
  ASSERT_TRUE(job);
  EXPECT_EQ(job->request, 1U);
  EXPECT_FALSE(table.stop_of(*job).stop_requested());
  const std::byte* const computed = table.payload(*job, transfer);
  EXPECT_TRUE(deliver(3).is_kept);  // in place of 1, although that is being computed
  EXPECT_EQ(table.given_up(), 2U);
  EXPECT_TRUE(table.stop_of(*job).stop_requested());
  EXPECT_EQ(table.payload(*job, transfer), computed);
  table.finish(*job);
  EXPECT_FALSE(deliver(1).is_kept);
  for (const std::uint64_t request : {2U, 3U}) {
    const std::optional<Job> next = table.take();
    ASSERT_TRUE(next);
    EXPECT_EQ(next->request, request);
    table.finish(*next);
  }
  EXPECT_EQ(table.given_up(), 2U);
}

TEST(JoinTable, ADeviceThatWasAwayIsUpToDateWithTheFirstRequestThatReachesItAgain) {
  const std::size_t window = 4;
  const Deployment deployment = parity_deployment(window);
  const std::size_t transfer = needs_of(deployment, 1)[0];
  JoinTable table(deployment, 1);
  const auto deliver = [&](std::uint64_t request) {
    must(table.deliver(request, transfer, payload(request, transfer)));
  };
  for (std::uint64_t request = 0; request < window; ++request) deliver(request);
  deliver(window + 1);  // 0 and 1 have been answered, 2 and 3 may be waited for
  EXPECT_EQ(table.given_up(), 2U);
  deliver(103);  // 99 may, if it comes
  EXPECT_EQ(table.given_up(), window + 1);
  deliver(102);
  for (const std::uint64_t request : {102U, 103U}) {
    const std::optional<Job> job = table.take_if_ready();
    ASSERT_TRUE(job);
    EXPECT_EQ(job->request, request);
    table.finish(*job);
  }
  EXPECT_FALSE(table.take_if_ready());
}

// Device 1 of the parity deployment, with a window of 3.
class ReplaceableDevice : public ::testing::Test {
 protected:
  bool deliver(std::uint64_t request) { return must(table.deliver(request, input, payload(request, input))).is_kept; }

  const Deployment deployment = parity_deployment(3);
  const std::size_t input = needs_of(deployment, 1)[0];
  const std::size_t output = deployment.routing.from(deployment.parts_of(1)[0]).at(0);
  JoinTable table{deployment, 1};
};

TEST_F(ReplaceableDevice, GivesUpAJobWhenAllItsReceiversHaveEnough) {
  for (std::uint64_t request = 0; request < 3; ++request) EXPECT_TRUE(deliver(request));
  table.has_enough(1, output, 2);                 // receives nothing of it
  table.has_enough(1, output, kFromCoordinator);  // nor does the coordinator
  EXPECT_EQ(table.given_up(), 0U);

  const std::optional<Job> first = table.take();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->request, 0U);
  table.has_enough(0, output, 0);  // while it is computed
  EXPECT_TRUE(table.stop_of(*first).stop_requested());
  table.has_enough(1, output, 0);  // before
  table.has_enough(1, output, 0);  // once more
  EXPECT_EQ(table.given_up(), 2U);
  table.finish(*first);
  EXPECT_FALSE(deliver(1));

  const std::optional<Job> next = table.take();
  ASSERT_TRUE(next);
  EXPECT_EQ(next->request, 2U);
  EXPECT_FALSE(table.stop_of(*next).stop_requested());
  table.finish(*next);
  table.has_enough(2, output, 0);  // too late
  EXPECT_EQ(table.given_up(), 2U);
  for (std::uint64_t request = 3; request < 6; ++request) EXPECT_TRUE(deliver(request));
}

// Notices are short, and may overtake what they are about.
TEST_F(ReplaceableDevice, DoesNotBeginAJobIfItsReceiversHadEnoughBefore) {
  for (std::uint64_t request = 0; request < 30; ++request) {
    const bool is_early = request % 2 == 0;
    if (is_early) table.has_enough(request, output, 0);
    EXPECT_EQ(deliver(request), !is_early);
    const std::optional<Job> job = table.take_if_ready();
    EXPECT_EQ(job.has_value(), !is_early);
    if (job) table.finish(*job);
    EXPECT_FALSE(deliver(request));
  }
  EXPECT_EQ(table.given_up(), 15U);
  // Only of the request that the notice was about: another one has its place before it comes.
  table.has_enough(33, output, 0);
  EXPECT_TRUE(deliver(30));
  table.finish(*table.take());
  EXPECT_TRUE(deliver(33));
}

TEST(JoinTable, AJobIsNotGivenUpBeforeTheLastReceiverHasEnough) {
  const Deployment deployment = two_spare_stages_deployment();
  const std::size_t input = needs_of(deployment, 2)[0];
  const std::vector<std::size_t> outputs = deployment.routing.from(deployment.parts_of(2)[0]);
  JoinTable table(deployment, 2);
  for (std::uint64_t request = 0; request < 3; ++request) {
    must(table.deliver(request, input, payload(request, input)));
    std::vector<std::pair<std::size_t, std::uint32_t>> receipts;
    for (const std::size_t output : outputs) {
      for (const std::uint32_t receiver : deployment.receivers_of_transfer(output, request)) {
        receipts.emplace_back(output, receiver);
      }
    }
    ASSERT_EQ(receipts.size(), 2U);  // devices 4 and 5
    for (const auto& [output, receiver] : receipts) {
      EXPECT_EQ(table.given_up(), request);
      table.has_enough(request, output, receiver);
      table.has_enough(request, outputs[0], 0);  // no receiver
    }
    EXPECT_EQ(table.given_up(), request + 1);
  }
}

TEST(JoinTable, WhoGivesUpAJobNeedsItsOtherInputsNoMore) {
  const Deployment deployment = two_spare_stages_deployment();
  const std::vector<std::size_t> pieces = needs_of(deployment, 5);
  ASSERT_EQ(pieces.size(), 3U);
  const std::size_t output = deployment.routing.from(deployment.parts_of(5)[0]).at(0);
  {
    JoinTable table(deployment, 5);
    EXPECT_TRUE(must(table.deliver(0, pieces[1], payload(0, pieces[1]))).is_kept);
    EXPECT_EQ(table.has_enough(0, output, 0), (std::vector{pieces[0], pieces[2]}));
    EXPECT_TRUE(must(table.deliver(1, pieces[1], payload(1, pieces[1]))).is_kept);
    EXPECT_EQ(must(table.deliver(1, pieces[0], payload(1, pieces[0]))).not_needed, std::vector{pieces[2]});
    EXPECT_TRUE(table.has_enough(1, output, 0).empty());  // they have been told
    EXPECT_EQ(table.given_up(), 2U);
  }
  JoinTable table(deployment, 5);
  EXPECT_TRUE(table.has_enough(0, output, 0).empty());  // what comes later is told to all who are later than the first
  const Delivery first = must(table.deliver(0, pieces[0], payload(0, pieces[0])));
  EXPECT_FALSE(first.is_kept);
  EXPECT_EQ(first.not_needed, (std::vector{pieces[1], pieces[2]}));
  EXPECT_TRUE(must(table.deliver(0, pieces[1], payload(0, pieces[1]))).not_needed.empty());
}

TEST(JoinTable, WhoHasEnoughIsToldWhatIsNotNeeded) {
  const Deployment deployment = parity_deployment(1);
  const std::vector<std::size_t> pieces = deployment.routing.alternatives.at(0).transfers;
  const std::size_t input = deployment.routing.from(std::nullopt).front();
  JoinTable table(deployment, 0);
  for (std::size_t late = 0; late < 3; ++late) {
    must(table.deliver(late, input, payload(late, input)));
    table.finish(*table.take());
    const std::size_t one = pieces[(late + 1) % 3], two = pieces[(late + 2) % 3];
    EXPECT_TRUE(must(table.deliver(late, one, payload(late, one))).not_needed.empty());
    EXPECT_EQ(must(table.deliver(late, two, payload(late, two))).not_needed, std::vector{pieces[late]});
    table.finish(*table.take());
  }
}

TEST(JoinTable, RefusesWhatTheDeviceDoesNotNeed) {
  const Deployment deployment = chain_deployment(random_network(1, 4), 2, 2);
  JoinTable table(deployment, 0);
  const std::size_t outgoing = deployment.routing.from(PartId{1, 0}).front();
  EXPECT_NE(error_of(table.deliver(0, outgoing, payload(0, outgoing))).find("isn't for this device"),
            std::string::npos);
}

TEST(JoinTable, CloseWakesTheTaker) {
  const Deployment deployment = chain_deployment(random_network(1, 3), 1, 1);
  JoinTable table(deployment, 0);
  std::thread taker([&] { EXPECT_FALSE(table.take().has_value()); });
  table.close();
  taker.join();
}

}  // namespace
}  // namespace onnx_split
