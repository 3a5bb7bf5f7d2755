#include "transport/socket.h"

#include "transport/push_pull.h"
#include "transport/request_reply.h"
#include "transport/socket_core.h"

namespace onnx_split::transport {

Socket::Socket(std::unique_ptr<SocketCore> core) : core_(std::move(core)) {}
Socket::Socket(Socket&&) noexcept = default;
Socket& Socket::operator=(Socket&&) noexcept = default;
Socket::~Socket() = default;

Expected<void> Socket::dial(std::string_view url, const DialOptions& options) { return core_->dial(url, options); }
Expected<void> Socket::wait_connected(std::chrono::milliseconds timeout) { return core_->wait_connected(timeout); }
std::size_t Socket::connections() const { return core_->connections(); }
void Socket::on_disconnect(std::function<void(const std::string& url)> callback) {
  core_->on_disconnect(std::move(callback));
}
Counters Socket::counters() const { return core_->counters(); }
void Socket::close() { core_->close(); }

Expected<PushSocket> PushSocket::open(int send_queue_messages) {
  TRY_ASSIGN(auto core, SocketCore::open(Protocol::kPush));
  TRY(core->set_send_queue(send_queue_messages));
  return PushSocket(std::move(core));
}

Expected<std::string> PushSocket::listen(std::string_view url, const Tls& tls) {
  // Nobody has anything to tell a pusher.
  return core_->listen(url, 1, tls);
}

Expected<void> PushSocket::send(Message&& message, std::chrono::milliseconds timeout) {
  return core_->send(message, timeout);
}

Expected<PullSocket> PullSocket::open() {
  TRY_ASSIGN(auto core, SocketCore::open(Protocol::kPull));
  return PullSocket(std::move(core));
}

Expected<std::string> PullSocket::listen(std::string_view url, std::size_t max_message_bytes, const Tls& tls) {
  return core_->listen(url, max_message_bytes, tls);
}

Expected<Message> PullSocket::receive(std::chrono::milliseconds timeout) { return core_->receive(timeout); }

void PullSocket::refuse(int connection, std::string_view reason) { core_->refuse(connection, reason); }

Expected<RequestSocket> RequestSocket::open() {
  TRY_ASSIGN(auto core, SocketCore::open(Protocol::kRequest));
  return RequestSocket(std::move(core));
}

Expected<Message> RequestSocket::call(Message&& request, std::chrono::milliseconds timeout) {
  return core_->call(request, timeout);
}

Expected<ReplySocket> ReplySocket::open() {
  TRY_ASSIGN(auto core, SocketCore::open(Protocol::kReply));
  return ReplySocket(std::move(core));
}

Expected<std::string> ReplySocket::listen(std::string_view url, std::size_t max_message_bytes, const Tls& tls) {
  return core_->listen(url, max_message_bytes, tls);
}

Expected<Message> ReplySocket::receive(std::chrono::milliseconds timeout) {
  auto request = core_->receive(timeout);
  if (request) requester_ = request->connection();
  return request;
}

Expected<void> ReplySocket::reply(Message&& message) {
  auto sent = core_->send(message, kReplyTimeout);
  if (sent || sent.error().code != ErrorCode::kTimeout) return sent;
  const Message dropped = std::move(message);
  core_->refuse(requester_, "it doesn't read its replies");
  return {};
}

}  // namespace onnx_split::transport
