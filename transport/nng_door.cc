// Tells the door (transport/door.h) what nng 1.5 does with connections that it has accepted. nng has no callback for a
// connection that isn't negotiated yet; so the linker puts these functions in the place of nng's own (see
// CMakeLists.txt), as in nng_repair.cc. Later versions of nng do without: nobody is watched there.
#include <mbedtls/ssl.h>
#include <mbedtls/x509.h>
#include <nng/nng.h>

#include "transport/door.h"
#include "transport/mbedtls.h"

namespace onnx_split::transport {
namespace {

// Of the handshake that has just failed on this thread; nng closes its connection before anything else.
thread_local std::string why_handshake_failed;

std::string why_not(int code, const mbedtls_ssl_context* ssl) {
  if (code == MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE) return "it has no certificate";
  if (code == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED || code == MBEDTLS_ERR_SSL_PEER_VERIFY_FAILED) {
    const std::uint32_t flags = mbedtls_ssl_get_verify_result(ssl);
    if ((flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) != 0) {
      return "no authority that may open this port has signed its certificate";
    }
    if ((flags & MBEDTLS_X509_BADCERT_EXPIRED) != 0) return "its certificate has expired";
    if ((flags & MBEDTLS_X509_BADCERT_FUTURE) != 0) return "its certificate isn't valid yet";
    if ((flags & MBEDTLS_X509_BADCERT_BAD_KEY) != 0) return "it shows other keys than P-256, or too many certificates";
    return fmt::format("its certificate can't be trusted (flags {:x})", flags);
  }
  if (code == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE) return "it didn't accept this device's certificate";
  return mbedtls_error(code, "it doesn't speak TLS as we do").message;
}

}  // namespace
}  // namespace onnx_split::transport

using onnx_split::transport::Door;
using onnx_split::transport::peer_of;
using onnx_split::transport::why_handshake_failed;

extern "C" {

struct nni_posix_pfd;
struct nni_pipe;

int nni_posix_pfd_fd(nni_posix_pfd* watched);
std::uint32_t nni_pipe_id(nni_pipe* pipe);

// A descriptor that the poller shall watch. Those that are connected already were accepted: a listening one never is,
// and one that dials is watched before it connects.
int __real_nni_posix_pfd_init(nni_posix_pfd** watched, int descriptor);
int __wrap_nni_posix_pfd_init(nni_posix_pfd** watched, int descriptor);
int __wrap_nni_posix_pfd_init(nni_posix_pfd** watched, int descriptor) {
  auto peer = peer_of(descriptor);
  if (!peer) return __real_nni_posix_pfd_init(watched, descriptor);
  // The listener goes on after this error without a pause.
  if (!Door::of_this_process().knocks(descriptor, std::move(*peer))) return NNG_ECONNABORTED;
  const int result = __real_nni_posix_pfd_init(watched, descriptor);
  if (result != 0) Door::of_this_process().leaves(descriptor);
  return result;
}

void __real_nni_posix_pfd_close(nni_posix_pfd* watched);
void __wrap_nni_posix_pfd_close(nni_posix_pfd* watched);
void __wrap_nni_posix_pfd_close(nni_posix_pfd* watched) {
  if (!why_handshake_failed.empty()) {
    Door::of_this_process().fails(nni_posix_pfd_fd(watched), std::exchange(why_handshake_failed, {}));
  }
  __real_nni_posix_pfd_close(watched);
}

void __real_nni_posix_pfd_fini(nni_posix_pfd* watched);
void __wrap_nni_posix_pfd_fini(nni_posix_pfd* watched);
void __wrap_nni_posix_pfd_fini(nni_posix_pfd* watched) {
  Door::of_this_process().leaves(nni_posix_pfd_fd(watched));
  __real_nni_posix_pfd_fini(watched);
}

// Called where a connection that was negotiated breaks.
void __real_nni_pipe_bump_error(nni_pipe* pipe, int nng_code);
void __wrap_nni_pipe_bump_error(nni_pipe* pipe, int nng_code);
void __wrap_nni_pipe_bump_error(nni_pipe* pipe, int nng_code) {
  if (nng_code == NNG_EMSGSIZE) {
    Door::of_this_process().is_sent_away(static_cast<int>(nni_pipe_id(pipe)),
                                         "it announced a message over the size limit");
  }
  __real_nni_pipe_bump_error(pipe, nng_code);
}

int __real_mbedtls_ssl_handshake(mbedtls_ssl_context* ssl);
int __wrap_mbedtls_ssl_handshake(mbedtls_ssl_context* ssl);
int __wrap_mbedtls_ssl_handshake(mbedtls_ssl_context* ssl) {
  const int code = __real_mbedtls_ssl_handshake(ssl);
  const bool goes_on = code == 0 || code == MBEDTLS_ERR_SSL_WANT_READ || code == MBEDTLS_ERR_SSL_WANT_WRITE;
  why_handshake_failed = goes_on ? std::string() : onnx_split::transport::why_not(code, ssl);
  return code;
}
}
