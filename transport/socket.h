// What the four sockets have in common: dialling, connections, closing, counting.
//
// A socket is opened, then attached to one or more URLs by dialling or listening, and used until it is closed. Either
// side of a pair may be the one that listens. A dialled connection that breaks is dialled again in the background until
// the socket is closed; a listener goes on accepting.
//
// Threads: every method may be called from any thread at any time, also while another thread is blocked in one, except
// moving and destroying, which must be alone. Sockets receive and send on threads of nng's own.
//
// Closing: close() makes every blocked and later call fail with kCancelled, and drops what was accepted for sending and
// isn't on its way yet, and what arrived and wasn't received yet, *on both sides of the connection*. An orderly end is
// therefore the users' business: close a pushing socket only after the receiver has said that it has everything.
//
// A vanished peer: a process that ends or closes is noticed at once (on_disconnect). A machine that loses power or a
// cable that is pulled isn't, until TCP gives up: watch for that with heartbeats.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "transport/tls.h"

namespace onnx_split::transport {

class SocketCore;

// A timeout that never ends. A timeout of 0 doesn't wait: it takes what is possible now. All timeouts are relative.
inline constexpr std::chrono::milliseconds kForever = std::chrono::milliseconds::max();

inline constexpr std::size_t kDefaultMaxMessageBytes = std::size_t{1} << 20;

struct DialOptions {
  // How long dial() goes on trying before it gives up with an error. 0: it doesn't wait but connects in the background,
  // for as long as the socket lives (see wait_connected).
  std::chrono::milliseconds connect_timeout{5000};
  // The pause between two attempts, at first and after a broken connection: drawn at random from [0, pause], where
  // pause starts at reconnect_min and doubles up to reconnect_max.
  std::chrono::milliseconds reconnect_min{20};
  std::chrono::milliseconds reconnect_max{500};
  // For calls: false ends those that wait with kUnavailable when the connection breaks, and all later ones. (Those
  // whose request went over it fail in any case; others wait for the next connection.)
  bool calls_outlive_connection = true;
  // For sockets that receive: as for listening.
  std::size_t max_message_bytes = kDefaultMaxMessageBytes;
  // For tls+tcp://.
  Tls tls{};
};

struct Counters {
  std::uint64_t messages_sent = 0;  // accepted for sending
  std::uint64_t bytes_sent = 0;
  std::uint64_t messages_received = 0;  // handed out by receive() or call()
  std::uint64_t bytes_received = 0;
};

class Socket {
 public:
  Socket(Socket&&) noexcept;
  Socket& operator=(Socket&&) noexcept;
  ~Socket();  // closes

  // Connects to a listener. Blocks until there is a connection, trying again until options.connect_timeout is over;
  // then kUnavailable ("tcp://10.0.0.7:5555: connection refused"), kNotFound (no such host) or kTimeout (no answer).
  // After an error nothing goes on in the background, and the socket may try again.
  Expected<void> dial(std::string_view url, const DialOptions& options = {});

  // Blocks until there is at least one connection, dialled or accepted. kTimeout, kCancelled.
  Expected<void> wait_connected(std::chrono::milliseconds timeout);
  std::size_t connections() const;

  // `callback` runs, on one of nng's threads, each time a connection breaks, with the URL that was dialled or listened
  // on; not for connections that our own close() ends. It must be quick and must neither close nor destroy this socket.
  // Set it before dialling or listening.
  void on_disconnect(std::function<void(const std::string& url)> callback);

  Counters counters() const;

  // Idempotent. Returns when all of this socket's connections are gone and no callback runs any more.
  void close();

 protected:
  explicit Socket(std::unique_ptr<SocketCore> core);

  std::unique_ptr<SocketCore> core_;
};

}  // namespace onnx_split::transport
