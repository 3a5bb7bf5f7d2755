#include "transport/url.h"

#include <gtest/gtest.h>

namespace onnx_split::transport {
namespace {

TEST(Url, TextAndParseAreInverse) {
  for (const char* text : {"inproc://runner-3", "tcp://127.0.0.1:5555", "tcp://pi4.local:0", "tcp://*:7000",
                           "tcp://[::1]:65535", "tcp://[fe80::1]:1", "tls+tcp://192.168.1.5:443"}) {
    const auto url = parse_url(text);
    ASSERT_TRUE(url) << url.error().message;
    EXPECT_EQ(url->text(), text);
    EXPECT_EQ(*parse_url(url->text()), *url);
  }
  const Url url = *parse_url("tcp://[::1]:80");
  EXPECT_EQ(url.scheme, Scheme::kTcp);
  EXPECT_EQ(url.host, "::1");
  EXPECT_EQ(url.port, 80);
}

TEST(Url, MalformedOnesAreRefusedWithTheirText) {
  for (const char* text : {"",
                           "127.0.0.1:5555",
                           "tcp:/127.0.0.1:1",
                           "tcp://",
                           "tcp://host",
                           "tcp://host:",
                           "tcp://:5",
                           "tcp://host:x",
                           "tcp://host:-1",
                           "tcp://host:65536",
                           "tcp://host:5/path",
                           "tcp://ho st:5",
                           "tcp://::1:5",
                           "tcp://[::1:5",
                           "tcp://[nonsense]:5",
                           "tcp://[]:5",
                           "tcp://a@b:5",
                           "inproc://",
                           "inproc://two words",
                           "inproc://a\n"}) {
    const auto url = parse_url(text);
    ASSERT_FALSE(url) << text;
    EXPECT_EQ(url.error().code, ErrorCode::kInvalid) << text;
    EXPECT_NE(url.error().message.find("\"" + std::string(text) + "\": expects"), std::string::npos)
        << url.error().message;
  }
  EXPECT_FALSE(parse_url("inproc://" + std::string(101, 'a')));
  EXPECT_FALSE(parse_url("tcp://" + std::string(101, 'a') + ":1"));
}

TEST(Url, UnknownSchemesAreUnsupported) {
  EXPECT_EQ(parse_url("http://host:80").error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(parse_url("://host:80").error().code, ErrorCode::kUnsupported);
}

TEST(Url, DiallingNeedsAHostAndAPort) {
  EXPECT_EQ(check_dialable(*parse_url("tcp://*:5")).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(check_dialable(*parse_url("tcp://host:0")).error().code, ErrorCode::kInvalid);
  EXPECT_TRUE(check_dialable(*parse_url("tcp://host:5")));
  EXPECT_TRUE(check_dialable(*parse_url("tls+tcp://host:5")));
  EXPECT_TRUE(check_dialable(*parse_url("inproc://name")));
}

TEST(Url, OnlyThisMachineIsLoopback) {
  for (const char* text : {"inproc://x", "tcp://127.0.0.1:1", "tcp://127.255.3.4:1", "tcp://localhost:1",
                           "tcp://[::1]:1", "tls+tcp://[0:0:0:0:0:0:0:1]:1"}) {
    EXPECT_TRUE(is_loopback(text)) << text;
  }
  for (const char* text :
       {"tcp://0.0.0.0:1", "tcp://*:1", "tcp://128.0.0.1:1", "tcp://192.168.1.5:1", "tcp://[::]:1", "tcp://[fe80::1]:1",
        "tcp://127.0.0.1.evil.org:1", "tcp://localhost.org:1", "tcp://127.1:1", "not a url", "tcp://127.0.0.1"}) {
    EXPECT_FALSE(is_loopback(text)) << text;
  }
}

}  // namespace
}  // namespace onnx_split::transport
