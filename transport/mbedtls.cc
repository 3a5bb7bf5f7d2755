#include "transport/mbedtls.h"

#include <mbedtls/error.h>
#include <mbedtls/oid.h>

#include <array>

namespace onnx_split::transport {

Error mbedtls_error(int code, std::string_view context) {
  std::array<char, 160> text{};
  mbedtls_strerror(code, text.data(), text.size());
  return {ErrorCode::kInvalid, fmt::format("{}: {}", context, text.data())};
}

bool is_of_p256(const mbedtls_pk_context& key) {
  return mbedtls_pk_get_type(&key) == MBEDTLS_PK_ECKEY && mbedtls_pk_ec(key)->grp.id == MBEDTLS_ECP_DP_SECP256R1;
}

std::string common_name(const mbedtls_x509_crt& certificate) {
  for (const mbedtls_x509_name* field = &certificate.subject; field != nullptr; field = field->next) {
    if (MBEDTLS_OID_CMP(MBEDTLS_OID_AT_CN, &field->oid) != 0) continue;
    return {reinterpret_cast<const char*>(field->val.p), field->val.len};
  }
  return {};
}

}  // namespace onnx_split::transport
