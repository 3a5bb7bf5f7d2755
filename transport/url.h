// Addresses of sockets: inproc://name within this process, tcp://host:port between processes and machines, and
// tls+tcp://host:port, the same with mutual TLS (transport/tls.h). Plain data and pure functions; any thread may call.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace onnx_split::transport {

enum class Scheme { kInproc, kTcp, kTlsTcp };

struct Url {
  Scheme scheme = Scheme::kInproc;
  std::string host;        // a name, an IPv4 address, an IPv6 address without brackets, or "*"; for inproc the name
  std::uint16_t port = 0;  // 0: to be chosen by the system (only when listening); always 0 for inproc

  // As parse_url reads it, with brackets around an IPv6 address.
  std::string text() const;
  bool operator==(const Url&) const = default;
};

// kInvalid if it is malformed, kUnsupported if its scheme is unknown.
Expected<Url> parse_url(std::string_view text);

// Dialling needs a host and a port (kInvalid).
Expected<void> check_dialable(const Url& url);

// True only if nobody on another machine can reach it: inproc, 127.0.0.0/8, ::1 and the name localhost. Every other
// name is taken to be remote, whatever it resolves to. A text that isn't a URL is not loopback.
bool is_loopback(const Url& url);
bool is_loopback(std::string_view url);

}  // namespace onnx_split::transport
