#include "transport/tls.h"

#include <mbedtls/pem.h>
#include <sys/stat.h>

#include <array>

#include "base/file.h"
#include "transport/mbedtls.h"

namespace onnx_split::transport {
namespace {

constexpr std::uint64_t kMaxPemBytes = 1 << 20;

const unsigned char* bytes_of(const std::string& pem) { return reinterpret_cast<const unsigned char*>(pem.c_str()); }

Expected<void> check_private(const std::filesystem::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    return fail(ErrorCode::kIo, "{}: {}", path.string(), errno_message(errno));
  }
  if ((status.st_mode & (S_IRWXG | S_IRWXO)) == 0) return {};
  return fail(ErrorCode::kInvalid, "{}: others may read this private key; chmod 600 it", path.string());
}

Expected<std::string> pem_of(const mbedtls_x509_crt& certificate) {
  constexpr std::string_view kBegin = "-----BEGIN CERTIFICATE-----\n", kEnd = "-----END CERTIFICATE-----\n";
  std::array<unsigned char, 16384> pem{};
  std::size_t length = 0;
  const int code = mbedtls_pem_write_buffer(kBegin.data(), kEnd.data(), certificate.raw.p, certificate.raw.len,
                                            pem.data(), pem.size(), &length);
  if (code != 0) return tl::unexpected(mbedtls_error(code, "writing a certificate"));
  return std::string(reinterpret_cast<const char*>(pem.data()));
}

std::string why_not(std::uint32_t flags) {
  if ((flags & MBEDTLS_X509_BADCERT_EXPIRED) != 0) return "it has expired";
  if ((flags & MBEDTLS_X509_BADCERT_FUTURE) != 0) return "it isn't valid yet; is this machine's clock right?";
  if ((flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) != 0) return "none of the authorities has signed it";
  return fmt::format("it can't be trusted (flags {:x})", flags);
}

}  // namespace

const std::string& TlsIdentity::authorities(Peers peers) const {
  return peers == Peers::kCoordinators ? coordinators_ : peers == Peers::kDevices ? devices_ : all_;
}

Expected<std::shared_ptr<const TlsIdentity>> TlsIdentity::read(const std::filesystem::path& certificate,
                                                               const std::filesystem::path& key,
                                                               const std::filesystem::path& authorities) {
  std::shared_ptr<TlsIdentity> identity(new TlsIdentity());
  TRY_ASSIGN(identity->certificate_, read_file(certificate, kMaxPemBytes));
  TRY_ASSIGN(identity->key_, read_file(key, kMaxPemBytes));
  TRY(check_private(key));
  TRY_ASSIGN(const std::string pem, read_file(authorities, kMaxPemBytes));

  OwnedCertificate own;
  OwnedKey own_key;
  OwnedCertificate chain;
  if (const int code =
          mbedtls_x509_crt_parse(own.get(), bytes_of(identity->certificate_), identity->certificate_.size() + 1);
      code != 0) {
    return tl::unexpected(mbedtls_error(code, certificate.string()));
  }
  if (const int code =
          mbedtls_pk_parse_key(own_key.get(), bytes_of(identity->key_), identity->key_.size() + 1, nullptr, 0);
      code != 0) {
    return tl::unexpected(mbedtls_error(code, key.string()));
  }
  if (!is_of_p256(*own_key.get())) return fail(ErrorCode::kInvalid, "{}: expected a key of P-256", key.string());
  if (const int code = mbedtls_x509_crt_parse(chain.get(), bytes_of(pem), pem.size() + 1); code != 0) {
    return tl::unexpected(mbedtls_error(code, authorities.string()));
  }
  if (mbedtls_pk_check_pair(&own->pk, own_key.get()) != 0) {
    return fail(ErrorCode::kInvalid, "{}: not the key of {}", key.string(), certificate.string());
  }
  for (const mbedtls_x509_crt* one = chain.get(); one != nullptr; one = one->next) {
    const std::string name = common_name(*one);
    TRY_ASSIGN(const std::string text, pem_of(*one));
    if (name == kCoordinatorAuthority) identity->coordinators_ += text;
    if (name == kDeviceAuthority) identity->devices_ += text;
  }
  for (const auto& [text, name] :
       {std::pair{&identity->coordinators_, kCoordinatorAuthority}, std::pair{&identity->devices_, kDeviceAuthority}}) {
    if (text->empty()) {
      return fail(ErrorCode::kInvalid, "{}: no certificate of an authority named \"{}\"", authorities.string(), name);
    }
  }
  identity->all_ = identity->coordinators_ + identity->devices_;
  std::uint32_t flags = 0;
  if (mbedtls_x509_crt_verify(own.get(), chain.get(), nullptr, nullptr, &flags, nullptr, nullptr) != 0) {
    return fail(ErrorCode::kInvalid, "{}: {}", certificate.string(), why_not(flags));
  }
  identity->name_ = common_name(*own.get());
  return identity;
}

}  // namespace onnx_split::transport
