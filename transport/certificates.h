// Makes the certificates of transport/tls.h: elliptic-curve keys (P-256) and X.509 certificates, signed with SHA-256.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/error.h"

namespace onnx_split::transport {

// PEM.
struct Certificate {
  std::string certificate;
  std::string key;
};

inline constexpr std::chrono::days kCertificateLife{3650};

// Valid from a day ago, for clocks that differ, for `life` from now (a negative one has expired). `name`: 1 to 60
// letters, digits, blanks, dots, dashes and underscores; kInvalid otherwise.
Expected<Certificate> make_authority(std::string_view name, std::chrono::days life = kCertificateLife);
Expected<Certificate> make_certificate(std::string_view name, const Certificate& authority,
                                       std::chrono::days life = kCertificateLife);

}  // namespace onnx_split::transport
