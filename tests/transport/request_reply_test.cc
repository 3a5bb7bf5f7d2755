#include "transport/request_reply.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <optional>
#include <thread>
#include <vector>

#include "tests/transport/helpers.h"

namespace onnx_split::transport {
namespace {

class RequestReply : public Conformance {
 protected:
  void connect(std::size_t max_request_bytes = 100 << 20, std::size_t max_reply_bytes = 100 << 20) {
    reply_ = must(ReplySocket::open());
    url_ = must(reply_->listen(fresh_url(), max_request_bytes, tls()));
    DialOptions options = quick();
    options.max_message_bytes = max_reply_bytes;
    must(request_.dial(url_, options));
  }

  // Answers `count` requests with their own bytes.
  std::thread echo(std::uint64_t count) {
    return std::thread([this, count] {
      for (std::uint64_t i = 0; i < count; ++i) must(reply_->reply(must(reply_->receive(kPatience))));
    });
  }

  std::string url_;
  Signal gone_;  // before the sockets, whose callbacks use it to the last
  RequestSocket request_ = must(RequestSocket::open());
  std::optional<ReplySocket> reply_;
};

TEST_P(RequestReply, AnswersEveryByteOfEverySize) {
  connect();
  std::thread server = echo(5);
  for (const std::size_t size : {0UL, 1UL, 1024UL, 1UL << 20, 16UL << 20}) {
    Message request = message_of(size, size);
    const Message answer = must(request_.call(std::move(request), kPatience));
    EXPECT_FALSE(request.valid());
    ASSERT_TRUE(same_bytes(answer, message_of(size, size))) << size;
  }
  server.join();
  EXPECT_EQ(request_.counters().messages_sent, 5U);
  EXPECT_EQ(request_.counters().bytes_received, 1U + 1024 + (1 << 20) + (16 << 20));
  EXPECT_EQ(reply_->counters().messages_received, 5U);
  EXPECT_EQ(reply_->counters().bytes_sent, request_.counters().bytes_received);
}

TEST_P(RequestReply, ALateReplyNeverAnswersALaterRequest) {
  connect();
  Expected<Message> first = tl::unexpected(Error{});
  std::thread client([&] { first = request_.call(numbered(1), kShort); });
  const Message late = must(reply_->receive(kPatience));
  EXPECT_EQ(number_of(late), 1U);
  client.join();
  ASSERT_EQ(code_of(first), ErrorCode::kTimeout);
  EXPECT_EQ(first.error().message, url_ + ": no reply in time");
  must(reply_->reply(numbered(1)));

  std::thread server = echo(20);
  for (std::uint64_t i = 2; i < 22; ++i) EXPECT_EQ(number_of(must(request_.call(numbered(i), kPatience))), i);
  server.join();
}

TEST_P(RequestReply, CallsFromSeveralThreadsGetTheirOwnAnswers) {
  connect();
  constexpr std::uint64_t kThreads = 4;
  constexpr std::uint64_t kEach = 50;
  std::thread server = echo(kThreads * kEach);
  std::vector<std::thread> clients;
  for (std::uint64_t t = 0; t < kThreads; ++t) {
    clients.emplace_back([&, t] {
      for (std::uint64_t i = t * kEach; i < (t + 1) * kEach; ++i) {
        EXPECT_EQ(number_of(must(request_.call(numbered(i), kPatience))), i);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  server.join();
}

TEST_P(RequestReply, ARequestIsNotRepeatedWhenItsPeerDies) {
  connect();
  request_.on_disconnect([&](const std::string&) { gone_.raise(); });
  Expected<Message> answer = tl::unexpected(Error{});
  const auto begin = std::chrono::steady_clock::now();
  std::thread client([&] { answer = request_.call(numbered(1), kPatience); });
  EXPECT_EQ(number_of(must(reply_->receive(kPatience))), 1U);
  reply_.reset();
  client.join();
  ASSERT_EQ(code_of(answer), ErrorCode::kUnavailable);
  EXPECT_EQ(answer.error().message, url_ + ": connection lost");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kPatience / 2) << "and it is told at once";
  EXPECT_TRUE(gone_.wait());

  reply_ = must(ReplySocket::open());
  must(reply_->listen(url_, 100, tls()));
  must(request_.wait_connected(kPatience));
  EXPECT_EQ(code_of(reply_->receive(kShort)), ErrorCode::kTimeout);
  std::thread server = echo(1);
  EXPECT_EQ(number_of(must(request_.call(numbered(2), kPatience))), 2U);
  server.join();
}

TEST_P(RequestReply, ARequestThatNeverWentOutIsKeptAndNotSentLater) {
  DialOptions options = quick();
  options.connect_timeout = milliseconds(0);
  url_ = dead_url();
  must(request_.dial(url_, options));
  Message request = numbered(5);
  const auto answer = request_.call(std::move(request), kShort);
  ASSERT_EQ(code_of(answer), ErrorCode::kTimeout);
  EXPECT_EQ(answer.error().message, url_ + ": request not sent in time: no connection");
  ASSERT_EQ(number_of(request), 5U);

  reply_ = must(ReplySocket::open());
  must(reply_->listen(url_, 100, tls()));
  must(request_.wait_connected(kPatience));
  EXPECT_EQ(code_of(reply_->receive(kShort)), ErrorCode::kTimeout);
  std::thread server = echo(1);
  EXPECT_EQ(number_of(must(request_.call(std::move(request), kPatience))), 5U);
  server.join();
}

// Nobody reads there: the first request fills the way, the second one waits behind it.
TEST(Request, ACallThatWaitsToGoOutEndsWithTheConnectionIfItShall) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(listener, reinterpret_cast<const sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(listener, 1), 0);
  ASSERT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  int peer = -1;
  std::thread peer_begins([&] {
    peer = ::accept(listener, nullptr, nullptr);
    const std::array<unsigned char, 8> hello = {0, 'S', 'P', 0, 0, 0x31, 0, 0};  // nng's, of who replies
    EXPECT_EQ(::send(peer, hello.data(), hello.size(), 0), 8);
  });
  RequestSocket request = must(RequestSocket::open());
  DialOptions options;
  options.calls_outlive_connection = false;
  must(request.dial(fmt::format("tcp://127.0.0.1:{}", ntohs(address.sin_port)), options));
  peer_begins.join();
  ::close(listener);
  std::vector<std::thread> calls;
  std::array<ErrorCode, 2> codes{};
  for (std::size_t i = 0; i < 2; ++i) {
    calls.emplace_back([&, i] {
      const auto reply = request.call(message_of(i == 0 ? 64UL << 20 : 10, i), std::chrono::seconds(60));
      if (!reply) codes[i] = reply.error().code;
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  const auto begin = std::chrono::steady_clock::now();
  ::close(peer);
  for (std::thread& call : calls) call.join();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
  EXPECT_EQ(codes[0], ErrorCode::kUnavailable);
  EXPECT_EQ(codes[1], ErrorCode::kUnavailable);
  EXPECT_EQ(code_of(request.call(message_of(10, 3), std::chrono::seconds(60))), ErrorCode::kUnavailable);
}

TEST_P(RequestReply, SizeLimitsHoldBothWaysToTheByte) {
  connect(1000, 2000);
  // The server answers a request of n bytes with 2n, until it is closed.
  std::thread server([&] {
    for (;;) {
      const auto request = reply_->receive(kForever);
      if (!request) return;
      must(reply_->reply(message_of(request->size() * 2, 1)));
    }
  });
  EXPECT_EQ(must(request_.call(message_of(1000, 1), kPatience)).size(), 2000U);
  EXPECT_EQ(code_of(request_.call(message_of(1001, 1), kPatience)), ErrorCode::kUnavailable);
  EXPECT_EQ(must(request_.call(message_of(1000, 1), kPatience)).size(), 2000U);

  RequestSocket narrow = must(RequestSocket::open());
  DialOptions options = quick();
  options.max_message_bytes = 1999;
  must(narrow.dial(url_, options));
  EXPECT_EQ(code_of(narrow.call(message_of(1000, 1), kPatience)), ErrorCode::kUnavailable);
  EXPECT_EQ(must(narrow.call(message_of(999, 1), kPatience)).size(), 1998U);
  reply_->close();
  server.join();
}

TEST_P(RequestReply, AReplyNeedsARequest) {
  connect();
  Message message = numbered(1);
  EXPECT_EQ(code_of(reply_->reply(std::move(message))), ErrorCode::kInvalid);
  EXPECT_EQ(number_of(message), 1U);
  EXPECT_EQ(code_of(reply_->reply(Message())), ErrorCode::kInvalid);
  EXPECT_EQ(code_of(request_.call(Message(), kPatience)), ErrorCode::kInvalid);
}

TEST_P(RequestReply, AReplyToAPeerThatHasGoneIsDropped) {
  connect();
  reply_->on_disconnect([&](const std::string&) { gone_.raise(); });
  std::thread client([&] { EXPECT_EQ(code_of(request_.call(numbered(1), kForever)), ErrorCode::kCancelled); });
  must(reply_->receive(kPatience));
  request_.close();
  client.join();
  ASSERT_TRUE(gone_.wait());
  must(reply_->reply(numbered(1)));
}

// A peer that asks and asks and reads no reply keeps nobody else from being answered.
TEST(Reply, APeerThatDoesNotReadIsCutOff) {
  ReplySocket reply = must(ReplySocket::open());
  const std::string url = must(reply.listen("tcp://127.0.0.1:0", 100));
  RequestSocket honest = must(RequestSocket::open());
  must(honest.dial(url, {}));
  const int peer = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(must(parse_url(url)).port);
  ASSERT_EQ(::connect(peer, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  const std::array<unsigned char, 8> hello = {0, 'S', 'P', 0, 0, 0x30, 0, 0};  // nng's, of who requests
  ASSERT_EQ(::send(peer, hello.data(), hello.size(), 0), 8);
  std::array<unsigned char, 8> theirs{};
  ASSERT_EQ(::recv(peer, theirs.data(), theirs.size(), MSG_WAITALL), 8);
  for (unsigned char i = 1; i <= 2; ++i) {
    const std::array<unsigned char, 12> request = {0, 0, 0, 0, 0, 0, 0, 4, 0x80, 0, 0, i};  // length, number
    ASSERT_EQ(::send(peer, request.data(), request.size(), 0), 12);
  }
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 2; ++i) {
    must(reply.receive(kPatience));
    must(reply.reply(message_of(64 << 20, 1)));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  std::thread server([&] { must(reply.reply(must(reply.receive(kPatience)))); });
  EXPECT_EQ(number_of(must(honest.call(numbered(3), kPatience))), 3U);
  server.join();
  ::close(peer);
}

TEST_P(RequestReply, ClosingWakesTheServer) {
  connect();
  Signal running;
  std::thread server([&] {
    running.raise();
    EXPECT_EQ(code_of(reply_->receive(kForever)), ErrorCode::kCancelled);
  });
  running.wait();
  reply_->close();
  server.join();
}

ON_EVERY_TRANSPORT(RequestReply);

}  // namespace
}  // namespace onnx_split::transport
