// What a peer may ask of a TLS handshake: computing on P-256 and no more, before it is known who it is. nng 1.5 sets
// nothing of this, and Mbed TLS 2.28 computes whatever a stranger makes up: a key agreement on the largest curve that
// both know, and signatures by keys that came with the signature, which may be RSA keys of 8192 bits with an exponent
// as long, each of which takes 0.4 s even on a fast machine.
#include <dlfcn.h>
#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>

#include <array>

#include "transport/mbedtls.h"

namespace onnx_split::transport {
namespace {

// A device's and its authority's; one more for an authority's authority.
constexpr std::size_t kMostCertificates = 3;

bool asks_too_much(const mbedtls_x509_crt& chain) {
  std::size_t count = 0;
  for (const mbedtls_x509_crt* one = &chain; one != nullptr; one = one->next) {
    if (++count > kMostCertificates || !is_of_p256(one->pk)) return true;
  }
  return false;
}

}  // namespace
}  // namespace onnx_split::transport

extern "C" {

// Where nng makes what its handshakes have in common; by the linker, as in nng_repair.cc.
int __real_mbedtls_ssl_config_defaults(mbedtls_ssl_config* config, int endpoint, int transport, int preset);
int __wrap_mbedtls_ssl_config_defaults(mbedtls_ssl_config* config, int endpoint, int transport, int preset);
int __wrap_mbedtls_ssl_config_defaults(mbedtls_ssl_config* config, int endpoint, int transport, int preset) {
  static constexpr std::array kCurves = {MBEDTLS_ECP_DP_SECP256R1, MBEDTLS_ECP_DP_NONE};
  const int result = __real_mbedtls_ssl_config_defaults(config, endpoint, transport, preset);
  if (result == 0) mbedtls_ssl_conf_curves(config, kCurves.data());
  return result;
}

// Where Mbed TLS's handshake looks at the certificates that have come: a shared library's call of another one's
// function, which finds a program's own first.
int mbedtls_x509_crt_verify_restartable(mbedtls_x509_crt* chain, mbedtls_x509_crt* authorities,
                                        mbedtls_x509_crl* revoked, const mbedtls_x509_crt_profile* profile,
                                        const char* name, std::uint32_t* flags,
                                        int (*check)(void*, mbedtls_x509_crt*, int, std::uint32_t*), void* argument,
                                        mbedtls_x509_crt_restart_ctx* restart) {
  static const auto next = reinterpret_cast<decltype(&mbedtls_x509_crt_verify_restartable)>(
      ::dlsym(RTLD_NEXT, "mbedtls_x509_crt_verify_restartable"));
  if (next == nullptr) return MBEDTLS_ERR_X509_FATAL_ERROR;  // Mbed TLS isn't a shared library: nobody gets in
  if (onnx_split::transport::asks_too_much(*chain)) {
    *flags = MBEDTLS_X509_BADCERT_BAD_KEY;
    return MBEDTLS_ERR_X509_CERT_VERIFY_FAILED;
  }
  return next(chain, authorities, revoked, profile, name, flags, check, argument, restart);
}
}
