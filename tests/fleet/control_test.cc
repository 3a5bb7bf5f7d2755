#include "fleet/control.h"

#include <gtest/gtest.h>

#include <future>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "tests/support/expect.h"

namespace onnx_split {
namespace {

using testing::must;

TEST(Control, WhatAPeerSaysIsOneLineAndNotLong) {
  EXPECT_EQ(in_one_line("part \"a\": too little memory"), "part \"a\": too little memory");
  EXPECT_EQ(in_one_line("a\nb\r\tc\x1b[2Jd\x7f"), "a b  c [2Jd ");
  EXPECT_EQ(in_one_line(std::string(kLongestSaid, 'x')), std::string(kLongestSaid, 'x'));
  EXPECT_EQ(in_one_line(std::string(kLongestSaid + 1, 'x')), std::string(kLongestSaid, 'x') + "…");
  // Not within a character.
  EXPECT_EQ(in_one_line(std::string(kLongestSaid - 1, 'x') + "é"), std::string(kLongestSaid - 1, 'x') + "…");
  EXPECT_EQ(in_one_line(std::string(2 * kLongestSaid, '\x80')), "…");
}

// One who could would end everything, or be taken for silent.
TEST(Control, APeerCanNotSayThatWeHaveCancelledOrWaitedInVain) {
  transport::ReplySocket runner = must(transport::ReplySocket::open());
  ControlClient client = must(ControlClient::connect("pi1", must(runner.listen("tcp://127.0.0.1:0", kMaxControlBytes)),
                                                     std::chrono::seconds(10)));
  for (const ErrorCode said :
       {ErrorCode::kInvalid, ErrorCode::kExhausted, ErrorCode::kTimeout, ErrorCode::kCancelled}) {
    std::thread answering([&] {
      must(runner.receive(std::chrono::seconds(10)));
      must(runner.reply(must(encode_control(error_to_json({said, "no\nmore"})))));
    });
    const auto reply = client.call("ping", Json::object());
    answering.join();
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().message, "device \"pi1\": no more");
    const bool is_theirs = said == ErrorCode::kInvalid || said == ErrorCode::kExhausted;
    EXPECT_EQ(reply.error().code, is_theirs ? said : ErrorCode::kUnavailable);
  }
}

TEST(Control, AConnectionThatIsNotWantedAnyMoreIsGivenUp) {
  using std::chrono::seconds;
  transport::ReplySocket runner = must(transport::ReplySocket::open());
  const std::string there = must(runner.listen("tcp://127.0.0.1:0", kMaxControlBytes));
  std::stop_source stop;
  const auto connect = [&](const std::string& url) {
    const auto client = ControlClient::connect("pi1", url, seconds(60), {}, {}, stop.get_token());
    return client ? std::nullopt : std::optional(client.error().code);
  };
  EXPECT_EQ(connect(there), std::nullopt);
  auto connecting = std::async(std::launch::async, connect, "tcp://127.0.0.1:1");  // refuses, and is tried again
  EXPECT_EQ(connecting.wait_for(std::chrono::milliseconds(300)), std::future_status::timeout);
  stop.request_stop();
  ASSERT_EQ(connecting.wait_for(seconds(10)), std::future_status::ready);
  EXPECT_EQ(connecting.get(), ErrorCode::kCancelled);
  EXPECT_EQ(connect(there), ErrorCode::kCancelled);
}

}  // namespace
}  // namespace onnx_split
