// A message: bytes that the transport moves without looking at them. It owns one nng message and is move-only; an empty
// Message (default, moved from, or sent) owns nothing. Not thread-safe; hand it from thread to thread by moving it.
//
// Alignment: the body starts at a multiple of kMessageAlignment (16, as malloc gives on 64-bit systems) in a message
// that was allocated here or received by a PullSocket, so an array of floats may be read in place. In messages received
// by a RequestSocket or ReplySocket it is only a multiple of 4: the protocol strips a 4-byte request id from the front.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "base/buffer.h"
#include "base/error.h"

struct nng_msg;

namespace onnx_split::transport {

class SocketCore;

inline constexpr std::size_t kMessageAlignment = 16;

// What the sockets put before a body in a pipe; a multiple of kMessageAlignment, so that the body stays aligned.
inline constexpr std::size_t kPipeHeaderBytes = 16;

class Message {
 public:
  // A body of `size_bytes` uninitialised bytes; 0 is fine. kExhausted if there is no memory for it.
  static Expected<Message> allocate(std::size_t size_bytes);

  Message() = default;
  Message(Message&& other) noexcept : message_(std::exchange(other.message_, nullptr)) {}
  Message& operator=(Message&& other) noexcept {
    std::swap(message_, other.message_);
    return *this;
  }
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  ~Message();

  // False for an empty Message, which has no body, not even one of 0 bytes, and can't be sent.
  bool valid() const { return message_ != nullptr; }
  std::span<std::byte> bytes();
  std::span<const std::byte> bytes() const;
  std::size_t size() const { return bytes().size(); }
  // Of a message that was received: which of the socket's connections it came over (see PullSocket::refuse).
  int connection() const;

 private:
  friend class SocketCore;
  friend Buffer share(Message&& message);
  explicit Message(nng_msg* message) : message_(message) {}
  nng_msg* release() { return std::exchange(message_, nullptr); }

  nng_msg* message_ = nullptr;
};

// The message's body as a Buffer that keeps the message alive; nothing is copied. An empty Message gives an empty
// Buffer.
Buffer share(Message&& message);

}  // namespace onnx_split::transport
