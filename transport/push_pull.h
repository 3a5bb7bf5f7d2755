// One-way pipes: what a PushSocket sends, a PullSocket receives. The data plane.
//
// Between one pusher and one puller messages arrive in the order they were sent, each at most once. A message may be
// lost only if the connection or the socket ends while it is on its way; whoever can't afford that must send it again.
// On the wire a pipe is a raw request without a reply (see socket_core.cc): connecting a PushSocket to a ReplySocket,
// or a RequestSocket to a PullSocket, is not noticed and makes no sense. Owners, threads and closing: see
// transport/socket.h.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.h"
#include "transport/message.h"
#include "transport/socket.h"

namespace onnx_split::transport {

// Thread-safe as Socket is; messages sent from several threads at once go out in some order.
class PushSocket : public Socket {
 public:
  // send() accepts `send_queue_messages` (0 to 8192) beyond the one that is being written to the connection, and beyond
  // what the network buffers; with more it blocks. The queue outlives a broken connection, the one being written
  // doesn't.
  static Expected<PushSocket> open(int send_queue_messages = 2);

  // Listens, and returns the URL with the port that was chosen. With several pullers connected, each message goes to
  // one of them in turn. kUnavailable ("tcp://127.0.0.1:5555: address in use"), kNotFound (not an address of this
  // machine).
  Expected<std::string> listen(std::string_view url, const Tls& tls = {});

  // Blocks until the message is accepted: queued, or being written. That isn't delivery: see the top. Without a
  // connection messages are accepted until the queue is full. On success `message` is empty; after an error (kTimeout
  // under backpressure, kCancelled, kInvalid for an empty Message) the caller still has it, unchanged, and nothing was
  // sent.
  Expected<void> send(Message&& message, std::chrono::milliseconds timeout);

 private:
  using Socket::Socket;
};

// Thread-safe as Socket is; each message goes to one of the threads that wait.
class PullSocket : public Socket {
 public:
  static Expected<PullSocket> open();

  // Listens, and returns the URL with the port that was chosen. A peer that announces a message of more than
  // `max_message_bytes` (at least 1) is disconnected before any memory is spent on it; others are not affected. (Within
  // the process, over inproc, it is disconnected when the message would be received, and the largest limit given to
  // this socket counts.) Errors as PushSocket::listen.
  Expected<std::string> listen(std::string_view url, std::size_t max_message_bytes, const Tls& tls = {});

  // The next message of any connection; fair between them. kTimeout, kCancelled.
  Expected<Message> receive(std::chrono::milliseconds timeout);

  // Ends a connection (Message::connection) over which something came that can't be right; where it was accepted, the
  // reason is logged once. An honest peer notices that its connection breaks; others are not affected. One that was
  // dialled is dialled again, after on_disconnect.
  void refuse(int connection, std::string_view reason);

 private:
  using Socket::Socket;
};

}  // namespace onnx_split::transport
