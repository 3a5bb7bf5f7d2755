// Executors of one device that share its cores, without a coordinator.
#include "fleet/executor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "partition/extract.h"
#include "partition/manifest.h"
#include "tests/fleet/plans.h"
#include "tests/support/expect.h"
#include "tests/support/random_network.h"
#include "tests/support/spare_network.h"
#include "tests/support/wait.h"

namespace onnx_split {
namespace {

using namespace std::chrono_literals;
using testing::comes_true;
using testing::must;
using testing::random_network;

Deployment deployment_of(const Graph& graph, std::uint64_t epoch, const Plan& plan) {
  const Manifest manifest = make_manifest(graph, plan);
  return must(make_deployment(epoch, plan, manifest.values, manifest.inputs, manifest.outputs));
}

// A device with one part. The test sends what it needs, and takes nothing of what it gives; the coordinator that would
// pull its results isn't there.
class Device {
 public:
  Device(const Deployment& deployment, std::size_t device, PartId id, Graph part, const std::shared_ptr<Cores>& cores) {
    const ValueRegion& input = deployment.plan.stages[id.stage].parts[id.part].inputs.at(0);
    const std::size_t transfer = deployment.routing.pieces_of(id, input).at(0);
    header_ = deployment.header_of(transfer);
    payload_bytes_ = deployment.payload_bytes(transfer);
    std::vector<LoadedPart> parts;
    parts.push_back({id, std::move(part)});
    ExecutorOptions options;
    options.cores = cores;
    executor_ = must(Executor::create(deployment, device, std::move(parts), options));
    must(sender_.dial(executor_->data_url()));
    PeerOptions peers;
    peers.data_urls.assign(deployment.plan.devices.size(),
                           must(others_.listen("tcp://127.0.0.1:0", deployment.largest_frame_bytes())));
    peers.connect_timeout = 60s;  // nobody is heard
    must(executor_->start(std::move(peers)));
  }

  // Returns when it has arrived.
  void send(std::uint64_t request) {
    auto frame = must(transport::Message::allocate(kFrameHeaderBytes + payload_bytes_));
    std::memset(frame.bytes().data(), 0, frame.size());
    header_.request = request;
    seal_frame(header_, frame.bytes());
    must(sender_.send(std::move(frame), 5s));
    sent_bytes_ += payload_bytes_;
    EXPECT_TRUE(comes_true([&] { return executor_->status().payload_bytes_received == sent_bytes_; }, 10s));
  }

  bool has_done(std::uint64_t jobs, std::chrono::milliseconds within) const {
    return comes_true([&] { return executor_->status().jobs_done >= jobs; }, within);
  }

  bool has_given_up(std::uint64_t requests, std::chrono::milliseconds within) const {
    return comes_true([&] { return executor_->status().given_up >= requests; }, within);
  }

 private:
  FrameHeader header_;
  std::size_t payload_bytes_ = 0;
  std::uint64_t sent_bytes_ = 0;
  transport::PullSocket others_ = must(transport::PullSocket::open());
  std::unique_ptr<Executor> executor_;
  transport::PushSocket sender_ = must(transport::PushSocket::open());
};

// A whole network.
std::unique_ptr<Device> alone(std::uint64_t epoch, const std::shared_ptr<Cores>& cores) {
  Graph graph = random_network(1, 3);
  const Deployment deployment = deployment_of(graph, epoch, testing::plan_of(graph, 1, {}, 1));
  return std::make_unique<Device>(deployment, 0, PartId{0, 0}, std::move(graph), cores);
}

TEST(Executor, WhoCanNotSendLetsTheOthersOfItsDeviceCompute) {
  const auto cores = std::make_shared<Cores>(1);
  const auto older = alone(1, cores), newer = alone(2, cores);
  std::uint64_t request = 0;
  do {  // until its results' queue is full
    ASSERT_LT(request, 100U);
    older->send(request++);
  } while (older->has_done(request, 3s));
  newer->send(0);
  EXPECT_TRUE(newer->has_done(1, 10s));
  EXPECT_FALSE(older->has_done(request, 0s)) << "it could send";
}

TEST(Executor, WhoWaitsForItsTurnCanEnd) {
  const auto cores = std::make_shared<Cores>(1);
  Cores::User older(cores);
  older.enter_line();
  const auto turn = older.wait_for_turn();
  ASSERT_TRUE(turn);
  auto newer = alone(1, cores);
  newer->send(0);
  EXPECT_FALSE(newer->has_done(1, 100ms));
  newer.reset();
}

TEST(Executor, WhatIsGivenUpWhileItWaitsIsNotComputed) {
  const Graph graph = testing::SpareNetwork::make(1, 8);
  std::vector<StageRequest> stages = testing::SpareNetwork::parity_stages("b", 2);
  stages[0].devices = stages[2].devices = {"d0"};
  const std::uint64_t window = 2;
  const Plan plan = testing::plan_of(graph, 4, std::move(stages), window);
  const Deployment deployment = deployment_of(graph, 1, plan);
  const PartId id = deployment.parts_of(1).at(0);

  const auto cores = std::make_shared<Cores>(1);
  Cores::User older(cores);
  older.enter_line();
  std::vector<PartGraph> parts = must(extract_parts(graph, plan));
  const auto part = std::find_if(parts.begin(), parts.end(), [&](const PartGraph& one) { return one.id == id; });
  ASSERT_NE(part, parts.end());
  Device device(deployment, 1, id, std::move(part->graph), cores);
  {
    const auto turn = older.wait_for_turn();
    ASSERT_TRUE(turn);
    device.send(0);
    std::this_thread::sleep_for(50ms);  // it is taken
    device.send(window);
    EXPECT_TRUE(device.has_given_up(1, 10s));
    EXPECT_FALSE(device.has_done(1, 0ms));
  }
  older.leave_line();
  EXPECT_TRUE(device.has_done(1, 10s));
  EXPECT_FALSE(device.has_done(2, 100ms));
}

}  // namespace
}  // namespace onnx_split
