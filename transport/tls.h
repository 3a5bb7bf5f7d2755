// Mutual TLS for tls+tcp://: who we are, and whom we let in. Both ends show a certificate.
//
// Two authorities sign: one for coordinators and one for devices, so that a device that was stolen can't give orders.
// nng tells only that a peer's certificate was signed by an authority that we accept, not whose it is; so the listening
// side decides by authority, and the dialling side also checks the name. transport/certificates.h makes them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "base/error.h"

namespace onnx_split::transport {

// Whose certificates are accepted.
enum class Peers : std::uint8_t { kCoordinators, kDevices, kAll };

// The names of the authorities, by which the ones in an authorities file are told apart.
inline constexpr const char* kCoordinatorAuthority = "onnx-split coordinators";
inline constexpr const char* kDeviceAuthority = "onnx-split devices";

// Read once and shared; immutable.
class TlsIdentity {
 public:
  // PEM files: our certificate, its private key, and both authorities' certificates in one file. Errors name the file
  // and what is wrong with it: not PEM, a key that isn't of P-256, that doesn't belong to the certificate or that
  // others can read, an authority that is missing, a certificate that none of the two has signed, or that has expired.
  static Expected<std::shared_ptr<const TlsIdentity>> read(const std::filesystem::path& certificate,
                                                           const std::filesystem::path& key,
                                                           const std::filesystem::path& authorities);

  // PEM.
  const std::string& certificate() const { return certificate_; }
  const std::string& key() const { return key_; }
  const std::string& authorities(Peers peers) const;
  // The name in our certificate.
  const std::string& name() const { return name_; }

 private:
  TlsIdentity() = default;
  std::string certificate_;
  std::string key_;
  std::string coordinators_;
  std::string devices_;
  std::string all_;
  std::string name_;
};

// Of one endpoint.
struct Tls {
  std::shared_ptr<const TlsIdentity> identity;  // nothing: no tls+tcp
  Peers accepts = Peers::kDevices;
  std::string name;  // dialling: the one that the peer's certificate must have
};

}  // namespace onnx_split::transport
