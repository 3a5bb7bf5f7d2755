#include "transport/certificates.h"

#include <algorithm>
#include <array>
#include <ctime>

#include "transport/mbedtls.h"

namespace onnx_split::transport {
namespace {

constexpr std::size_t kMaxPemBytes = 4096;
constexpr std::size_t kSerialBytes = 16;
constexpr std::chrono::days kClocksDiffer{1};
constexpr std::size_t kMaxName = 60;

using OwnedRequest = Owned<mbedtls_x509write_cert, mbedtls_x509write_crt_init, mbedtls_x509write_crt_free>;
using OwnedNumber = Owned<mbedtls_mpi, mbedtls_mpi_init, mbedtls_mpi_free>;

// Mbed TLS's functions one after the other, until one fails.
#define TRY_MBEDTLS(expression)                                                          \
  do {                                                                                   \
    const int code_ = (expression);                                                      \
    if (code_ != 0) return tl::unexpected(mbedtls_error(code_, "making a certificate")); \
  } while (false)

Expected<void> check_name(std::string_view name) {
  const bool good = !name.empty() && name.size() <= kMaxName && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == ' ' || c == '.' ||
           c == '-' || c == '_';
  });
  if (good) return {};
  return fail(ErrorCode::kInvalid,
              "\"{}\": expected a name of 1 to {} letters, digits, blanks, dots, dashes and "
              "underscores",
              name, kMaxName);
}

// As X.509 writes it: 20261127120000.
std::string utc(std::chrono::system_clock::time_point time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 16> text{};
  std::strftime(text.data(), text.size(), "%Y%m%d%H%M%S", &parts);
  return text.data();
}

class Maker {
 public:
  Expected<void> seed() {
    TRY_MBEDTLS(mbedtls_ctr_drbg_seed(random_.get(), mbedtls_entropy_func, entropy_.get(), nullptr, 0));
    return {};
  }

  Expected<void> make_key(mbedtls_pk_context* key) {
    TRY_MBEDTLS(mbedtls_pk_setup(key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY)));
    TRY_MBEDTLS(
        mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(*key), mbedtls_ctr_drbg_random, random_.get()));
    return {};
  }

  // An authority signs itself, with the key of its own.
  Expected<Certificate> make(std::string_view name, mbedtls_pk_context* key, std::string_view issuer,
                             mbedtls_pk_context* issuer_key, bool is_authority, std::chrono::days life) {
    OwnedRequest request;
    OwnedNumber serial;
    const std::string subject_name = fmt::format("CN={}", name);
    const std::string issuer_name = fmt::format("CN={}", issuer);
    const auto now = std::chrono::system_clock::now();
    const std::string begin = utc(std::min(now, now + life) - kClocksDiffer);
    const std::string end = utc(now + life);
    TRY_MBEDTLS(mbedtls_mpi_fill_random(serial.get(), kSerialBytes - 1, mbedtls_ctr_drbg_random, random_.get()));
    mbedtls_x509write_crt_set_version(request.get(), MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(request.get(), MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(request.get(), key);
    mbedtls_x509write_crt_set_issuer_key(request.get(), issuer_key);
    TRY_MBEDTLS(mbedtls_x509write_crt_set_subject_name(request.get(), subject_name.c_str()));
    TRY_MBEDTLS(mbedtls_x509write_crt_set_issuer_name(request.get(), issuer_name.c_str()));
    TRY_MBEDTLS(mbedtls_x509write_crt_set_serial(request.get(), serial.get()));
    TRY_MBEDTLS(mbedtls_x509write_crt_set_validity(request.get(), begin.c_str(), end.c_str()));
    TRY_MBEDTLS(
        mbedtls_x509write_crt_set_basic_constraints(request.get(), is_authority ? 1 : 0, is_authority ? 0 : -1));
    TRY_MBEDTLS(mbedtls_x509write_crt_set_key_usage(
        request.get(), is_authority ? MBEDTLS_X509_KU_KEY_CERT_SIGN | MBEDTLS_X509_KU_CRL_SIGN
                                    : MBEDTLS_X509_KU_DIGITAL_SIGNATURE | MBEDTLS_X509_KU_KEY_AGREEMENT));
    std::array<unsigned char, kMaxPemBytes> pem{};
    TRY_MBEDTLS(
        mbedtls_x509write_crt_pem(request.get(), pem.data(), pem.size(), mbedtls_ctr_drbg_random, random_.get()));
    Certificate made;
    made.certificate = reinterpret_cast<const char*>(pem.data());
    pem.fill(0);
    TRY_MBEDTLS(mbedtls_pk_write_key_pem(key, pem.data(), pem.size()));
    made.key = reinterpret_cast<const char*>(pem.data());
    return made;
  }

 private:
  OwnedEntropy entropy_;
  OwnedRandom random_;
};

}  // namespace

Expected<Certificate> make_authority(std::string_view name, std::chrono::days life) {
  TRY(check_name(name));
  Maker maker;
  OwnedKey key;
  TRY(maker.seed());
  TRY(maker.make_key(key.get()));
  return maker.make(name, key.get(), name, key.get(), true, life);
}

Expected<Certificate> make_certificate(std::string_view name, const Certificate& authority, std::chrono::days life) {
  TRY(check_name(name));
  Maker maker;
  OwnedKey key;
  OwnedKey issuer_key;
  OwnedCertificate issuer;
  TRY(maker.seed());
  TRY_MBEDTLS(mbedtls_x509_crt_parse(issuer.get(),
                                     reinterpret_cast<const unsigned char*>(authority.certificate.c_str()),
                                     authority.certificate.size() + 1));
  TRY_MBEDTLS(mbedtls_pk_parse_key(issuer_key.get(), reinterpret_cast<const unsigned char*>(authority.key.c_str()),
                                   authority.key.size() + 1, nullptr, 0));
  TRY(maker.make_key(key.get()));
  return maker.make(name, key.get(), common_name(*issuer.get()), issuer_key.get(), false, life);
}

}  // namespace onnx_split::transport
