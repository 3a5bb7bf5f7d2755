#include "cli/identity.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>

#include "transport/url.h"

namespace onnx_split {

void add_identity_options(CLI::App& command, IdentityOptions& options) {
  command
      .add_option("--certs", options.folder,
                  "folder with the coordinator's cert.pem, key.pem and ca.pem, for runners at tls+tcp://")
      ->type_name("DIR")
      ->capture_default_str();
}

Expected<std::shared_ptr<const transport::TlsIdentity>> identity_for(const Cluster& cluster,
                                                                     const IdentityOptions& options) {
  const bool wanted = std::any_of(cluster.devices.begin(), cluster.devices.end(), [](const Device& device) {
    const auto url = transport::parse_url(device.address);
    return url && url->scheme == transport::Scheme::kTlsTcp;
  });
  if (!wanted) return nullptr;
  const std::filesystem::path folder = options.folder;
  return transport::TlsIdentity::read(folder / kCertificateFile, folder / kKeyFile, folder / kAuthoritiesFile);
}

}  // namespace onnx_split
