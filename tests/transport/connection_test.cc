// Dialling, breaking, coming back, closing.
#include <optional>
#include <thread>

#include "tests/transport/helpers.h"

namespace onnx_split::transport {
namespace {

using std::chrono::steady_clock;

class Connection : public Conformance {};

TEST_P(Connection, APeerThatDiesAndComesBackIsFoundAgain) {
  std::optional<PullSocket> pull = must(PullSocket::open());
  const std::string url = must(pull->listen(fresh_url(), 100, tls()));
  Signal gone;
  std::string gone_url;
  PushSocket push = must(PushSocket::open());
  push.on_disconnect([&](const std::string& which) {
    gone_url = which;
    gone.raise();
  });
  must(push.dial(url, quick()));
  must(push.send(numbered(1), kPatience));
  EXPECT_EQ(number_of(must(pull->receive(kPatience))), 1U);

  pull.reset();
  ASSERT_TRUE(gone.wait());
  EXPECT_EQ(gone_url, url);
  EXPECT_EQ(push.connections(), 0U);
  // Sent while nobody is there: the queue keeps it.
  must(push.send(numbered(2), kPatience));

  pull = must(PullSocket::open());
  ASSERT_EQ(must(pull->listen(url, 100, tls())), url);
  const auto back = steady_clock::now();
  must(push.wait_connected(kPatience));
  EXPECT_LT(steady_clock::now() - back, quick().reconnect_max + milliseconds(1000));
  must(push.send(numbered(3), kPatience));
  EXPECT_EQ(number_of(must(pull->receive(kPatience))), 2U);
  EXPECT_EQ(number_of(must(pull->receive(kPatience))), 3U);
}

TEST_P(Connection, APullerNoticesItsPushersEnd) {
  Signal gone;
  PullSocket pull = must(PullSocket::open());
  pull.on_disconnect([&](const std::string&) { gone.raise(); });
  const std::string url = must(pull.listen(fresh_url(), 100, tls()));
  {
    PushSocket push = must(PushSocket::open());
    must(push.dial(url, quick()));
    must(pull.wait_connected(kPatience));
    EXPECT_EQ(gone.count(), 0);
  }
  EXPECT_TRUE(gone.wait());
}

TEST_P(Connection, OurOwnCloseIsNoDisconnect) {
  PullSocket pull = must(PullSocket::open());
  Signal gone;
  PushSocket push = must(PushSocket::open());
  push.on_disconnect([&](const std::string&) { gone.raise(); });
  must(push.dial(must(pull.listen(fresh_url(), 100, tls())), quick()));
  push.close();
  EXPECT_EQ(gone.count(), 0);
  EXPECT_EQ(push.connections(), 0U);
}

TEST_P(Connection, ABusyAddressIsRefused) {
  PullSocket first = must(PullSocket::open());
  const std::string url = must(first.listen(fresh_url(), 100, tls()));
  PullSocket second = must(PullSocket::open());
  const auto listened = second.listen(url, 100, tls());
  ASSERT_EQ(code_of(listened), ErrorCode::kUnavailable);
  EXPECT_EQ(listened.error().message, url + ": address in use");
  // Another attempt, on another address, works.
  must(second.listen(fresh_url(), 100, tls()));
}

TEST_P(Connection, DiallingNobodyIsRefusedInTime) {
  const std::string url = dead_url();
  PushSocket push = must(PushSocket::open());
  DialOptions options = quick();
  options.connect_timeout = milliseconds(150);
  const auto begin = steady_clock::now();
  const auto dialled = push.dial(url, options);
  ASSERT_EQ(code_of(dialled), ErrorCode::kUnavailable);
  EXPECT_EQ(dialled.error().message, url + ": connection refused");
  EXPECT_LT(steady_clock::now() - begin, milliseconds(2000));
  // Nothing goes on behind our back, and the socket may try again.
  PullSocket pull = must(PullSocket::open());
  must(pull.listen(url, 100, tls()));
  EXPECT_EQ(code_of(push.wait_connected(kShort)), ErrorCode::kTimeout);
  must(push.dial(url, quick()));
}

TEST_P(Connection, DiallingWaitsForAListenerThatComesLater) {
  const std::string url = dead_url();
  PushSocket push = must(PushSocket::open());
  std::thread dialler([&] { must(push.dial(url, quick())); });
  PullSocket pull = must(PullSocket::open());
  must(pull.listen(url, 100, tls()));
  dialler.join();
  EXPECT_EQ(push.connections(), 1U);
}

TEST_P(Connection, AnotherProtocolIsRefused) {
  PushSocket another = must(PushSocket::open());
  const std::string url = must(another.listen(fresh_url(), tls()));
  PushSocket push = must(PushSocket::open());
  DialOptions options = quick();
  options.connect_timeout = milliseconds(150);
  options.reconnect_min = options.reconnect_max = milliseconds(50);  // so seldom that the door lets it in each time
  const auto dialled = push.dial(url, options);
  ASSERT_EQ(code_of(dialled), ErrorCode::kUnavailable);
  EXPECT_EQ(dialled.error().message, url + ": the peer speaks another protocol");
}

TEST_P(Connection, ClosingWakesAReceiver) {
  PullSocket pull = must(PullSocket::open());
  const std::string url = must(pull.listen(fresh_url(), 100, tls()));
  Signal running;
  std::optional<Expected<Message>> result;
  std::thread receiver([&] {
    running.raise();
    result = pull.receive(kForever);
  });
  running.wait();
  pull.close();
  receiver.join();
  ASSERT_EQ(code_of(*result), ErrorCode::kCancelled);
  EXPECT_EQ(result->error().message, url + ": socket closed");
  pull.close();
  EXPECT_EQ(code_of(pull.receive(kForever)), ErrorCode::kCancelled);
  EXPECT_EQ(code_of(pull.listen(url, 100, tls())), ErrorCode::kCancelled);
}

TEST_P(Connection, ClosingWakesASenderWhoKeepsTheMessage) {
  PushSocket push = must(PushSocket::open(0));
  must(push.listen(fresh_url(), tls()));
  Signal running;
  Message message = numbered(7);
  std::thread sender([&] {
    running.raise();
    EXPECT_EQ(code_of(push.send(std::move(message), kForever)), ErrorCode::kCancelled);
  });
  running.wait();
  push.close();
  sender.join();
  EXPECT_EQ(number_of(message), 7U);
}

TEST_P(Connection, ClosingWakesADialler) {
  PushSocket push = must(PushSocket::open());
  Signal running;
  std::thread dialler([&] {
    running.raise();
    EXPECT_EQ(code_of(push.dial(dead_url(), quick())), ErrorCode::kCancelled);
  });
  running.wait();
  push.close();
  dialler.join();
}

TEST_P(Connection, ClosingFromManyThreadsAtOnceIsOneClose) {
  PullSocket pull = must(PullSocket::open());
  PushSocket push = must(PushSocket::open());
  must(push.dial(must(pull.listen(fresh_url(), 100, tls())), quick()));
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] { push.close(); });
    threads.emplace_back([&] { pull.close(); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(code_of(push.send(numbered(0), kForever)), ErrorCode::kCancelled);
}

TEST_P(Connection, OptionsThatMakeNoSenseAreRefused) {
  PullSocket pull = must(PullSocket::open());
  EXPECT_EQ(code_of(pull.listen(fresh_url(), 0, tls())), ErrorCode::kInvalid);
  const std::string url = must(pull.listen(fresh_url(), 1, tls()));
  PushSocket push = must(PushSocket::open());
  EXPECT_EQ(code_of(push.dial(url, {.reconnect_min = milliseconds(0)})), ErrorCode::kInvalid);
  EXPECT_EQ(code_of(push.dial(url, {.reconnect_min = milliseconds(9), .reconnect_max = milliseconds(8)})),
            ErrorCode::kInvalid);
  EXPECT_EQ(code_of(push.dial(url, {.max_message_bytes = 0})), ErrorCode::kInvalid);
  EXPECT_EQ(code_of(PushSocket::open(-1)), ErrorCode::kInvalid);
}

ON_EVERY_TRANSPORT(Connection);

TEST(TcpConnection, ListeningGivesThePortThatWasChosen) {
  for (const char* host : {"tcp://127.0.0.1:", "tcp://localhost:", "tcp://[::1]:"}) {
    PullSocket pull = must(PullSocket::open());
    const auto url = pull.listen(std::string(host) + "0", 100);
    if (!url && std::string(host).find('[') != std::string::npos) GTEST_SKIP() << "no IPv6: " << url.error().message;
    ASSERT_TRUE(url) << url.error().message;
    EXPECT_EQ(url->rfind(host, 0), 0U) << *url;
    EXPECT_NE(parse_url(*url)->port, 0);
    PushSocket push = must(PushSocket::open());
    must(push.dial(*url));
  }
}

TEST(TcpConnection, AnAddressThatIsntOursOrDoesntExistIsNotFound) {
  PullSocket pull = must(PullSocket::open());
  EXPECT_EQ(code_of(pull.listen("tcp://192.0.2.1:0", 100)), ErrorCode::kNotFound);
  PushSocket push = must(PushSocket::open());
  const auto dialled = push.dial("tcp://no-such-host.invalid:5", {.connect_timeout = milliseconds(150)});
  ASSERT_FALSE(dialled);
  EXPECT_THAT(dialled.error().message, ::testing::StartsWith("tcp://no-such-host.invalid:5: "));
}

}  // namespace
}  // namespace onnx_split::transport
