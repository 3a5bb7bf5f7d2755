#include "fleet/control.h"

#include <algorithm>
#include <cstring>
#include <random>

#include "transport/url.h"

namespace onnx_split {
namespace {

// Not kTimeout and kCancelled: that one is silent, or that the user has ended everything, nobody else can tell us.
constexpr ErrorCode kTheirCodes[] = {ErrorCode::kInvalid,   ErrorCode::kUnsupported, ErrorCode::kNotFound,
                                     ErrorCode::kExhausted, ErrorCode::kUnavailable, ErrorCode::kIo};

ErrorCode code_from_name(std::string_view name) {
  for (const ErrorCode code : kTheirCodes) {
    if (error_code_name(code) == name) return code;
  }
  return ErrorCode::kUnavailable;
}

}  // namespace

Expected<transport::Message> encode_control(const Json& json, std::span<const std::byte> bytes) {
  const std::string text = to_text(json);
  const auto length = static_cast<std::uint32_t>(text.size());
  TRY_ASSIGN(transport::Message message, transport::Message::allocate(sizeof length + text.size() + bytes.size()));
  std::byte* out = message.bytes().data();
  std::memcpy(out, &length, sizeof length);
  std::memcpy(out + sizeof length, text.data(), text.size());
  if (!bytes.empty()) std::memcpy(out + sizeof length + text.size(), bytes.data(), bytes.size());
  return message;
}

Expected<ControlMessage> decode_control(std::span<const std::byte> message) {
  std::uint32_t length = 0;
  if (message.size() < sizeof length) {
    return fail(ErrorCode::kInvalid, "control message of {} bytes is cut short", message.size());
  }
  std::memcpy(&length, message.data(), sizeof length);
  const std::span<const std::byte> rest = message.subspan(sizeof length);
  if (length > rest.size()) {
    return fail(ErrorCode::kInvalid, "control message: claims {} bytes of JSON, has {}", length, rest.size());
  }
  ControlMessage control;
  TRY_ASSIGN(control.json, parse_json({reinterpret_cast<const char*>(rest.data()), length}));
  control.bytes = rest.subspan(length);
  return control;
}

std::uint64_t new_epoch() {
  std::random_device random;
  return ((std::uint64_t{random()} << 32 | random()) >> 1) | 1;
}

Expected<std::string> reachable_url(const std::string& control_url, const std::string& port_url) {
  TRY_ASSIGN(transport::Url control, transport::parse_url(control_url));
  TRY_ASSIGN(const transport::Url port, transport::parse_url(port_url));
  control.port = port.port;
  return control.text();
}

std::string in_one_line(std::string_view said) {
  const auto is_inside = [](char c) { return (c & 0xC0) == 0x80; };  // a character's second byte, or a later one
  std::size_t length = std::min(said.size(), kLongestSaid);
  while (length < said.size() && length > 0 && is_inside(said[length])) --length;
  std::string line(said.substr(0, length));
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7F') c = ' ';
  }
  return length < said.size() ? line + "…" : line;
}

Json error_to_json(const Error& error) {
  return {{"error", {{"code", error_code_name(error.code)}, {"message", error.message}}}};
}

Expected<ControlClient> ControlClient::connect(std::string name, const std::string& url,
                                               std::chrono::milliseconds timeout,
                                               std::shared_ptr<const transport::TlsIdentity> identity,
                                               std::function<void()> on_lost, const std::stop_token& stop) {
  TRY_ASSIGN(transport::RequestSocket socket, transport::RequestSocket::open());
  if (on_lost) socket.on_disconnect([lost = std::move(on_lost)](const std::string&) { lost(); });
  transport::DialOptions options;
  options.connect_timeout = timeout;
  options.calls_outlive_connection = false;
  options.max_message_bytes = kMaxControlBytes;
  options.tls = {std::move(identity), transport::Peers::kDevices, name};
  Expected<void> dialled;
  {
    const std::stop_callback closes(stop, [&] { socket.close(); });
    dialled = socket.dial(url, options);
  }
  if (dialled && stop.stop_requested()) dialled = fail(ErrorCode::kCancelled, "given up");
  if (!dialled) return fail_in(fmt::format("device \"{}\"", name), std::move(dialled.error()));
  return ControlClient(std::move(name), url, std::move(socket));
}

Expected<Json> ControlClient::call(std::string_view op, Json arguments, std::span<const std::byte> bytes,
                                   std::chrono::milliseconds timeout) {
  const auto in_device = [&](Error error) { return fail_in(fmt::format("device \"{}\"", name_), std::move(error)); };
  arguments["op"] = op;
  auto request = encode_control(arguments, bytes);
  if (!request) return in_device(std::move(request.error()));
  const std::chrono::milliseconds on_its_way(request->bytes().size() / kLeastBytesPerMs);
  auto reply = socket_.call(std::move(*request), timeout + on_its_way);
  if (!reply) return in_device(std::move(reply.error()));
  auto decoded = decode_control(reply->bytes());
  if (!decoded) return in_device(std::move(decoded.error()));
  if (!decoded->json.is_object()) return in_device({ErrorCode::kInvalid, "its reply isn't an object"});
  const JsonReader reader(decoded->json);
  if (!reader.has("error")) return std::move(decoded->json);
  TRY_ASSIGN(const JsonReader error, reader.at("error"));
  TRY_ASSIGN(const std::string code, error.string("code"));
  TRY_ASSIGN(const std::string message, error.string("message"));
  return in_device({code_from_name(code), in_one_line(message)});
}

}  // namespace onnx_split
