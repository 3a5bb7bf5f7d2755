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
#include "tests/fleet/plans.h"
#include "tests/support/expect.h"
#include "tests/support/random_network.h"
#include "tests/support/spare_network.h"
#include "tests/support/wait.h"

namespace onnx_split {
namespace {

using namespace std::chrono_literals;
using testing::comes_true;
using testing::deployment_of;
using testing::must;
using testing::random_network;

// A device. The test sends what it needs, and is all the others that it sends to; the coordinator that would pull its
// results isn't there.
class Device {
 public:
  Device(Deployment deployment, std::size_t device, std::vector<LoadedPart> parts, const std::shared_ptr<Cores>& cores)
      : deployment_(std::move(deployment)) {
    const PartId first = parts.at(0).id;
    const ValueRegion& input = deployment_.plan.stages[first.stage].parts[first.part].inputs.at(0);
    input_ = deployment_.routing.pieces_of(first, input).at(0);
    ExecutorOptions options;
    options.cores = cores;
    executor_ = must(Executor::create(deployment_, device, std::move(parts), options));
    must(sender_.dial(executor_->data_url()));
    PeerOptions peers;
    peers.data_urls.assign(deployment_.plan.devices.size(),
                           must(others_.listen("tcp://127.0.0.1:0", deployment_.largest_frame_bytes())));
    peers.connect_timeout = 60s;  // nobody is heard
    must(executor_->start(std::move(peers)));
  }

  // The first part's first input. These return when it has arrived.
  void send(std::uint64_t request) { send(request, input_); }
  void send(std::uint64_t request, std::size_t transfer) {
    FrameHeader header = deployment_.header_of(transfer);
    header.request = request;
    send(header, deployment_.payload_bytes(transfer));
    EXPECT_TRUE(comes_true([&] { return executor_->status().payload_bytes_received == sent_bytes_; }, 10s));
  }

  void say_enough(std::uint64_t request, std::size_t transfer, std::uint32_t receiver) {
    send(enough_of(deployment_, request, transfer, receiver), 0);
  }

  bool is_running() const {
    return comes_true([&] { return executor_->status().state == ExecutorState::kRunning; }, 10s);
  }

  // The next frame that one of the others gets, heartbeats aside; of transfer kEnough, if it says so.
  FrameHeader next_of_others() {
    while (true) {
      const transport::Message frame = must(others_.receive(10s));
      const FrameHeader header = must(check_frame(deployment_, frame.bytes()));
      if (header.transfer != kHeartbeat) return header;
    }
  }

  bool has_done(std::uint64_t jobs, std::chrono::milliseconds within) const {
    return comes_true([&] { return executor_->status().jobs_done >= jobs; }, within);
  }

  bool has_given_up(std::uint64_t requests, std::chrono::milliseconds within) const {
    return comes_true([&] { return executor_->status().given_up >= requests; }, within);
  }

 private:
  void send(const FrameHeader& header, std::size_t payload_bytes) {
    auto frame = must(transport::Message::allocate(kFrameHeaderBytes + payload_bytes));
    std::memset(frame.bytes().data(), 0, frame.size());
    seal_frame(header, frame.bytes());
    must(sender_.send(std::move(frame), 5s));
    sent_bytes_ += payload_bytes;
  }

  Deployment deployment_;
  std::size_t input_ = 0;
  std::uint64_t sent_bytes_ = 0;
  transport::PullSocket others_ = must(transport::PullSocket::open());
  std::unique_ptr<Executor> executor_;
  transport::PushSocket sender_ = must(transport::PushSocket::open());
};

// A whole network.
std::unique_ptr<Device> alone(std::uint64_t epoch, const std::shared_ptr<Cores>& cores) {
  Graph graph = random_network(1, 3);
  const Deployment deployment = deployment_of(graph, testing::plan_of(graph, 1, {}, 1), epoch);
  std::vector<LoadedPart> parts;
  parts.push_back({PartId{0, 0}, std::move(graph)});
  return std::make_unique<Device>(deployment, 0, std::move(parts), cores);
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

TEST(Executor, ThoseOfADeviceShareTheMemoryOfTheirRuns) {
  const auto cores = std::make_shared<Cores>(1);
  std::unique_ptr<Device> older = alone(1, cores);
  const std::size_t bytes = cores->run_memory()->bytes();
  EXPECT_GT(bytes, 0U);
  std::unique_ptr<Device> newer = alone(2, cores);
  EXPECT_EQ(cores->run_memory()->bytes(), bytes);
  older.reset();
  EXPECT_EQ(cores->run_memory()->bytes(), bytes);
  newer.reset();
  EXPECT_EQ(cores->run_memory()->bytes(), 0U);
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

// b of the spare network in two parts and their parity (devices 1 to 3), the rest on device 0.
class WithParity : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kWindow = 2;

  static Plan plan_for(const Graph& graph) {
    std::vector<StageRequest> stages = testing::SpareNetwork::parity_stages("b", 2);
    stages[0].devices = stages[2].devices = {"d0"};
    return testing::plan_of(graph, 4, std::move(stages), kWindow);
  }

  Device device(std::size_t number) {
    std::vector<LoadedPart> parts;
    for (PartGraph& part : must(extract_parts(graph_, plan_))) {
      const std::vector<PartId> own = deployment_.parts_of(number);
      if (std::find(own.begin(), own.end(), part.id) != own.end()) parts.push_back({part.id, std::move(part.graph)});
    }
    return {deployment_, number, std::move(parts), cores_};
  }

  const Graph graph_ = testing::SpareNetwork::make(1, 8);
  const Plan plan_ = plan_for(graph_);
  const Deployment deployment_ = deployment_of(graph_, plan_);
  const std::vector<std::size_t> pieces_ = deployment_.routing.alternatives.at(0).transfers;
  const std::shared_ptr<Cores> cores_ = std::make_shared<Cores>(1);
};

TEST_F(WithParity, WhatIsGivenUpWhileItWaitsIsNotComputed) {
  Cores::User older(cores_);
  older.enter_line();
  Device one = device(1);
  {
    const auto turn = older.wait_for_turn();
    ASSERT_TRUE(turn);
    one.send(0);
    std::this_thread::sleep_for(50ms);  // it is taken
    one.send(kWindow);
    EXPECT_TRUE(one.has_given_up(1, 10s));
    EXPECT_FALSE(one.has_done(1, 0ms));
  }
  older.leave_line();
  EXPECT_TRUE(one.has_done(1, 10s));
  EXPECT_FALSE(one.has_done(2, 100ms));
}

TEST_F(WithParity, WhatNobodyNeedsIsNotComputedAndNotSent) {
  Cores::User older(cores_);
  older.enter_line();
  Device one = device(1);
  const std::size_t output = deployment_.routing.from(deployment_.parts_of(1).at(0)).at(0);
  {
    const auto turn = older.wait_for_turn();
    ASSERT_TRUE(turn);
    one.send(0);
    std::this_thread::sleep_for(50ms);  // it is taken
    one.say_enough(0, output, 0);
    EXPECT_TRUE(one.has_given_up(1, 10s));
  }
  older.leave_line();
  one.send(1);
  EXPECT_TRUE(one.has_done(1, 10s));
  EXPECT_FALSE(one.has_done(2, 100ms));
  EXPECT_EQ(one.next_of_others().request, 1U);
}

TEST_F(WithParity, WhoHasEnoughOfTheAlternativesTellsWhoIsLate) {
  Device receiver = device(0);
  ASSERT_TRUE(receiver.is_running());
  for (std::uint64_t request = 0; request < 6; ++request) {
    const std::size_t late = request % pieces_.size();
    receiver.send(request);  // the first stage computes it for the others
    for (std::size_t i = 0; i < pieces_.size(); ++i) EXPECT_EQ(receiver.next_of_others().request, request);
    for (const std::size_t piece : pieces_) {
      if (piece != pieces_[late]) receiver.send(request, piece);
    }
    const FrameHeader said = receiver.next_of_others();
    EXPECT_EQ(said.transfer, kEnough);
    EXPECT_EQ(said.request, request);
    EXPECT_EQ(said.value, pieces_[late]);
    EXPECT_EQ(said.source_part, 0U);
    EXPECT_TRUE(receiver.has_done(2 * (request + 1), 10s));
  }
}

}  // namespace
}  // namespace onnx_split
