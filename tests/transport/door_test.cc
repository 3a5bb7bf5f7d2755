// Who waits at the door, for how long, and what is said about it. Descriptors are those of socket pairs.
#include "transport/door.h"

#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/log_capture.h"
#include "tests/transport/helpers.h"

namespace onnx_split::transport {
namespace {

using onnx_split::testing::LogCapture;
using std::chrono::seconds;

// One end for the door, one for the peer.
class Pair {
 public:
  Pair() { EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends_.data()), 0); }
  ~Pair() {
    for (const int end : ends_) ::close(end);
  }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;
  int ours() const { return ends_[0]; }
  bool peer_is_cut_off() const {
    char byte = 0;
    return ::recv(ends_[1], &byte, 1, MSG_DONTWAIT) == 0;
  }

 private:
  std::array<int, 2> ends_{};
};

class DoorTest : public ::testing::Test {
 protected:
  static PeerAddress peer(std::uint16_t port, const std::string& host = "10.0.0.7") { return {host, port, 7070}; }
  LogCapture log_;
  Door door_;
  Door::Clock::time_point now_ = Door::Clock::now();
};

TEST_F(DoorTest, WhoComesInIsNotMentioned) {
  const Pair pair;
  EXPECT_TRUE(door_.knocks(pair.ours(), peer(1), now_));
  door_.comes_in(peer(1), 5);
  now_ += Door::kLongestWait * 2;
  door_.look_around(now_);
  EXPECT_FALSE(pair.peer_is_cut_off());
  door_.leaves(pair.ours(), now_);
  EXPECT_EQ(door_.refused(), 0U);
  EXPECT_TRUE(log_.lines().empty());
}

TEST_F(DoorTest, WhoIsSilentIsCutOffAfterAWhile) {
  const Pair silent;
  door_.knocks(silent.ours(), peer(1), now_);
  door_.look_around(now_ + Door::kLongestWait - milliseconds(1));
  EXPECT_FALSE(silent.peer_is_cut_off());
  door_.look_around(now_ + Door::kLongestWait);
  EXPECT_TRUE(silent.peer_is_cut_off());
  door_.leaves(silent.ours(), now_);
  EXPECT_THAT(log_.lines(), ::testing::ElementsAre("refused a connection from 10.0.0.7 at port 7070: it hadn't shown "
                                                   "who it is after 10 s"));
}

TEST_F(DoorTest, OfTooManyTheOneThatHasWaitedLongestGoes) {
  std::vector<std::unique_ptr<Pair>> pairs;
  for (std::uint16_t i = 0; i < 2 * Door::kMostWaiting; ++i) {
    now_ += milliseconds(1);
    EXPECT_TRUE(door_.knocks(pairs.emplace_back(std::make_unique<Pair>())->ours(), peer(i), now_));
  }
  for (std::size_t i = 0; i < pairs.size(); ++i) EXPECT_EQ(pairs[i]->peer_is_cut_off(), i < Door::kMostWaiting) << i;
  // As long as those haven't gone there is no room for more.
  const Pair last;
  EXPECT_FALSE(door_.knocks(last.ours(), peer(1), now_));
  door_.leaves(pairs[0]->ours(), now_);
  EXPECT_TRUE(door_.knocks(last.ours(), peer(1), now_));
  EXPECT_EQ(door_.refused(), 2U);
  EXPECT_EQ(log_.count("more than 64 were waiting to be let in"), 1U);
}

// Whoever floods the door sends only himself away.
TEST_F(DoorTest, AFloodFromOneHostTakesNoOtherHostsPlace) {
  const Pair honest, later;
  EXPECT_TRUE(door_.knocks(honest.ours(), peer(1, "10.0.0.8"), now_));
  std::vector<std::unique_ptr<Pair>> pairs;
  const auto flood = [&](std::size_t connections) {
    for (std::size_t i = 0; i < connections; ++i) {
      now_ += milliseconds(1);
      const Pair& pair = *pairs.emplace_back(std::make_unique<Pair>());
      if (!door_.knocks(pair.ours(), peer(static_cast<std::uint16_t>(i)), now_)) pairs.pop_back();
      std::erase_if(pairs, [&](const auto& other) {
        if (pairs.size() < 100 || !other->peer_is_cut_off()) return false;
        door_.leaves(other->ours(), now_);
        return true;
      });
    }
  };
  flood(1000);
  EXPECT_FALSE(honest.peer_is_cut_off());
  // There is still room for another one, and it keeps its place as well.
  EXPECT_TRUE(door_.knocks(later.ours(), peer(2, "10.0.0.9"), now_));
  flood(1000);
  EXPECT_FALSE(honest.peer_is_cut_off());
  EXPECT_FALSE(later.peer_is_cut_off());
}

TEST_F(DoorTest, ThereIsALimitForAllHosts) {
  const int first = 100000;  // nobody is sent away, so these needn't be descriptors
  for (int i = 0; i < static_cast<int>(Door::kMostOfAll); ++i) {
    const PeerAddress address = peer(static_cast<std::uint16_t>(i), fmt::format("10.0.1.{}", i % 4));
    EXPECT_TRUE(door_.knocks(first + i, address, now_));
    door_.comes_in(address, i + 1);
  }
  const Pair one_more;
  EXPECT_FALSE(door_.knocks(one_more.ours(), peer(1), now_));
  EXPECT_EQ(log_.count("512 connections are here already"), 1U);
  door_.leaves(first, now_);
  EXPECT_TRUE(door_.knocks(one_more.ours(), peer(1), now_));
}

TEST_F(DoorTest, WhoFailsTooOftenIsRefusedUntilTheSecondIsOver) {
  const auto fail_once = [&] {
    const Pair pair;
    if (!door_.knocks(pair.ours(), peer(1), now_)) return false;
    door_.fails(pair.ours(), "a");
    door_.leaves(pair.ours(), now_);
    return true;
  };
  for (std::size_t i = 0; i < Door::kMostFailures; ++i) EXPECT_TRUE(fail_once()) << i;
  EXPECT_FALSE(fail_once());
  const Pair other;
  EXPECT_TRUE(door_.knocks(other.ours(), peer(1, "10.0.0.8"), now_));
  now_ += Door::kFailurePeriod;
  EXPECT_TRUE(fail_once());
  EXPECT_EQ(log_.count("16 connections of this host failed within a second"), 1U);
}

// What they send, once they are in, counts as well; that others have sent them away doesn't.
TEST_F(DoorTest, WhoIsSentAwayTooOftenIsRefusedUntilTheSecondIsOver) {
  const Pair pair;
  for (std::size_t i = 0; i < 2 * Door::kMostFailures; ++i) {
    EXPECT_EQ(door_.knocks(pair.ours(), peer(1), now_), i < Door::kMostFailures) << i;
    door_.comes_in(peer(1), 5);
    door_.is_sent_away(5, "a", now_);
    door_.leaves(pair.ours(), now_);
  }
}

TEST_F(DoorTest, AHostHasALimitThatCostsNoOtherHost) {
  std::vector<std::unique_ptr<Pair>> pairs;
  for (std::uint16_t i = 0; i < Door::kMostOfOneHost; ++i) {
    EXPECT_TRUE(door_.knocks(pairs.emplace_back(std::make_unique<Pair>())->ours(), peer(i), now_));
    if (i > 0) door_.comes_in(peer(i), i);  // the first one waits
  }
  const Pair one_more;
  EXPECT_FALSE(door_.knocks(one_more.ours(), peer(1000), now_));
  EXPECT_TRUE(door_.knocks(one_more.ours(), peer(1000, "10.0.0.8"), now_));
  for (const auto& pair : pairs) EXPECT_FALSE(pair->peer_is_cut_off());
  EXPECT_THAT(log_.lines(), ::testing::ElementsAre("refused a connection from 10.0.0.7 at port 7070: 256 connections "
                                                   "of this host are here already"));
  // Who goes makes room.
  door_.leaves(pairs[5]->ours(), now_);
  const Pair later;
  EXPECT_TRUE(door_.knocks(later.ours(), peer(1001), now_));
  EXPECT_EQ(door_.refused(), 1U);
}

TEST_F(DoorTest, TheSameAgainIsCountedAndMentionedOnceAMinute) {
  const auto refuse = [&](const std::string& host, const std::string& reason) {
    const Pair pair;
    door_.knocks(pair.ours(), peer(1, host), now_);
    door_.fails(pair.ours(), reason);
    door_.fails(pair.ours(), "what came of that");
    door_.leaves(pair.ours(), now_);
  };
  for (int i = 0; i < 5; ++i) refuse("10.0.0.7", "a");
  refuse("10.0.0.7", "b");
  refuse("10.0.0.8", "a");
  EXPECT_EQ(log_.lines().size(), 3U);
  door_.look_around(now_ + Door::kReportPeriod - milliseconds(1));
  EXPECT_EQ(log_.lines().size(), 3U);
  door_.look_around(now_ += Door::kReportPeriod);
  ASSERT_EQ(log_.lines().size(), 4U);
  EXPECT_EQ(log_.lines().back(), "refused 4 more connections from 10.0.0.7 at port 7070: a");
  EXPECT_EQ(door_.refused(), 7U);
  // Who has stayed away for that long is new.
  refuse("10.0.0.8", "a");
  EXPECT_EQ(log_.lines().size(), 5U);
}

TEST_F(DoorTest, OfManyDifferentOnesNotEachIsMentioned) {
  for (int i = 0; i < 1000; ++i) {
    const Pair pair;
    door_.knocks(pair.ours(), peer(1, std::to_string(i)), now_);
    door_.leaves(pair.ours(), now_);
  }
  EXPECT_EQ(log_.lines().size(), Door::kMostKnown + 1);
  EXPECT_EQ(log_.count("other peers"), 1U);
  EXPECT_EQ(door_.refused(), 1000U);
}

TEST_F(DoorTest, WhoIsInCanBeSentAwayOnce) {
  const Pair pair;
  door_.knocks(pair.ours(), peer(1), now_);
  door_.comes_in(peer(1), 5);
  door_.is_sent_away(5, "it lies", now_);
  door_.is_sent_away(5, "it lies", now_);
  door_.is_sent_away(6, "nobody", now_);
  door_.leaves(pair.ours(), now_);
  EXPECT_THAT(log_.lines(), ::testing::ElementsAre("refused a connection from 10.0.0.7 at port 7070: it lies"));
  EXPECT_EQ(door_.refused(), 1U);
}

}  // namespace
}  // namespace onnx_split::transport
