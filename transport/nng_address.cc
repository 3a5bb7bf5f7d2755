#include "transport/nng_address.h"

#include <arpa/inet.h>
#include <nng/nng.h>

#include <array>

namespace onnx_split::transport {

std::optional<PeerAddress> peer_of_connection(int connection) {
  const nng_pipe pipe{static_cast<std::uint32_t>(connection)};
  nng_sockaddr theirs{};
  nng_sockaddr ours{};
  if (nng_pipe_get_addr(pipe, NNG_OPT_REMADDR, &theirs) != 0) return std::nullopt;
  if (nng_pipe_get_addr(pipe, NNG_OPT_LOCADDR, &ours) != 0) return std::nullopt;
  const bool is_v6 = theirs.s_family == NNG_AF_INET6;
  if (!is_v6 && theirs.s_family != NNG_AF_INET) return std::nullopt;
  std::array<char, INET6_ADDRSTRLEN> host{};
  if (is_v6) {
    ::inet_ntop(AF_INET6, &theirs.s_in6.sa_addr, host.data(), host.size());
    return PeerAddress{host.data(), ntohs(theirs.s_in6.sa_port), ntohs(ours.s_in6.sa_port)};
  }
  ::inet_ntop(AF_INET, &theirs.s_in.sa_addr, host.data(), host.size());
  return PeerAddress{host.data(), ntohs(theirs.s_in.sa_port), ntohs(ours.s_in.sa_port)};
}

}  // namespace onnx_split::transport
