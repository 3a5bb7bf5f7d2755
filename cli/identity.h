// The coordinator's certificate, for clusters whose runners are at tls+tcp://.
#pragma once

#include <CLI/App.hpp>
#include <memory>
#include <string>

#include "partition/cluster.h"
#include "transport/tls.h"

namespace onnx_split {

// The files of a folder that `certs` writes.
inline constexpr const char* kCertificateFile = "cert.pem";
inline constexpr const char* kKeyFile = "key.pem";
inline constexpr const char* kAuthoritiesFile = "ca.pem";

struct IdentityOptions {
  std::string folder = "certs/coordinator";
};

void add_identity_options(CLI::App& command, IdentityOptions& options);

// Nothing for a cluster without tls+tcp://.
Expected<std::shared_ptr<const transport::TlsIdentity>> identity_for(const Cluster& cluster,
                                                                     const IdentityOptions& options);

}  // namespace onnx_split
