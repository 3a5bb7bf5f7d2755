// Of this room only: who is at the other end of a connection of nng's.
#pragma once

#include <optional>

#include "transport/door.h"

namespace onnx_split::transport {

// By nng's number for the connection. Nothing over inproc, or if it has gone.
std::optional<PeerAddress> peer_of_connection(int connection);

}  // namespace onnx_split::transport
