#include "fleet/executor.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "fleet/frame.h"
#include "partition/extract.h"
#include "partition/planner.h"
#include "tests/support/expect.h"
#include "tests/support/random_network.h"

namespace onnx_split {
namespace {

using testing::must;
using testing::random_network;
using transport::Message;
using transport::PushSocket;

// The second of two devices, with the test in place of the first.
class ExecutorOfTheSecond : public ::testing::Test {
 protected:
  void SetUp() override {
    const Graph graph = random_network(1, 3);
    PlanRequest request;
    request.devices = {"d0", "d1"};
    const Plan plan = must(make_plan(graph, request));
    const Manifest manifest = make_manifest(graph, plan);
    deployment_ = must(make_deployment(1, plan, manifest.values, manifest.inputs, manifest.outputs));
    ExecutorOptions options;
    options.cores = std::make_shared<Cores>(1);
    std::vector<LoadedPart> loaded;
    for (PartGraph& part : must(extract_parts(graph, plan))) {
      const std::vector<PartId> own = deployment_->parts_of(1);
      if (std::find(own.begin(), own.end(), part.id) == own.end()) continue;
      loaded.push_back({part.id, std::move(part.graph)});
    }
    executor_ = must(Executor::create(*deployment_, 1, std::move(loaded), options));
    PeerOptions peers;
    peers.data_urls = {"", executor_->data_url()};
    peers.connect_timeout = std::chrono::milliseconds(0);
    peers.heartbeat_period = std::chrono::milliseconds(20);
    peers.heartbeat_timeout = std::chrono::milliseconds(kSilenceMs);
    ASSERT_TRUE(executor_->start(peers).has_value());
    ASSERT_TRUE(socket_.dial(executor_->data_url()).has_value());
  }

  // All that the device needs for a request.
  void send(std::uint64_t request) {
    for (std::size_t transfer = 0; transfer < deployment_->routing.transfers.size(); ++transfer) {
      const std::size_t one[] = {transfer};
      if (!deployment_->receivers_of_transfers(one).contains(1)) continue;
      Message frame = must(Message::allocate(kFrameHeaderBytes + deployment_->payload_bytes(transfer)));
      std::ranges::fill(frame_payload(frame.bytes()), std::byte{0});
      FrameHeader header = deployment_->header_of(transfer);
      header.request = request;
      seal_frame(header, frame.bytes());
      must(socket_.send(std::move(frame), std::chrono::seconds(10)));
    }
  }

  template <class Condition>
  static bool wait_for(Condition condition, std::chrono::milliseconds limit = std::chrono::seconds(30)) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
  }

  static constexpr int kSilenceMs = 2000;

  std::optional<Deployment> deployment_;
  std::unique_ptr<Executor> executor_;
  PushSocket socket_ = must(PushSocket::open(64));
};

TEST_F(ExecutorOfTheSecond, ComputesUntilItsEpochHasFailedAndNoMore) {
  send(0);
  ASSERT_TRUE(wait_for([&] { return executor_->status().jobs_done > 0; }));
  ASSERT_TRUE(wait_for([&] { return executor_->status().failure.has_value(); }));  // of the silent first device
  EXPECT_EQ(executor_->status().failure->blames, 0U);
  const std::uint64_t received = executor_->status().payload_bytes_received;
  const double computed_s = executor_->status().compute_s;
  send(1);
  ASSERT_TRUE(wait_for([&] { return executor_->status().payload_bytes_received > received; }));
  EXPECT_FALSE(wait_for([&] { return executor_->status().compute_s > computed_s; }, std::chrono::milliseconds(300)));
}

}  // namespace
}  // namespace onnx_split
