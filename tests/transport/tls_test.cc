// Who gets in over tls+tcp, and who doesn't. The rest of the transport's tests run over it as well.
#include <sys/stat.h>

#include <optional>
#include <thread>

#include "tests/support/certificates.h"
#include "tests/support/log_capture.h"
#include "tests/support/stranger.h"
#include "tests/support/wait.h"
#include "tests/transport/helpers.h"
#include "transport/door.h"

namespace onnx_split::transport {
namespace {

using onnx_split::testing::Authorities;
using onnx_split::testing::comes_true;
using onnx_split::testing::error_of;
using onnx_split::testing::LogCapture;
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
  plain.close();
  strangers.clear();
  std::this_thread::sleep_for(2 * Door::kFailurePeriod);  // the next test of this process comes from the same host
}

// Mbed TLS's own choice, the largest, costs several times as much.
TEST_F(TlsTest, HandshakesAreOverP256WhateverIsOffered) {
  ours_.write("pi2", Kind::kDevice);
  for (const auto curve : {MBEDTLS_ECP_DP_SECP256R1, MBEDTLS_ECP_DP_SECP384R1, MBEDTLS_ECP_DP_SECP521R1}) {
    const std::array curves = {curve, MBEDTLS_ECP_DP_NONE};
    const TlsStranger stranger(url_, {ours_.certificate("pi2"), ours_.key("pi2")}, curves.data());
    EXPECT_EQ(stranger.shaken(), curve == MBEDTLS_ECP_DP_SECP256R1) << mbedtls_ecp_curve_info_from_grp_id(curve)->name;
  }
}

// openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -days 36500 -subj "/CN=onnx-split devices"
constexpr const char* kOfP384 = R"(-----BEGIN CERTIFICATE-----
MIIBzzCCAVSgAwIBAgIUL/ILrCL9j4vTlonHhJ/B2xK0K20wCgYIKoZIzj0EAwIw
HTEbMBkGA1UEAwwSb25ueC1zcGxpdCBkZXZpY2VzMCAXDTI2MTEzMDAzMjAwOFoY
DzIxMjYxMTA2MDMyMDA4WjAdMRswGQYDVQQDDBJvbm54LXNwbGl0IGRldmljZXMw
djAQBgcqhkjOPQIBBgUrgQQAIgNiAATr2Hh+srXCPCsrdvjE/JicSSHpbUhEccFs
4mC8/gQzUkRwLORC5X2ki6p54X4kd8sxdS9ADALDbePTgmv3te/AKh7lGDsBlQu9
Ex9XETux6TEyWmfVDGN1ya611A2ZZUijUzBRMB0GA1UdDgQWBBQcfkx6LlgYdswH
Gx19V1KRv+UPnTAfBgNVHSMEGDAWgBQcfkx6LlgYdswHGx19V1KRv+UPnTAPBgNV
HRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA2kAMGYCMQCblABgGdRKn1xWrfeHQMQh
OcvHfCJb6ASCcj8cKNqSW0nL+2QbO+JHfbBxqfuyB3gCMQDZNd3i+XTTk0goDW8W
wG8JzSDaNnrx1TwTXzjKHzn/lX+xckXctzJKSyablFxdLl0=
-----END CERTIFICATE-----
)";

// The signatures of whatever comes with a certificate would be checked before it is known whether it can be trusted.
TEST_F(TlsTest, CertificatesThatCostMoreThanOursAreNotLookedAt) {
  const LogCapture log;
  const std::uint64_t before = Door::of_this_process().refused();
  ours_.write("pi2", Kind::kDevice);
  theirs_.write("mole", Kind::kDevice);
  const auto gets_in_with = [&](const Authorities& whose, const std::string& name, const std::string& more) {
    const std::filesystem::path chain = ours_.certificate("chain");
    must(write_file(chain, must(read_file(whose.certificate(name), 1 << 16)) + more));
    return TlsStranger(url_, {chain, whose.key(name)}).shaken();
  };
  const std::string two = must(read_file(ours_.authorities(), 1 << 16));
  EXPECT_TRUE(gets_in_with(ours_, "pi2", two));
  EXPECT_FALSE(gets_in_with(theirs_, "mole", two));
  EXPECT_TRUE(log.wait_for("no authority that may open this port has signed its certificate"));
  EXPECT_FALSE(gets_in_with(theirs_, "mole", two + two));
  const std::string reason = "it shows other keys than P-256, or too many certificates";
  EXPECT_TRUE(log.wait_for(reason)) << ::testing::PrintToString(log.lines());
  EXPECT_FALSE(gets_in_with(ours_, "pi2", kOfP384));
  EXPECT_TRUE(comes_true([&] { return Door::of_this_process().refused() >= before + 3; }, kPatience))
      << Door::of_this_process().refused() - before << ::testing::PrintToString(log.lines());
  EXPECT_EQ(log.count(reason), 1U);
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

// PEM.
std::string key_of(mbedtls_ecp_group_id curve) {
  OwnedEntropy entropy;
  OwnedRandom random;
  OwnedKey key;
  std::array<unsigned char, 1024> pem{};
  EXPECT_EQ(mbedtls_ctr_drbg_seed(random.get(), mbedtls_entropy_func, entropy.get(), nullptr, 0), 0);
  EXPECT_EQ(mbedtls_pk_setup(key.get(), mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY)), 0);
  EXPECT_EQ(mbedtls_ecp_gen_key(curve, mbedtls_pk_ec(*key.get()), mbedtls_ctr_drbg_random, random.get()), 0);
  EXPECT_EQ(mbedtls_pk_write_key_pem(key.get(), pem.data(), pem.size()), 0);
  return reinterpret_cast<const char*>(pem.data());
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
  must(write_private_file(ours.key("other"), key_of(MBEDTLS_ECP_DP_SECP384R1)));
  EXPECT_EQ(read(pi1, ours.key("other"), ours.authorities()), ours.key("other").string() + ": expected a key of P-256");
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
