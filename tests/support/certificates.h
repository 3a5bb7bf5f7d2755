// Authorities and the certificates that they sign, in files of a temporary folder.
#pragma once

#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include "base/file.h"
#include "tests/support/expect.h"
#include "transport/certificates.h"
#include "transport/tls.h"

namespace onnx_split::testing {

class Authorities {
 public:
  Authorities()
      : folder_(must(TemporaryDirectory::create("certificates"))),
        coordinators_(must(transport::make_authority(transport::kCoordinatorAuthority))),
        devices_(must(transport::make_authority(transport::kDeviceAuthority))) {
    must(write_file(folder_.path() / "ca.pem", coordinators_.certificate + devices_.certificate));
  }

  enum class Kind { kCoordinator, kDevice };

  // The files NAME.pem and NAME.key, and ca.pem.
  void write(const std::string& name, Kind kind, std::chrono::days life = transport::kCertificateLife) const {
    const auto made = must(transport::make_certificate(name, kind == Kind::kDevice ? devices_ : coordinators_, life));
    must(write_file(certificate(name), made.certificate));
    must(write_private_file(key(name), made.key));
  }
  Expected<std::shared_ptr<const transport::TlsIdentity>> read(const std::string& name) const {
    return transport::TlsIdentity::read(certificate(name), key(name), authorities());
  }
  std::shared_ptr<const transport::TlsIdentity> identity(const std::string& name, Kind kind) const {
    write(name, kind);
    return must(read(name));
  }

  std::filesystem::path certificate(const std::string& name) const { return folder_.path() / (name + ".pem"); }
  std::filesystem::path key(const std::string& name) const { return folder_.path() / (name + ".key"); }
  std::filesystem::path authorities() const { return folder_.path() / "ca.pem"; }

 private:
  TemporaryDirectory folder_;
  transport::Certificate coordinators_;
  transport::Certificate devices_;
};

}  // namespace onnx_split::testing
