// Peers that mean harm while requests stream over TLS: no result is missing or wrong, nobody is taken for lost, no
// epoch ends, and the runner's log says it once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/fleet/hostile_peers.h"
#include "tests/fleet/plans.h"
#include "tests/fleet/streams.h"
#include "tests/support/log_capture.h"
#include "transport/door.h"

namespace onnx_split {
namespace {

using testing::Attack;
using testing::attacks;
using testing::device_names;
using testing::HostileScene;
using testing::LogCapture;
using testing::must;
using testing::plan_of;
using testing::Questions;
using testing::random_network;
using testing::Streamed;

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator entries("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
}

class SecureFleet : public ::testing::Test {
 protected:
  const Graph graph_ = random_network(31, 6);
  const Questions questions_{graph_};
  const Plan plan_ = plan_of(graph_, device_names(3));
  LogCapture log_;
  HostileScene scene_{3};
  std::unique_ptr<Coordinator> coordinator_;

  void SetUp() override {
    CoordinatorOptions options;
    options.watch.identity = scene_.boss();
    options.watch.heartbeat_timeout = std::chrono::seconds(10);  // on a machine that has other things to do
    options.replan = [&](const std::vector<std::string>& left, const auto&) -> Expected<Plan> {
      return plan_of(graph_, left);
    };
    coordinator_ = must(Coordinator::deploy(graph_, plan_, scene_.urls(), options));
    ASSERT_EQ(stream(*coordinator_, questions_, 20, [](std::uint64_t) {}).right, 20U);
    scene_.look_at(graph_, plan_, 1);
  }
};

class Hostile : public SecureFleet, public ::testing::WithParamInterface<Attack> {};

TEST_P(Hostile, DisturbsNobodyAndIsLoggedOnce) {
  const Attack& attack = GetParam();
  const std::size_t before = open_descriptors();
  std::vector<std::shared_ptr<void>> kept;
  const Streamed streamed = stream(*coordinator_, questions_, 200, [&](std::uint64_t number) {
    if (number == 50 || number == 100) kept.push_back(attack.act(scene_));
    if (number == 150) {
      EXPECT_TRUE(log_.wait_for(attack.logged)) << attack.logged;
    }
  });
  EXPECT_EQ(streamed.right, 200U);
  EXPECT_TRUE(streamed.errors.empty()) << streamed.errors.front();
  EXPECT_EQ(coordinator_->counts().epochs, 1U);
  EXPECT_EQ(coordinator_->counts().losses, 0U);
  // A request is answered with the reason each time.
  const std::size_t times = attack.logged.starts_with("refused: ") ? 2 : 1;
  EXPECT_EQ(log_.count(attack.logged), times) << ::testing::PrintToString(log_.lines());
  // The thousands at the other end are ours, too.
  std::size_t strangers = 0;
  for (const auto& one : kept) {
    if (one) strangers += 500;
  }
  EXPECT_LE(open_descriptors(), before + strangers + 2 * transport::Door::kMostWaiting);
}

INSTANTIATE_TEST_SUITE_P(Peers, Hostile, ::testing::ValuesIn(attacks()),
                         [](const auto& attack) { return attack.param.name; });

TEST_F(SecureFleet, ACoordinatorOfAnotherVersionIsToldSoInOneLine) {
  const auto reply = scene_.control().call("hello", {{"protocol", 99}});
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(reply.error().message,
            fmt::format("device \"d1\": the coordinator speaks protocol 99, this runner {}", kProtocolVersion));
  EXPECT_TRUE(
      log_.wait_for(fmt::format("refused: the coordinator speaks protocol 99, this runner {}", kProtocolVersion)));
}

}  // namespace
}  // namespace onnx_split
