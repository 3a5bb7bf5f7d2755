#include "fleet/frame.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/random.h"
#include "fleet/deployment.h"
#include "partition/planner.h"
#include "tests/support/expect.h"
#include "tests/support/random_network.h"

namespace onnx_split {
namespace {

using testing::error_of;
using testing::must;
using testing::random_network;

FrameHeader random_header(Random& random) {
  FrameHeader header;
  header.epoch = random.next();
  header.request = random.next();
  header.deadline_us = random.next();
  header.transfer = static_cast<std::uint32_t>(random.next());
  header.value = static_cast<std::uint32_t>(random.next());
  header.source_stage = static_cast<std::uint32_t>(random.next());
  header.source_part = static_cast<std::uint32_t>(random.next());
  header.layout = random.integer(0, 1) == 0 ? Layout::kPlain : Layout::kBlocked;
  std::vector<Range> ranges(static_cast<std::size_t>(random.integer(0, kMaxRank)));
  for (Range& range : ranges) {
    range.begin = random.integer(0, 1000);
    range.end = range.begin + random.integer(1, 1000);
  }
  header.region = Region(std::move(ranges));
  return header;
}

TEST(Frame, WhatIsSealedIsOpened) {
  Random random(1);
  for (int i = 0; i < 500; ++i) {
    const FrameHeader header = random_header(random);
    std::vector<std::byte> frame(kFrameHeaderBytes + static_cast<std::size_t>(random.integer(0, 100)), std::byte{7});
    seal_frame(header, frame);
    const FrameHeader opened = must(open_frame(frame));
    EXPECT_EQ(opened.epoch, header.epoch);
    EXPECT_EQ(opened.request, header.request);
    EXPECT_EQ(opened.deadline_us, header.deadline_us);
    EXPECT_EQ(opened.transfer, header.transfer);
    EXPECT_EQ(opened.value, header.value);
    EXPECT_EQ(opened.source_stage, header.source_stage);
    EXPECT_EQ(opened.source_part, header.source_part);
    EXPECT_EQ(opened.layout, header.layout);
    EXPECT_EQ(opened.region, header.region);
    must(check_payload(frame));
  }
}

TEST(Frame, EveryFlippedBitIsNoticed) {
  Random random(2);
  std::vector<std::byte> frame(kFrameHeaderBytes + 64, std::byte{3});
  seal_frame(random_header(random), frame);
  // The last eight bytes of the header are padding that no checksum covers.
  for (std::size_t bit = 0; bit < frame.size() * 8; ++bit) {
    if (bit / 8 >= kFrameHeaderBytes - 8 && bit / 8 < kFrameHeaderBytes) continue;
    frame[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_FALSE(open_frame(frame).has_value() && check_payload(frame).has_value()) << "bit " << bit;
    frame[bit / 8] ^= std::byte{1} << (bit % 8);
  }
}

TEST(Frame, EveryCutFrameIsRefused) {
  Random random(3);
  std::vector<std::byte> frame(kFrameHeaderBytes + 16);
  seal_frame(random_header(random), frame);
  for (std::size_t size = 0; size < kFrameHeaderBytes; ++size) {
    EXPECT_FALSE(open_frame(std::span(frame).first(size))) << size;
  }
  EXPECT_FALSE(check_payload(std::span(frame).first(kFrameHeaderBytes + 8)));
}

class DeployedFrame : public ::testing::Test {
 protected:
  DeployedFrame() {
    const Graph graph = random_network(4, 4);
    PlanRequest request;
    request.devices = {"a", "b"};
    const Plan plan = must(make_plan(graph, request));
    const Manifest manifest = make_manifest(graph, plan);
    deployment_ = must(make_deployment(9, plan, manifest.values, manifest.inputs, manifest.outputs));
  }

  std::vector<std::byte> frame_of(FrameHeader header, std::size_t payload_bytes) {
    std::vector<std::byte> frame(kFrameHeaderBytes + payload_bytes);
    seal_frame(header, frame);
    return frame;
  }

  Deployment deployment_;
};

TEST_F(DeployedFrame, FitsWhatThePlanSays) {
  for (std::size_t i = 0; i < deployment_.routing.transfers.size(); ++i) {
    must(check_frame(deployment_, frame_of(deployment_.header_of(i), deployment_.payload_bytes(i))));
  }
}

TEST_F(DeployedFrame, OfAnotherEpochIsToBeDroppedSilently) {
  FrameHeader header = deployment_.header_of(0);
  header.epoch = 8;
  const auto checked = check_frame(deployment_, frame_of(header, deployment_.payload_bytes(0)));
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code, ErrorCode::kCancelled);
}

TEST_F(DeployedFrame, ThatDoesNotFitIsRefused) {
  const std::size_t bytes = deployment_.payload_bytes(0);
  FrameHeader header = deployment_.header_of(0);
  EXPECT_NE(error_of(check_frame(deployment_, frame_of(header, bytes + 4))).find("bytes, expected"), std::string::npos);
  header.transfer = 12345;
  EXPECT_NE(error_of(check_frame(deployment_, frame_of(header, bytes))).find("frame of transfer 12345"),
            std::string::npos);
  header = deployment_.header_of(0);
  header.region[0].end = 1000;
  EXPECT_NE(error_of(check_frame(deployment_, frame_of(header, bytes))).find("doesn't carry what the plan says"),
            std::string::npos);
  header = deployment_.header_of(0);
  header.source_stage = 1;
  EXPECT_FALSE(check_frame(deployment_, frame_of(header, bytes)));
  header = deployment_.header_of(0);
  header.layout = Layout::kBlocked;
  EXPECT_NE(error_of(check_frame(deployment_, frame_of(header, bytes))).find("doesn't carry what the plan says"),
            std::string::npos);
}

TEST_F(DeployedFrame, SignalsFitWhereTheirNumbersDo) {
  const std::size_t transfers = deployment_.routing.transfers.size(), devices = deployment_.plan.devices.size();
  const auto fits = [&](const FrameHeader& header, std::size_t payload_bytes = 0) {
    return check_frame(deployment_, frame_of(header, payload_bytes)).has_value();
  };
  EXPECT_TRUE(fits(heartbeat_of(deployment_, devices - 1)));
  EXPECT_FALSE(fits(heartbeat_of(deployment_, devices)));
  EXPECT_FALSE(fits(heartbeat_of(deployment_, 0), 16));
  for (const std::uint32_t receiver : {0U, 1U, kFromCoordinator}) {
    EXPECT_TRUE(fits(enough_of(deployment_, UINT64_MAX, transfers - 1, receiver)));
    EXPECT_FALSE(fits(enough_of(deployment_, 0, transfers, receiver)));
    EXPECT_FALSE(fits(enough_of(deployment_, 0, 0, receiver), 16));
  }
  EXPECT_FALSE(fits(enough_of(deployment_, 0, 0, static_cast<std::uint32_t>(devices))));
}

TEST_F(DeployedFrame, DeploymentSurvivesJson) {
  const Json json = deployment_to_json(deployment_);
  const Deployment again = must(deployment_from_json(must(parse_json(json.dump()))));
  EXPECT_EQ(deployment_to_json(again).dump(), json.dump());
  EXPECT_EQ(again.routing.transfers.size(), deployment_.routing.transfers.size());
}

TEST_F(DeployedFrame, AValueThatIsListedTwiceIsRefused) {
  Json json = deployment_to_json(deployment_);
  json["values"].push_back(Json(json["values"][0]));
  EXPECT_EQ(error_of(deployment_from_json(json)),
            fmt::format("value \"{}\" is listed twice", deployment_.values[0].name));
}

TEST_F(DeployedFrame, DamagedDeploymentsAreRefusedNotTrusted) {
  const std::string good = deployment_to_json(deployment_).dump();
  Random random(5);
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = good;
    for (std::int64_t n = random.integer(1, 4); n > 0; --n) {
      damaged[static_cast<std::size_t>(random.integer(0, static_cast<std::int64_t>(good.size()) - 1))] =
          static_cast<char>(random.integer(32, 126));
    }
    const auto json = parse_json(damaged);
    if (json) (void)deployment_from_json(*json);  // may succeed (a changed name), must not crash
  }
}

}  // namespace
}  // namespace onnx_split
