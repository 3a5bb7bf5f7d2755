// Somebody who connects to a port of this machine and doesn't know, or doesn't keep to, what it is for: plain bytes,
// or bytes over TLS with any certificate, or none.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <mbedtls/ecp.h>
#include <mbedtls/net_sockets.h>  // error numbers
#include <mbedtls/ssl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "tests/support/expect.h"
#include "transport/mbedtls.h"
#include "transport/url.h"

namespace onnx_split::testing {

// Connected as long as it lives.
class Stranger {
 public:
  explicit Stranger(const std::string& url) : descriptor_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(testing::must(transport::parse_url(url)).port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  ~Stranger() { ::close(descriptor_); }
  Stranger(const Stranger&) = delete;
  Stranger& operator=(const Stranger&) = delete;

  int descriptor() const { return descriptor_; }
  bool connected() const { return connected_; }
  // It may be cut off meanwhile.
  void say(std::span<const std::byte> bytes) const { ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  // The connection will be reset, not closed in order.
  void reset_on_end() const {
    const linger at_once{1, 0};
    ::setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  }
  // Whether the other end has hung up, or does so in time.
  bool is_cut_off(int timeout_ms) const {
    pollfd waits{descriptor_, POLLIN, 0};
    std::array<char, 256> bytes{};
    while (::poll(&waits, 1, timeout_ms) > 0) {
      if (::recv(descriptor_, bytes.data(), bytes.size(), 0) <= 0) return true;
    }
    return false;
  }

 private:
  int descriptor_ = -1;
  bool connected_ = false;
};

// PEM files; none: without a certificate.
struct StrangerCertificate {
  std::filesystem::path certificate;
  std::filesystem::path key;
};

// Takes whatever certificate the other end shows.
class TlsStranger {
 public:
  // Offers all curves that there are for the handshake, and goes on if the other end has chosen one of these, up to
  // MBEDTLS_ECP_DP_NONE.
  TlsStranger(const std::string& url, const StrangerCertificate& own,
              const mbedtls_ecp_group_id* curves = mbedtls_ecp_grp_id_list())
      : stranger_(url) {
    mbedtls_ssl_config_init(&config_);
    mbedtls_ssl_init(&ssl_);
    mbedtls_ctr_drbg_seed(random_.get(), mbedtls_entropy_func, entropy_.get(), nullptr, 0);
    mbedtls_ssl_config_defaults(&config_, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                MBEDTLS_SSL_PRESET_DEFAULT);
    mbedtls_ssl_conf_curves(&config_, mbedtls_ecp_grp_id_list());
    mbedtls_ssl_conf_authmode(&config_, MBEDTLS_SSL_VERIFY_NONE);
    mbedtls_ssl_conf_rng(&config_, mbedtls_ctr_drbg_random, random_.get());
    if (!own.certificate.empty()) {
      mbedtls_x509_crt_parse_file(certificate_.get(), own.certificate.c_str());
      mbedtls_pk_parse_keyfile(key_.get(), own.key.c_str(), nullptr);
      mbedtls_ssl_conf_own_cert(&config_, certificate_.get(), key_.get());
    }
    mbedtls_ssl_setup(&ssl_, &config_);
    mbedtls_ssl_set_bio(&ssl_, &stranger_, send, receive, nullptr);
    while (ssl_.state < MBEDTLS_SSL_SERVER_HELLO && mbedtls_ssl_handshake_step(&ssl_) == 0) {
    }
    mbedtls_ssl_conf_curves(&config_, curves);
    shaken_ = mbedtls_ssl_handshake(&ssl_) == 0;
  }
  ~TlsStranger() {
    mbedtls_ssl_free(&ssl_);
    mbedtls_ssl_config_free(&config_);
  }
  TlsStranger(const TlsStranger&) = delete;
  TlsStranger& operator=(const TlsStranger&) = delete;

  // Whether the handshake went well on both sides.
  bool shaken() const { return shaken_; }
  void say(std::span<const unsigned char> bytes) {
    while (shaken_ && !bytes.empty()) {
      const int written = mbedtls_ssl_write(&ssl_, bytes.data(), bytes.size());
      if (written <= 0) return;  // it is cut off
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }
  bool is_cut_off(int timeout_ms) const { return stranger_.is_cut_off(timeout_ms); }
  void reset_on_end() const { stranger_.reset_on_end(); }

 private:
  // Mbed TLS's own raise SIGPIPE.
  static int send(void* stranger, const unsigned char* bytes, std::size_t size) {
    const auto sent = ::send(static_cast<Stranger*>(stranger)->descriptor(), bytes, size, MSG_NOSIGNAL);
    return sent < 0 ? MBEDTLS_ERR_NET_SEND_FAILED : static_cast<int>(sent);
  }
  static int receive(void* stranger, unsigned char* bytes, std::size_t size) {
    const auto received = ::recv(static_cast<Stranger*>(stranger)->descriptor(), bytes, size, 0);
    return received < 0 ? MBEDTLS_ERR_NET_RECV_FAILED : static_cast<int>(received);
  }

  Stranger stranger_;
  transport::OwnedEntropy entropy_;
  transport::OwnedRandom random_;
  transport::OwnedCertificate certificate_;
  transport::OwnedKey key_;
  mbedtls_ssl_config config_{};
  mbedtls_ssl_context ssl_{};
  bool shaken_ = false;
};

}  // namespace onnx_split::testing
