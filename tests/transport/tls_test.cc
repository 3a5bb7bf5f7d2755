// Who gets in over tls+tcp, and who doesn't. The rest of the transport's tests run over it as well.
#include <sys/stat.h>

#include <optional>
#include <thread>

#include "tests/support/certificates.h"
#include "tests/support/stranger.h"
#include "tests/transport/helpers.h"

namespace onnx_split::transport {
namespace {

using onnx_split::testing::Authorities;
using onnx_split::testing::error_of;
using onnx_split::testing::Stranger;
using onnx_split::testing::TlsStranger;
using Kind = Authorities::Kind;

class TlsTest : public ::testing::Test {
 protected:
  static constexpr const char* kUrl = "tls+tcp://127.0.0.1:0";

  void SetUp() override {
    pull_ = must(PullSocket::open());
    url_ = must(pull_->listen(kUrl, 100, {ours_.identity("pi1", Kind::kDevice), Peers::kDevices, ""}));
  }

  // Whether somebody with this identity gets a message through, who expects to find `name` there. Who should get in
  // has all the time it takes.
  bool gets_in(std::shared_ptr<const TlsIdentity> identity, const std::string& name = "pi1",
               milliseconds timeout = kPatience) {
    PushSocket push = must(PushSocket::open());
    const auto dialled =
        push.dial(url_, {.connect_timeout = timeout, .tls = {std::move(identity), Peers::kDevices, name}});
    if (!dialled) return false;
    must(push.send(numbered(7), kPatience));
    return number_of(must(pull_->receive(kPatience))) == 7;
  }
  bool is_kept_out(std::shared_ptr<const TlsIdentity> identity, const std::string& name = "pi1") {
    return !gets_in(std::move(identity), name, milliseconds(300));
  }

  Authorities ours_;
  Authorities theirs_;
  std::optional<PullSocket> pull_;
  std::string url_;
};

TEST_F(TlsTest, OnlyWhomTheListenersAuthorityHasSignedGetsIn) {
  EXPECT_TRUE(gets_in(ours_.identity("pi2", Kind::kDevice)));
  EXPECT_TRUE(is_kept_out(ours_.identity("boss", Kind::kCoordinator)));
  EXPECT_TRUE(is_kept_out(theirs_.identity("pi2", Kind::kDevice)));
  EXPECT_TRUE(gets_in(ours_.identity("pi3", Kind::kDevice)));
}

TEST_F(TlsTest, ADevicesCertificateDoesntOpenACoordinatorsPort) {
  PullSocket control = must(PullSocket::open());
  url_ = must(control.listen(kUrl, 100, {ours_.identity("pi1", Kind::kDevice), Peers::kCoordinators, ""}));
  pull_ = std::move(control);
  EXPECT_TRUE(is_kept_out(ours_.identity("pi2", Kind::kDevice)));
  EXPECT_TRUE(gets_in(ours_.identity("boss", Kind::kCoordinator)));
}

TEST_F(TlsTest, TheDiallingSideChecksTheName) {
  const auto identity = ours_.identity("pi2", Kind::kDevice);
  EXPECT_TRUE(is_kept_out(identity, "pi9"));
  EXPECT_TRUE(gets_in(identity, "pi1"));
  PushSocket push = must(PushSocket::open());
  EXPECT_EQ(error_of(push.dial(url_, {.tls = {identity, Peers::kDevices, ""}})),
            url_ + ": expects the name of its owner");
  EXPECT_EQ(error_of(push.dial(url_, {})), url_ + ": expects a certificate, a key and authorities");
  EXPECT_THAT(
      error_of(push.dial(url_, {.connect_timeout = milliseconds(1000), .tls = {identity, Peers::kDevices, "pi9"}})),
      ::testing::HasSubstr("the TLS handshake failed: one end doesn't accept the other's certificate"));
}

TEST_F(TlsTest, PlainTcpScannersAndSilentOnesDisturbNobody) {
  const auto identity = ours_.identity("pi2", Kind::kDevice);
  PushSocket plain = must(PushSocket::open());
  must(plain.dial("tcp" + url_.substr(url_.find(':')), {.connect_timeout = milliseconds(0)}));
  std::vector<std::unique_ptr<Stranger>> strangers;
  for (std::uint64_t i = 0; i < 60; ++i) {
    strangers.push_back(std::make_unique<Stranger>(url_));
    ASSERT_TRUE(strangers.back()->connected());
    if (i % 2 == 0) strangers.back()->say(message_of(1 + i * 37, i).bytes());
    if (i % 20 == 0) {
      EXPECT_TRUE(gets_in(identity)) << i;
    }
  }
  EXPECT_TRUE(gets_in(identity));
  EXPECT_EQ(plain.connections(), 0U);
}

// With nng 1.5 alone the listener then accepts nobody any more.
TEST_F(TlsTest, ConnectionsThatAreResetRightAfterTheirHandshakeDisturbNobody) {
  ours_.write("pi2", Kind::kDevice);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 60; ++i) {
        TlsStranger stranger(url_, {ours_.certificate("pi2"), ours_.key("pi2")});
        EXPECT_TRUE(stranger.shaken());
        stranger.reset_on_end();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(gets_in(must(ours_.read("pi2"))));
}

TEST_F(TlsTest, WhoIsRefusedLosesHisConnectionAndNobodyElseDoes) {
  const auto identity = ours_.identity("pi2", Kind::kDevice);
  std::array<Signal, 2> broken;
  std::vector<PushSocket> pushers;
  for (Signal& signal : broken) {
    PushSocket& push = pushers.emplace_back(must(PushSocket::open()));
    push.on_disconnect([&signal](const std::string&) { signal.raise(); });
    must(push.dial(
        url_, {.reconnect_min = kPatience, .reconnect_max = kPatience, .tls = {identity, Peers::kDevices, "pi1"}}));
  }
  must(pushers[0].send(numbered(1), kPatience));
  pull_->refuse(must(pull_->receive(kPatience)).connection(), "it lies");
  EXPECT_TRUE(broken[0].wait());
  must(pushers[1].send(numbered(2), kPatience));
  EXPECT_EQ(number_of(must(pull_->receive(kPatience))), 2U);
  EXPECT_EQ(broken[1].count(), 0);
}

TEST(TlsIdentity, WhatIsWrongWithAFileIsSaid) {
  const Authorities ours;
  const Authorities theirs;
  ours.write("pi1", Kind::kDevice);
  ours.write("pi2", Kind::kDevice);
  theirs.write("pi1", Kind::kDevice);
  const auto read = [](const std::filesystem::path& certificate, const std::filesystem::path& key,
                       const std::filesystem::path& authorities) {
    return error_of(TlsIdentity::read(certificate, key, authorities));
  };
  EXPECT_EQ(must(ours.read("pi1"))->name(), "pi1");
  const std::string pi1 = ours.certificate("pi1").string();
  EXPECT_EQ(read(pi1, ours.key("pi2"), ours.authorities()), ours.key("pi2").string() + ": not the key of " + pi1);
  EXPECT_EQ(read(pi1, ours.key("pi1"), theirs.authorities()), pi1 + ": none of the authorities has signed it");
  EXPECT_THAT(read(pi1, pi1, ours.authorities()), ::testing::StartsWith(pi1 + ": "));
  EXPECT_THAT(read(pi1, ours.key("pi1"), pi1),
              ::testing::HasSubstr("no certificate of an authority named \"onnx-split "));
  EXPECT_THAT(read("/nowhere.pem", ours.key("pi1"), pi1), ::testing::HasSubstr("/nowhere.pem"));
  must(write_file(ours.certificate("bad"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
  EXPECT_THAT(read(ours.certificate("bad"), ours.key("pi1"), ours.authorities()),
              ::testing::StartsWith(ours.certificate("bad").string() + ": "));
  ours.write("old", Kind::kDevice, std::chrono::days(-2));
  EXPECT_EQ(error_of(ours.read("old")), ours.certificate("old").string() + ": it has expired");
  ::chmod(ours.key("pi1").c_str(), 0644);
  EXPECT_EQ(error_of(ours.read("pi1")), ours.key("pi1").string() + ": others may read this private key; chmod 600 it");
}

TEST(Certificates, NamesThatMakeNoSenseAreRefused) {
  for (const std::string name : {"", "a,CN=boss", "a\nb", "ö"}) EXPECT_FALSE(make_authority(name)) << name;
  EXPECT_FALSE(make_authority(std::string(61, 'a')));
  EXPECT_TRUE(make_authority(std::string(60, 'a')));
  EXPECT_FALSE(make_certificate("pi1", {"no certificate", "no key"}));
}

}  // namespace
}  // namespace onnx_split::transport
