#include "transport/push_pull.h"

#include <mutex>
#include <thread>
#include <vector>

#include "tests/transport/helpers.h"

namespace onnx_split::transport {
namespace {

class PushPull : public Conformance {
 protected:
  // A connected pair, in which the puller listens unless `push_listens`.
  void connect(bool push_listens = false, int send_queue_messages = 2) {
    push_ = must(PushSocket::open(send_queue_messages));
    if (push_listens) {
      must(pull_.dial(must(push_.listen(fresh_url(), tls())), quick()));
    } else {
      must(push_.dial(must(pull_.listen(fresh_url(), 100 << 20, tls())), quick()));
    }
    must(push_.wait_connected(kPatience));
    must(pull_.wait_connected(kPatience));
  }

  PushSocket push_ = must(PushSocket::open());
  PullSocket pull_ = must(PullSocket::open());
};

TEST_P(PushPull, DeliversInOrderWhoeverListens) {
  for (const bool push_listens : {false, true}) {
    pull_ = must(PullSocket::open());
    connect(push_listens);
    constexpr std::uint64_t kCount = 2000;
    std::thread sender([&] {
      for (std::uint64_t i = 0; i < kCount; ++i) must(push_.send(numbered(i, 8 + i % 100), kPatience));
    });
    for (std::uint64_t i = 0; i < kCount; ++i) {
      const Message message = must(pull_.receive(kPatience));
      ASSERT_EQ(number_of(message), i);
      ASSERT_EQ(message.size(), 8 + i % 100);
    }
    sender.join();
  }
}

TEST_P(PushPull, DeliversEveryByteOfEverySize) {
  connect();
  for (const std::size_t size : {0UL, 1UL, 1023UL, 1024UL, 1UL << 20, (1UL << 20) + 1, 64UL << 20}) {
    Message message = message_of(size, size);
    must(push_.send(std::move(message), kPatience));
    EXPECT_FALSE(message.valid());
    ASSERT_TRUE(same_bytes(must(pull_.receive(kPatience)), message_of(size, size))) << size;
  }
}

TEST_P(PushPull, CountsMessagesAndBytes) {
  connect();
  for (const std::size_t size : {0UL, 10UL, 300UL}) {
    must(push_.send(message_of(size, 1), kPatience));
    must(pull_.receive(kPatience));
  }
  EXPECT_EQ(push_.counters().messages_sent, 3U);
  EXPECT_EQ(push_.counters().bytes_sent, 310U);
  EXPECT_EQ(push_.counters().messages_received, 0U);
  EXPECT_EQ(pull_.counters().messages_received, 3U);
  EXPECT_EQ(pull_.counters().bytes_received, 310U);
}

TEST_P(PushPull, AMessageOverTheLimitCostsOnlyItsSender) {
  constexpr std::size_t kLimit = 1000;
  const std::string url = must(pull_.listen(fresh_url(), kLimit, tls()));
  Signal thrown_out;
  PushSocket bad = must(PushSocket::open());
  bad.on_disconnect([&](const std::string&) { thrown_out.raise(); });
  must(bad.dial(url, quick()));
  Signal disturbed;
  PushSocket good = must(PushSocket::open());
  good.on_disconnect([&](const std::string&) { disturbed.raise(); });
  must(good.dial(url, quick()));

  must(good.send(numbered(1, kLimit), kPatience));
  EXPECT_EQ(number_of(must(pull_.receive(kPatience))), 1U);
  must(bad.send(numbered(2, kLimit + 1), kPatience));
  EXPECT_EQ(code_of(pull_.receive(kShort)), ErrorCode::kTimeout);
  EXPECT_TRUE(thrown_out.wait());
  must(good.send(numbered(3, kLimit), kPatience));
  EXPECT_EQ(number_of(must(pull_.receive(kPatience))), 3U);
  EXPECT_EQ(disturbed.count(), 0);
  // The one that was thrown out may come back and behave.
  must(bad.wait_connected(kPatience));
  must(bad.send(numbered(4, kLimit), kPatience));
  EXPECT_EQ(number_of(must(pull_.receive(kPatience))), 4U);
}

// Of several that it has dialled: the one that is to blame, and the owner of the socket learns which that is.
TEST_P(PushPull, WhoPullsCanEndAConnectionThatItHasDialled) {
  PushSocket bad = must(PushSocket::open());
  const std::string bad_url = must(bad.listen(fresh_url(), tls()));
  std::mutex mutex;
  std::vector<std::string> broken;
  Signal ended;
  pull_.on_disconnect([&](const std::string& url) {
    const std::lock_guard lock(mutex);
    broken.push_back(url);
    ended.raise();
  });
  connect(true);
  must(pull_.dial(bad_url, quick()));
  must(bad.send(numbered(1), kPatience));
  const Message message = must(pull_.receive(kPatience));
  pull_.refuse(message.connection(), "it can't be right");
  EXPECT_TRUE(ended.wait());
  must(push_.send(numbered(2), kPatience));
  EXPECT_EQ(number_of(must(pull_.receive(kPatience))), 2U);
  pull_.close();  // its callback uses what is here
  EXPECT_EQ(broken, std::vector<std::string>{bad_url});
}

TEST_P(PushPull, BackpressureBlocksAndLosesNothing) {
  connect();
  constexpr std::size_t kSize = 1 << 20;
  constexpr std::uint64_t kMost = 200;  // more than any socket buffer holds
  std::uint64_t next = 0;
  Expected<void> sent;
  Message refused;
  while (sent && next < kMost) {
    Message message = numbered(next, kSize);
    sent = push_.send(std::move(message), kShort);
    if (sent) {
      ++next;
    } else {
      refused = std::move(message);
    }
  }
  ASSERT_EQ(code_of(sent), ErrorCode::kTimeout);
  ASSERT_EQ(number_of(refused), next) << "the caller still has the message";

  std::thread sender([&] {
    must(push_.send(std::move(refused), kPatience));
    for (std::uint64_t i = next + 1; i < next + 20; ++i) must(push_.send(numbered(i, kSize), kPatience));
  });
  for (std::uint64_t i = 0; i < next + 20; ++i) ASSERT_EQ(number_of(must(pull_.receive(kPatience))), i);
  sender.join();
  EXPECT_EQ(code_of(pull_.receive(kShort)), ErrorCode::kTimeout) << "and none twice";
}

TEST_P(PushPull, SeveralPushersReachOnePuller) {
  const std::string url = must(pull_.listen(fresh_url(), 1000, tls()));
  constexpr std::uint64_t kPushers = 4;
  constexpr std::uint64_t kEach = 300;
  std::vector<std::thread> threads;
  Signal received_all;
  for (std::uint64_t pusher = 0; pusher < kPushers; ++pusher) {
    threads.emplace_back([&, pusher] {
      PushSocket push = must(PushSocket::open());
      must(push.dial(url, quick()));
      for (std::uint64_t i = 0; i < kEach; ++i) must(push.send(numbered(pusher * kEach + i), kPatience));
      received_all.wait();
    });
  }
  std::vector<std::uint64_t> next(kPushers, 0);
  for (std::uint64_t i = 0; i < kPushers * kEach; ++i) {
    const std::uint64_t number = number_of(must(pull_.receive(kPatience)));
    ASSERT_LT(number, kPushers * kEach);
    ASSERT_EQ(number % kEach, next[number / kEach]++) << "in order from each";
  }
  received_all.raise();
  for (std::thread& thread : threads) thread.join();
}

TEST_P(PushPull, OnePullerDialsSeveralPushers) {
  std::vector<PushSocket> pushers;
  for (std::uint64_t i = 0; i < 3; ++i) {
    pushers.push_back(must(PushSocket::open()));
    must(pull_.dial(must(pushers.back().listen(fresh_url(), tls())), quick()));
    must(pushers.back().send(numbered(i), kPatience));
  }
  EXPECT_EQ(pull_.connections(), 3U);
  std::vector<std::uint64_t> numbers;
  for (int i = 0; i < 3; ++i) numbers.push_back(number_of(must(pull_.receive(kPatience))));
  EXPECT_THAT(numbers, ::testing::UnorderedElementsAre(0, 1, 2));
}

TEST_P(PushPull, SeveralThreadsMaySendAndReceive) {
  connect();
  constexpr std::uint64_t kThreads = 4;
  constexpr std::uint64_t kEach = 200;
  std::mutex mutex;
  std::vector<int> seen(kThreads * kEach, 0);
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t i = 0; i < kEach; ++i) must(push_.send(numbered(t * kEach + i), kPatience));
    });
    threads.emplace_back([&] {
      for (std::uint64_t i = 0; i < kEach; ++i) {
        const std::uint64_t number = number_of(must(pull_.receive(kPatience)));
        const std::lock_guard lock(mutex);
        ++seen.at(number);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(seen, ::testing::Each(1));
}

TEST_P(PushPull, TheQueueFillsWithoutAConnectionAndGoesOutLater) {
  push_ = must(PushSocket::open(2));
  const std::string url = dead_url();
  DialOptions options = quick();
  options.connect_timeout = milliseconds(0);
  must(push_.dial(url, options));
  must(push_.send(numbered(0), milliseconds(0)));
  must(push_.send(numbered(1), milliseconds(0)));
  Message third = numbered(2);
  const auto refused = push_.send(std::move(third), milliseconds(0));
  ASSERT_EQ(code_of(refused), ErrorCode::kTimeout);
  EXPECT_EQ(refused.error().message, url + ": not sent in time: no connection");
  must(pull_.listen(url, 100, tls()));
  must(push_.send(std::move(third), kPatience));
  for (std::uint64_t i = 0; i < 3; ++i) EXPECT_EQ(number_of(must(pull_.receive(kPatience))), i);
}

TEST_P(PushPull, ATimeoutOfZeroTakesWhatIsThere) {
  connect();
  EXPECT_EQ(code_of(pull_.receive(milliseconds(0))), ErrorCode::kTimeout);
  must(push_.send(numbered(0), kPatience));
  must(push_.send(numbered(1), kPatience));
  must(pull_.receive(kPatience));
  // The second comes right behind the first; nothing tells when it is there but asking.
  Expected<Message> second = pull_.receive(milliseconds(0));
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!second && std::chrono::steady_clock::now() < end) second = pull_.receive(milliseconds(0));
  EXPECT_EQ(number_of(must(std::move(second))), 1U);
}

TEST_P(PushPull, EitherSideMayCloseWhileMessagesStream) {
  for (int round = 0; round < 24; ++round) {
    const bool puller_closes = round % 2 == 0;
    const std::size_t size = round % 4 < 2 ? 1 << 10 : 1 << 20;
    pull_ = must(PullSocket::open());
    connect(round % 3 == 0);
    Signal streaming;
    std::thread sender([&] {
      while (push_.send(numbered(1, size), kForever)) {
      }
    });
    std::thread receiver([&] {
      while (pull_.receive(kForever)) streaming.raise();
    });
    ASSERT_TRUE(streaming.wait(5));
    puller_closes ? pull_.close() : push_.close();
    puller_closes ? push_.close() : pull_.close();
    sender.join();
    receiver.join();
  }
}

TEST_P(PushPull, AnEmptyMessageIsRefused) {
  connect();
  EXPECT_EQ(code_of(push_.send(Message(), kPatience)), ErrorCode::kInvalid);
}

ON_EVERY_TRANSPORT(PushPull);

}  // namespace
}  // namespace onnx_split::transport
