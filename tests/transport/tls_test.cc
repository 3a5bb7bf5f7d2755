// Who gets in over tls+tcp, and who doesn't. The rest of the transport's tests run over it as well.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>

#include "tests/support/certificates.h"
#include "tests/transport/helpers.h"

namespace onnx_split::transport {
namespace {

using onnx_split::testing::Authorities;
using onnx_split::testing::error_of;
using Kind = Authorities::Kind;

class TlsTest : public ::testing::Test {
 protected:
  static constexpr const char* kUrl = "tls+tcp://127.0.0.1:0";

  void SetUp() override {
    pull_ = must(PullSocket::open());
    url_ = must(pull_->listen(kUrl, 100, {ours_.identity("pi1", Kind::kDevice), Peers::kDevices, ""}));
  }

  // Whether somebody with this identity gets a message through, who expects to find `name` there.
  bool gets_in(std::shared_ptr<const TlsIdentity> identity, const std::string& name = "pi1") {
    PushSocket push = must(PushSocket::open());
    const auto dialled =
        push.dial(url_, {.connect_timeout = milliseconds(300), .tls = {std::move(identity), Peers::kDevices, name}});
    if (!dialled) return false;
    must(push.send(numbered(7), kPatience));
    return number_of(must(pull_->receive(kPatience))) == 7;
  }

  Authorities ours_;
  Authorities theirs_;
  std::optional<PullSocket> pull_;
  std::string url_;
};

TEST_F(TlsTest, OnlyWhomTheListenersAuthorityHasSignedGetsIn) {
  EXPECT_TRUE(gets_in(ours_.identity("pi2", Kind::kDevice)));
  EXPECT_FALSE(gets_in(ours_.identity("boss", Kind::kCoordinator)));
  EXPECT_FALSE(gets_in(theirs_.identity("pi2", Kind::kDevice)));
  EXPECT_TRUE(gets_in(ours_.identity("pi3", Kind::kDevice)));
}

TEST_F(TlsTest, ADevicesCertificateDoesntOpenACoordinatorsPort) {
  PullSocket control = must(PullSocket::open());
  url_ = must(control.listen(kUrl, 100, {ours_.identity("pi1", Kind::kDevice), Peers::kCoordinators, ""}));
  pull_ = std::move(control);
  EXPECT_FALSE(gets_in(ours_.identity("pi2", Kind::kDevice)));
  EXPECT_TRUE(gets_in(ours_.identity("boss", Kind::kCoordinator)));
}

TEST_F(TlsTest, TheDiallingSideChecksTheName) {
  const auto identity = ours_.identity("pi2", Kind::kDevice);
  EXPECT_FALSE(gets_in(identity, "pi9"));
  EXPECT_TRUE(gets_in(identity, "pi1"));
  PushSocket push = must(PushSocket::open());
  EXPECT_EQ(error_of(push.dial(url_, {.tls = {identity, Peers::kDevices, ""}})),
            url_ + ": expects the name of its owner");
  EXPECT_EQ(error_of(push.dial(url_, {})), url_ + ": expects a certificate, a key and authorities");
}

// Plain bytes from somebody who doesn't know what this port is.
class Stranger {
 public:
  explicit Stranger(const std::string& url) {
    descriptor_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(must(parse_url(url)).port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  ~Stranger() { ::close(descriptor_); }
  Stranger(const Stranger&) = delete;
  Stranger& operator=(const Stranger&) = delete;
  bool connected() const { return connected_; }
  void say(std::size_t bytes, std::uint64_t seed) const {
    Message message = message_of(bytes, seed);
    // It may be cut off meanwhile.
    EXPECT_NE(::send(descriptor_, message.bytes().data(), bytes, MSG_NOSIGNAL), 0);
  }

 private:
  int descriptor_ = -1;
  bool connected_ = false;
};

TEST_F(TlsTest, PlainTcpScannersAndSilentOnesDisturbNobody) {
  const auto identity = ours_.identity("pi2", Kind::kDevice);
  PushSocket plain = must(PushSocket::open());
  must(plain.dial("tcp" + url_.substr(url_.find(':')), {.connect_timeout = milliseconds(0)}));
  std::vector<std::unique_ptr<Stranger>> strangers;
  for (std::uint64_t i = 0; i < 60; ++i) {
    strangers.push_back(std::make_unique<Stranger>(url_));
    ASSERT_TRUE(strangers.back()->connected());
    if (i % 2 == 0) strangers.back()->say(1 + i * 37, i);
    if (i % 20 == 0) {
      EXPECT_TRUE(gets_in(identity)) << i;
    }
  }
  EXPECT_TRUE(gets_in(identity));
  EXPECT_EQ(plain.connections(), 0U);
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
