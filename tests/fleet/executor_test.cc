// Executors of one device that share its cores, without a coordinator.
#include "fleet/executor.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "partition/manifest.h"
#include "tests/fleet/plans.h"
#include "tests/support/expect.h"
#include "tests/support/random_network.h"

namespace onnx_split {
namespace {

using namespace std::chrono_literals;
using testing::must;
using testing::random_network;

// A whole network on one device, with nobody who pulls its results, and who sends it requests.
class Alone {
 public:
  Alone(std::uint64_t epoch, const std::shared_ptr<Cores>& cores) {
    Graph graph = random_network(1, 3);
    const Plan plan = testing::plan_of(graph, 1, {}, 1);
    const Manifest manifest = make_manifest(graph, plan);
    const Deployment deployment =
        must(make_deployment(epoch, plan, manifest.values, manifest.inputs, manifest.outputs));
    for (std::size_t transfer = 0; transfer < deployment.routing.transfers.size(); ++transfer) {
      if (!deployment.routing.transfers[transfer].to_coordinator) input_ = transfer;
    }
    header_ = deployment.header_of(input_);
    payload_bytes_ = deployment.payload_bytes(input_);
    std::vector<LoadedPart> parts;
    parts.push_back({PartId{0, 0}, std::move(graph)});
    ExecutorOptions options;
    options.cores = cores;
    executor_ = must(Executor::create(deployment, 0, std::move(parts), options));
    must(sender_.dial(executor_->data_url()));
    must(executor_->start({{executor_->data_url()}}));
  }

  void send(std::uint64_t request) {
    auto frame = must(transport::Message::allocate(kFrameHeaderBytes + payload_bytes_));
    std::memset(frame.bytes().data(), 0, frame.size());
    header_.request = request;
    seal_frame(header_, frame.bytes());
    must(sender_.send(std::move(frame), 5s));
  }

  bool has_done(std::uint64_t jobs, std::chrono::milliseconds within) const {
    const auto end = std::chrono::steady_clock::now() + within;
    while (executor_->status().jobs_done < jobs) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(1ms);
    }
    return true;
  }

 private:
  std::size_t input_ = 0;
  FrameHeader header_;
  std::size_t payload_bytes_ = 0;
  std::unique_ptr<Executor> executor_;
  transport::PushSocket sender_ = must(transport::PushSocket::open());
};

TEST(Executor, WhoCanNotSendLetsTheOthersOfItsDeviceCompute) {
  const auto cores = std::make_shared<Cores>(1);
  Alone older(1, cores), newer(2, cores);
  std::uint64_t request = 0;
  do {  // until its results' queue is full
    ASSERT_LT(request, 100U);
    older.send(request++);
  } while (older.has_done(request, 1s));
  newer.send(0);
  EXPECT_TRUE(newer.has_done(1, 10s));
}

TEST(Executor, WhoWaitsForItsTurnCanEnd) {
  const auto cores = std::make_shared<Cores>(1);
  Cores::User older(cores);
  older.enter_line();
  const auto turn = older.wait_for_turn();
  ASSERT_TRUE(turn);
  std::optional<Alone> newer(std::in_place, 1, cores);
  newer->send(0);
  EXPECT_FALSE(newer->has_done(1, 100ms));
  newer.reset();
}

}  // namespace
}  // namespace onnx_split
