// Frames that carry nothing: that their sender is there, that it has enough (fleet/frame.h).
#pragma once

#include <cstddef>

#include "fleet/deployment.h"
#include "transport/push_pull.h"

namespace onnx_split {

// A socket for the signals to one device. Signals have a connection of their own: behind large frames on a slow link
// they would come too late, and in the frames' queue they would take the place of frames (Deployment::send_queue).
// `alternatives`: how many of that device's this one gets of a request, and so how often it may say of a request that
// it has enough.
Expected<transport::PushSocket> open_signals(const Deployment& deployment, std::size_t alternatives);

// Sends a frame that has only a header, or drops it where the queue is full: of notices there is one for each
// transfer of the window, and another heartbeat follows. kExhausted, and what ends the socket, are errors.
Expected<void> signal(transport::PushSocket& socket, const FrameHeader& header);

}  // namespace onnx_split
