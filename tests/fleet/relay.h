// Strangers in the middle, one before each runner of a fleet, whom everything goes through: what the coordinator and
// the other runners send to a runner, and what it answers. They can damage what passes, and fall silent like an
// unplugged cable, without root.
//
// They know nng's lengths, so that they pass on whole messages and know what one is. Everybody learns the relays'
// addresses in place of the runners': the coordinator from the replies that say where a runner's ports are, a runner
// from the request that says where its peers' are. What a runner dials is therefore a relay of its own for each peer,
// and it is known of each connection who is at either end.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <list>
#include <mutex>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "base/error.h"
#include "fleet/control.h"
#include "fleet/frame.h"
#include "tests/support/expect.h"
#include "transport/url.h"

namespace onnx_split::testing {

class Relays {
 public:
  // Before the runners with these control ports, at 127.0.0.1.
  explicit Relays(const std::vector<std::string>& control_urls)
      : wake_(must_be(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")), devices_(control_urls.size()) {
    for (std::size_t device = 0; device < control_urls.size(); ++device) {
      const std::uint16_t port = must(transport::parse_url(control_urls[device])).port;
      urls_.push_back(url_of(listen(Kind::kControl, kCoordinator, device, port)));
    }
    thread_ = std::thread([this] { pass_on(); });
  }
  ~Relays() {
    {
      const std::scoped_lock lock(mutex_);
      stopping_ = true;
    }
    wake();
    thread_.join();
    for (const Route& route : routes_) ::close(route.listener);
    for (const Connection& connection : connections_) close(connection);
    ::close(wake_);
  }
  Relays(const Relays&) = delete;
  Relays& operator=(const Relays&) = delete;

  // To be used in place of the runners' control ports.
  const std::vector<std::string>& urls() const { return urls_; }

  // The device's link goes down: nothing passes in either direction, whoever began to talk. Connections stay open, and
  // nobody hears of one that ends.
  void cut(std::size_t device) {
    change([&] { devices_[device].is_cut = true; });
  }
  // What was held goes on.
  void heal(std::size_t device) {
    change([&] { devices_[device].is_cut = false; });
  }
  // As cut, but only for what `sender` sends to `receiver`'s data port.
  void silence(std::size_t sender, std::size_t receiver) {
    change([&] { silent_.emplace(sender, receiver); });
  }

  // Flips a bit in the middle of the next tensor that is sent to the device, or that it gives the coordinator: one that
  // makes an element many times as large or as small, so that nobody could take it for right.
  void damage(std::size_t device) {
    change([&] { ++devices_[device].to_damage; });
  }
  // How many have been.
  std::uint64_t damaged(std::size_t device) const {
    const std::scoped_lock lock(mutex_);
    return devices_[device].damaged;
  }

 private:
  enum class Kind : std::uint8_t { kControl, kData, kResults };
  static constexpr std::size_t kCoordinator = SIZE_MAX;
  static constexpr std::size_t kGreetingBytes = 8;  // nng's, at the beginning of a connection
  static constexpr std::size_t kLengthBytes = 8;    // before each message
  static constexpr std::size_t kWordBytes = 4;      // of the header that nng's requests and replies have
  static constexpr std::byte kDamage{0x40};         // in a float's last byte: the top of its exponent
  static constexpr std::size_t kMostHeld = std::size_t{1} << 20;
  static constexpr std::size_t kMostRoutes = 400;  // those of 20 epochs
  using Bytes = std::vector<std::byte>;

  struct Device {
    bool is_cut = false;
    std::uint64_t to_damage = 0;
    std::uint64_t damaged = 0;
  };
  // Who dials the listener gets to the device's port.
  struct Route {
    Kind kind;
    std::size_t dialler;
    std::size_t device;
    std::uint16_t target;
    std::uint16_t port = 0;
    int listener = -1;
  };
  struct Side {
    int descriptor = -1;
    bool has_greeted = false;
    bool has_ended = false;  // nothing more comes from it
    Bytes in;                // from it: not a whole message yet
    Bytes out;               // to it
  };
  struct Connection {
    Kind kind;
    std::size_t dialler;
    std::size_t device;
    bool is_broken = false;
    std::array<Side, 2> sides{};  // the dialler's, the device's
  };
  // Whom an entry of poll() is about.
  struct Watched {
    Route* route;
    Connection* connection;
    std::size_t side;
  };

  static int must_be(int result, const char* what) {
    if (result < 0) throw std::runtime_error(fmt::format("{}: {}", what, errno_message(errno)));
    return result;
  }
  static void close(const Connection& connection) {
    for (const Side& side : connection.sides) ::close(side.descriptor);
  }
  static std::string url_of(std::uint16_t port) { return fmt::format("tcp://127.0.0.1:{}", port); }
  static sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }
  static int open_socket() {
    return must_be(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket");
  }
  static void send_at_once(int descriptor) {
    const int yes = 1;
    must_be(::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes), "TCP_NODELAY");
  }

  template <class Change>
  void change(const Change& what) {
    {
      const std::scoped_lock lock(mutex_);  // the thread passes nothing on meanwhile
      what();
    }
    wake();
  }
  void wake() const { ::eventfd_write(wake_, 1); }  // fails only where it has been woken often enough

  // The port of the route; a new one unless there is such a route. The lock is the caller's, or nobody else is there.
  std::uint16_t listen(Kind kind, std::size_t dialler, std::size_t device, std::uint16_t target) {
    for (const Route& route : routes_) {
      if (std::tie(route.kind, route.dialler, route.device, route.target) == std::tie(kind, dialler, device, target)) {
        return route.port;
      }
    }
    Route route{kind, dialler, device, target};
    route.listener = open_socket();
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    must_be(::bind(route.listener, reinterpret_cast<const sockaddr*>(&address), size), "bind");
    must_be(::listen(route.listener, SOMAXCONN), "listen");
    must_be(::getsockname(route.listener, reinterpret_cast<sockaddr*>(&address), &size), "getsockname");
    route.port = ntohs(address.sin_port);
    routes_.push_back(route);
    return route.port;
  }

  bool is_silent(Kind kind, std::size_t dialler, std::size_t device) const {
    if (devices_[device].is_cut || (dialler != kCoordinator && devices_[dialler].is_cut)) return true;
    return kind == Kind::kData && silent_.contains({dialler, device});
  }

  void pass_on() {
    std::vector<pollfd> polled;
    std::vector<Watched> watched;
    while (true) {
      {
        const std::scoped_lock lock(mutex_);
        if (stopping_) return;
        forget_old_routes();
        watch(polled, watched);
      }
      if (::poll(polled.data(), polled.size(), -1) < 0) {
        if (errno == EINTR) continue;
        must_be(-1, "poll");
      }
      const std::scoped_lock lock(mutex_);
      std::uint64_t count = 0;
      while (::read(wake_, &count, sizeof count) > 0) continue;
      for (std::size_t i = 0; i < watched.size(); ++i) {
        if (polled[i + 1].revents != 0) serve(watched[i], polled[i + 1].revents);
      }
      std::erase_if(connections_, [](const Connection& connection) {
        const auto& [dialler, device] = connection.sides;
        const bool is_over = connection.is_broken || (dialler.has_ended && device.out.empty()) ||
                             (device.has_ended && dialler.out.empty());
        if (is_over) close(connection);
        return is_over;
      });
    }
  }

  // Of epochs long ago.
  void forget_old_routes() {
    for (auto route = routes_.begin(); routes_.size() > kMostRoutes && route != routes_.end();) {
      if (route->kind == Kind::kControl) {
        ++route;
        continue;
      }
      ::close(route->listener);
      route = routes_.erase(route);
    }
  }

  // Behind the one that wakes: what something may come from, or go to, now.
  void watch(std::vector<pollfd>& polled, std::vector<Watched>& watched) {
    polled.assign(1, {wake_, POLLIN, 0});
    watched.clear();
    const auto add = [&](int descriptor, int events, Watched whom) {
      polled.push_back({descriptor, static_cast<short>(events), 0});
      watched.push_back(whom);
    };
    for (Route& route : routes_) {
      if (!is_silent(route.kind, route.dialler, route.device)) add(route.listener, POLLIN, {&route, nullptr, 0});
    }
    for (Connection& connection : connections_) {
      if (is_silent(connection.kind, connection.dialler, connection.device)) continue;
      for (std::size_t s = 0; s < 2; ++s) {
        const Side& side = connection.sides[s];
        const bool may_read = !side.has_ended && connection.sides[1 - s].out.size() < kMostHeld;
        const int events = (may_read ? POLLIN : 0) | (side.out.empty() ? 0 : POLLOUT);
        if (events != 0) add(side.descriptor, events, {nullptr, &connection, s});
      }
    }
  }

  void serve(const Watched& whom, int events) {
    const auto [kind, dialler, device] =
        whom.route != nullptr ? std::tuple(whom.route->kind, whom.route->dialler, whom.route->device)
                              : std::tuple(whom.connection->kind, whom.connection->dialler, whom.connection->device);
    if (is_silent(kind, dialler, device)) return;  // since poll() was called
    if (whom.route != nullptr) return accept(*whom.route);
    if ((events & POLLOUT) != 0) write(*whom.connection, whom.side);
    if ((events & (POLLIN | POLLHUP | POLLERR)) != 0) read(*whom.connection, whom.side);
  }

  void accept(const Route& route) {
    const int accepted = ::accept4(route.listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted < 0) {
      if (errno == EAGAIN || errno == ECONNABORTED) return;  // who dialled has given up
      must_be(accepted, "accept");
    }
    Connection connection{route.kind, route.dialler, route.device};
    connection.sides[0].descriptor = accepted;
    connection.sides[1].descriptor = open_socket();
    send_at_once(accepted);
    send_at_once(connection.sides[1].descriptor);
    const sockaddr_in address = loopback(route.target);
    const int result =
        ::connect(connection.sides[1].descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    if (result < 0 && errno != EINPROGRESS) return close(connection);  // the runner is dead, or the epoch has ended
    connections_.push_back(std::move(connection));
  }

  void read(Connection& connection, std::size_t from) {
    Side& side = connection.sides[from];
    if (side.has_ended) return;
    std::array<std::byte, std::size_t{64} << 10> buffer;
    const ssize_t count = ::recv(side.descriptor, buffer.data(), buffer.size(), 0);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    Bytes& out = connection.sides[1 - from].out;
    if (count > 0) {
      side.in.insert(side.in.end(), buffer.begin(), buffer.begin() + count);
      take_messages(connection, from);
    } else {  // an end, or a connection that broke: where it broke is where it breaks for the other one, too
      side.has_ended = true;
      out.insert(out.end(), side.in.begin(), side.in.end());
      side.in.clear();
    }
    write(connection, 1 - from);
  }

  static void write(Connection& connection, std::size_t to) {
    Side& side = connection.sides[to];
    while (!side.out.empty()) {
      const ssize_t count = ::send(side.descriptor, side.out.data(), side.out.size(), MSG_NOSIGNAL);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) {
        connection.is_broken = connection.is_broken || errno != EAGAIN;
        return;
      }
      side.out.erase(side.out.begin(), side.out.begin() + count);
    }
  }

  // Puts what is whole of what came from a side before what the other side gets.
  void take_messages(Connection& connection, std::size_t from) {
    Side& side = connection.sides[from];
    Bytes& out = connection.sides[1 - from].out;
    std::span<std::byte> rest(side.in);
    if (!side.has_greeted) {
      if (rest.size() < kGreetingBytes) return;
      side.has_greeted = true;
      out.insert(out.end(), rest.begin(), rest.begin() + kGreetingBytes);
      rest = rest.subspan(kGreetingBytes);
    }
    while (rest.size() >= kLengthBytes) {
      std::uint64_t length = 0;
      for (const std::byte byte : rest.first(kLengthBytes)) length = length << 8 | std::to_integer<std::uint64_t>(byte);
      if (rest.size() - kLengthBytes < length) break;
      add_message(changed(connection, from, rest.subspan(kLengthBytes, length)), out);
      rest = rest.subspan(kLengthBytes + length);
    }
    side.in.erase(side.in.begin(), side.in.end() - static_cast<std::ptrdiff_t>(rest.size()));
  }

  static void add_message(std::span<const std::byte> message, Bytes& out) {
    for (std::size_t i = kLengthBytes; i-- > 0;) out.push_back(static_cast<std::byte>(message.size() >> 8 * i));
    out.insert(out.end(), message.begin(), message.end());
  }

  // As the message goes on: itself, damaged, or with other addresses.
  std::span<const std::byte> changed(const Connection& connection, std::size_t from, std::span<std::byte> message) {
    std::size_t header = 0;  // words; the last one has the top bit
    while (header + kWordBytes <= message.size() && (message[header] & std::byte{0x80}) == std::byte{}) {
      header += kWordBytes;
    }
    header += kWordBytes;
    if (header > message.size()) return message;
    if (connection.kind == Kind::kControl) return with_addresses(connection, from, message, header);
    const std::size_t before = header + kFrameHeaderBytes;
    Device& device = devices_[connection.device];
    if (message.size() >= before + sizeof(float) && device.to_damage > 0) {
      const std::size_t element = (message.size() - before) / sizeof(float) / 2;
      message[before + element * sizeof(float) + sizeof(float) - 1] ^= kDamage;
      --device.to_damage;
      ++device.damaged;
    }
    return message;
  }

  std::span<const std::byte> with_addresses(const Connection& connection, std::size_t from,
                                            std::span<const std::byte> message, std::size_t header) {
    const std::string_view text(reinterpret_cast<const char*>(message.data()), message.size());
    if (text.find("\"data_url") == std::string_view::npos) return message;
    const ControlMessage said = must(decode_control(message.subspan(header)));
    Json json = said.json;
    const auto put = [&](Json& url, Kind kind, std::size_t dialler, std::size_t device) {
      url = url_of(listen(kind, dialler, device, must(transport::parse_url(url.get<std::string>())).port));
    };
    if (from == 1) {
      put(json.at("data_url"), Kind::kData, kCoordinator, connection.device);
      put(json.at("results_url"), Kind::kResults, kCoordinator, connection.device);
    } else if (json.contains("data_urls")) {
      for (Json& url : json["data_urls"]) {  // those that the coordinator was told before
        const auto route = std::find_if(routes_.begin(), routes_.end(),
                                        [&](const Route& r) { return r.kind == Kind::kData && url == url_of(r.port); });
        if (route != routes_.end()) {
          url = url_of(listen(Kind::kData, connection.device, route->device, route->target));
        }
      }
    }
    const transport::Message encoded = must(encode_control(json, said.bytes));
    changed_.assign(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(header));
    changed_.insert(changed_.end(), encoded.bytes().begin(), encoded.bytes().end());
    return changed_;
  }

  const int wake_;
  std::vector<std::string> urls_;
  mutable std::mutex mutex_;
  bool stopping_ = false;
  std::vector<Device> devices_;
  std::set<std::pair<std::size_t, std::size_t>> silent_;  // sender, receiver
  std::list<Route> routes_;
  std::list<Connection> connections_;
  Bytes changed_;  // reused
  std::thread thread_;
};

}  // namespace onnx_split::testing
