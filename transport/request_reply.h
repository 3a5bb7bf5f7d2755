// Questions and answers. The control plane.
//
// A request is sent once: the transport never repeats it by itself, so it is executed at most once. When call() fails
// after the request went out (timeout, lost connection), it may or may not have been executed.
// Owners, threads and closing: see transport/socket.h.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.h"
#include "transport/message.h"
#include "transport/socket.h"

namespace onnx_split::transport {

// Thread-safe as Socket is; calls from several threads are in flight at the same time, and a single ReplySocket answers
// them one after the other. Dials one ReplySocket.
class RequestSocket : public Socket {
 public:
  static Expected<RequestSocket> open();

  // Sends and waits for the reply. On success and after kTimeout and kUnavailable (the connection broke, or the reply
  // was over max_message_bytes) `request` is consumed, unless it never went out, when the caller still has it. While
  // there is no connection it waits for one, unless DialOptions say otherwise. After an error the socket is ready for
  // the next call, and a late reply is dropped: it never answers another request.
  Expected<Message> call(Message&& request, std::chrono::milliseconds timeout);

 private:
  using Socket::Socket;
};

// One request at a time: receive(), then reply(), on one thread (close() and the rest of Socket on any). A receive()
// instead of a reply() drops the former request unanswered.
class ReplySocket : public Socket {
 public:
  static Expected<ReplySocket> open();

  // As PullSocket::listen.
  Expected<std::string> listen(std::string_view url, std::size_t max_message_bytes, const Tls& tls = {});

  // The next request. kTimeout, kCancelled.
  Expected<Message> receive(std::chrono::milliseconds timeout);

  // Answers the request received last; consumes `message` unless it fails. If the peer has gone, the reply is dropped
  // and that is no error; if the reply before it is still on its way after kReplyTimeout, because the peer doesn't
  // read, its connection is ended, too. kInvalid if there is no request to answer; kCancelled.
  Expected<void> reply(Message&& message);

 private:
  using Socket::Socket;
  static constexpr std::chrono::milliseconds kReplyTimeout{100};
  int requester_ = -1;  // the connection of the request received last
};

}  // namespace onnx_split::transport
