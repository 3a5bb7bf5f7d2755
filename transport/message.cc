#include "transport/message.h"

#include <nng/nng.h>

#include <limits>
#include <memory>

#include "base/check.h"

namespace onnx_split::transport {

Expected<Message> Message::allocate(std::size_t size_bytes) {
  // nng adds head room to the size without looking for overflow, so absurd sizes end here.
  constexpr std::size_t kMaxBytes = std::numeric_limits<std::size_t>::max() / 4;
  nng_msg* message = nullptr;
  // Room before the body, so that nng needn't move it to put a header there.
  if (size_bytes > kMaxBytes || nng_msg_alloc(&message, kPipeHeaderBytes + size_bytes) != 0) {
    return fail(ErrorCode::kExhausted, "no memory for a message of {} bytes", size_bytes);
  }
  CHECK(nng_msg_trim(message, kPipeHeaderBytes) == 0);
  return Message(message);
}

Message::~Message() {
  if (message_ != nullptr) nng_msg_free(message_);
}

std::span<std::byte> Message::bytes() {
  if (message_ == nullptr) return {};
  return {static_cast<std::byte*>(nng_msg_body(message_)), nng_msg_len(message_)};
}

std::span<const std::byte> Message::bytes() const {
  if (message_ == nullptr) return {};
  return {static_cast<const std::byte*>(nng_msg_body(message_)), nng_msg_len(message_)};
}

int Message::connection() const { return message_ == nullptr ? -1 : nng_pipe_id(nng_msg_get_pipe(message_)); }

Buffer share(Message&& message) {
  if (!message.valid()) return {};
  const std::span<const std::byte> bytes = message.bytes();
  return {bytes, std::shared_ptr<const void>(message.release(), [](nng_msg* owned) { nng_msg_free(owned); })};
}

}  // namespace onnx_split::transport
