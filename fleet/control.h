// The control plane's messages: a JSON document and, behind it, raw bytes (a piece of a part file). Each request gets
// one reply. docs/wire.md lists them.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/json.h"
#include "transport/message.h"
#include "transport/request_reply.h"

namespace onnx_split {

inline constexpr std::int64_t kProtocolVersion = 9;
inline constexpr std::size_t kMaxControlBytes = std::size_t{16} << 20;
inline constexpr std::size_t kPieceBytes = std::size_t{1} << 20;
// So much of a word that a peer says is repeated in errors and logs, and of a sentence.
inline constexpr std::size_t kLongestNamed = 80;
inline constexpr std::size_t kLongestSaid = 500;
// What any link carries, 1 Mbit/s: a slower one is as good as none.
inline constexpr std::size_t kLeastBytesPerMs = 125;

struct ControlMessage {
  Json json;
  std::span<const std::byte> bytes;  // inside the message that it was read from
};

Expected<transport::Message> encode_control(const Json& json, std::span<const std::byte> bytes = {});
Expected<ControlMessage> decode_control(std::span<const std::byte> message);

// The number of a new deployment, or of anything else that peers tell apart: random, odd, below 2^63.
std::uint64_t new_epoch();

// The URL of another port of a runner. Its ports share the host, and a runner behind 0.0.0.0 reports a port that we
// reach under the name that we know its control port by.
Expected<std::string> reachable_url(const std::string& control_url, const std::string& port_url);

// A sentence that a peer says, for errors and logs: in one line, and not longer than kLongestSaid bytes.
std::string in_one_line(std::string_view said);

// {"error": {"code": …, "message": …}}
Json error_to_json(const Error& error);

// One runner's control port, as the coordinator sees it. When its connection has broken, every call fails. Thread-safe.
class ControlClient {
 public:
  // `name` is the device's, for error messages and, over tls+tcp, the one that its certificate must have; `identity` is
  // a coordinator's, and none is needed over tcp. `on_lost` is called, on a thread of the transport, when the
  // connection breaks; what it captures must live until close(). `stop` ends the attempt with kCancelled.
  static Expected<ControlClient> connect(std::string name, const std::string& url, std::chrono::milliseconds timeout,
                                         std::shared_ptr<const transport::TlsIdentity> identity = {},
                                         std::function<void()> on_lost = {}, const std::stop_token& stop = {});

  // Sends {"op": op, …} and waits for the reply; an error that the runner replies with is returned as one, but as
  // kUnavailable where it says kTimeout or kCancelled, which are ours to say. Every error begins with `device "pi1": `.
  // `timeout` is what the runner may take; for its way the request has 1 ms for each kLeastBytesPerMs more.
  Expected<Json> call(std::string_view op, Json arguments, std::span<const std::byte> bytes = {},
                      std::chrono::milliseconds timeout = std::chrono::seconds(30));

  const std::string& name() const { return name_; }
  const std::string& url() const { return url_; }
  bool connected() const { return socket_.connections() > 0; }
  // On any thread; calls that wait end with kCancelled.
  void close() { socket_.close(); }

 private:
  ControlClient(std::string name, std::string url, transport::RequestSocket socket)
      : name_(std::move(name)), url_(std::move(url)), socket_(std::move(socket)) {}

  std::string name_;
  std::string url_;
  transport::RequestSocket socket_;
};

}  // namespace onnx_split
