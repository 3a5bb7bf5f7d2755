#include "fleet/signal.h"

#include <chrono>
#include <utility>

namespace onnx_split {

using transport::Message;
using transport::PushSocket;

Expected<PushSocket> open_signals(const Deployment& deployment, std::size_t alternatives) {
  return PushSocket::open(deployment.send_queue(alternatives + 1));  // one for heartbeats
}

Expected<void> signal(PushSocket& socket, const FrameHeader& header) {
  TRY_ASSIGN(Message frame, Message::allocate(kFrameHeaderBytes));
  seal_frame(header, frame.bytes());
  const auto sent = socket.send(std::move(frame), std::chrono::milliseconds(0));
  if (!sent && sent.error().code != ErrorCode::kTimeout) return tl::unexpected(sent.error());
  return {};
}

}  // namespace onnx_split
