// Of this room only: Mbed TLS's objects with destructors, and its error numbers in words.
#pragma once

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/pk.h>
#include <mbedtls/x509_crt.h>

#include <string_view>

#include "base/error.h"

namespace onnx_split::transport {

// A struct of Mbed TLS's that is initialised and freed by these functions.
template <class T, void (*init)(T*), void (*release)(T*)>
class Owned {
 public:
  Owned() { init(&value_); }
  ~Owned() { release(&value_); }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  T* get() { return &value_; }
  T* operator->() { return &value_; }

 private:
  T value_;
};

using OwnedKey = Owned<mbedtls_pk_context, mbedtls_pk_init, mbedtls_pk_free>;
using OwnedCertificate = Owned<mbedtls_x509_crt, mbedtls_x509_crt_init, mbedtls_x509_crt_free>;
using OwnedEntropy = Owned<mbedtls_entropy_context, mbedtls_entropy_init, mbedtls_entropy_free>;
using OwnedRandom = Owned<mbedtls_ctr_drbg_context, mbedtls_ctr_drbg_init, mbedtls_ctr_drbg_free>;

// "pi1.pem: PK - Invalid key tag or value". `code` isn't 0.
Error mbedtls_error(int code, std::string_view context);

// Peers refuse certificates of other keys (nng_handshake.cc).
bool is_of_p256(const mbedtls_pk_context& key);

// The name (CN) of a certificate's subject.
std::string common_name(const mbedtls_x509_crt& certificate);

}  // namespace onnx_split::transport
