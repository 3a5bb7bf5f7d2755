// Of this room only: one nng socket with its endpoints, connections and counters, and the operations that the public
// sockets are made of. Pinned in memory, because nng's callbacks point at it. Thread-safe, but for the destructor.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "transport/message.h"
#include "transport/socket.h"
#include "transport/url.h"

struct nng_aio;

namespace onnx_split::transport {

enum class Protocol { kPush, kPull, kRequest, kReply };

// Operations of nng that threads of ours wait for. Each takes an nng_aio, which is kept for the next one. Thread-safe.
class Operations {
 public:
  Operations() = default;
  Operations(const Operations&) = delete;
  Operations& operator=(const Operations&) = delete;
  ~Operations();

  // start(aio) begins the operation; returns nng's result when it is over. `message` goes in and what nng leaves there
  // comes out: null if nng took it.
  int run(std::int32_t timeout_ms, nng_msg*& message, const std::function<void(nng_aio*)>& start);

  // Ends all that run and refuses later ones, with this result.
  void stop(int result);

  // Returns when every start(aio) that has begun has returned. nng frees a connection after its last callback, although
  // a sender may just have chosen that connection and be about to use it; so the callback waits here.
  void let_starts_end();

 private:
  nng_aio* take();

  std::mutex mutex_;
  std::vector<nng_aio*> idle_;
  std::vector<nng_aio*> running_;
  int stopped_ = 0;  // with this result
};

class SocketCore {
 public:
  static Expected<std::unique_ptr<SocketCore>> open(Protocol protocol);
  SocketCore(const SocketCore&) = delete;
  SocketCore& operator=(const SocketCore&) = delete;
  ~SocketCore();

  Expected<void> set_send_queue(int messages);

  // The contracts are those of the public sockets.
  Expected<void> dial(std::string_view url, const DialOptions& options);
  Expected<std::string> listen(std::string_view url, std::size_t max_message_bytes, const Tls& tls);
  Expected<void> wait_connected(std::chrono::milliseconds timeout);
  std::size_t connections() const;
  void on_disconnect(std::function<void(const std::string& url)> callback);
  Expected<void> send(Message& message, std::chrono::milliseconds timeout);
  Expected<Message> receive(std::chrono::milliseconds timeout);
  Expected<Message> call(Message& request, std::chrono::milliseconds timeout);
  Counters counters() const;
  void refuse(int connection, std::string_view reason);
  void close();

  // From nng's callbacks. `endpoint` is the key of endpoint_urls_.
  void connection_begins(int connection, int endpoint);
  void connection_ready(int connection);
  void connection_gone(int connection);

 private:
  struct Connection {
    int endpoint = 0;
    bool ready = false;
  };

  SocketCore(Protocol protocol, std::uint32_t socket_id) : protocol_(protocol), socket_id_(socket_id) {}
  std::size_t size_limit(std::size_t max_message_bytes) const;
  void add_endpoint(int endpoint, std::string url);
  void remove_endpoint(int endpoint);
  friend class Visit;
  bool enter();
  void leave();
  Expected<void> wait_for(std::chrono::milliseconds timeout, const std::function<bool(const Connection&)>& wanted);
  void raise_limit(std::size_t max_message_bytes);
  bool admits(const Message& message);
  void count_sent(std::size_t size_bytes);
  bool closing() const;
  std::string name() const;
  Error error(int nng_code, std::string_view timeout_text) const;

  const Protocol protocol_;
  const std::uint32_t socket_id_;
  Operations operations_;
  std::atomic<std::size_t> max_message_bytes_{0};
  std::atomic<bool> calls_outlive_connection_{true};
  std::atomic<std::uint64_t> messages_sent_{0};
  std::atomic<std::uint64_t> bytes_sent_{0};
  std::atomic<std::uint64_t> messages_received_{0};
  std::atomic<std::uint64_t> bytes_received_{0};

  mutable std::mutex mutex_;  // guards what follows; never held while nng is called
  std::condition_variable changed_;
  std::map<int, std::string> endpoint_urls_;  // dialers by their ids, listeners by their negated ids
  std::map<int, Connection> connections_;
  std::function<void(const std::string& url)> disconnected_;
  int visitors_ = 0;  // threads that use the nng socket
  bool closing_ = false;
  bool closed_ = false;
};

}  // namespace onnx_split::transport
