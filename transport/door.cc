#include "transport/door.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <mutex>

#include "base/log.h"

namespace onnx_split::transport {
namespace {

struct HostAndPort {
  std::string host;
  std::uint16_t port = 0;
};

std::optional<HostAndPort> read(const sockaddr_storage& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.ss_family == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(address);
    ::inet_ntop(AF_INET, &in.sin_addr, text.data(), text.size());
    return HostAndPort{text.data(), ntohs(in.sin_port)};
  }
  if (address.ss_family == AF_INET6) {
    const auto& in = reinterpret_cast<const sockaddr_in6&>(address);
    ::inet_ntop(AF_INET6, &in.sin6_addr, text.data(), text.size());
    return HostAndPort{text.data(), ntohs(in.sin6_port)};
  }
  return std::nullopt;
}

template <class GetName>
std::optional<HostAndPort> name_of(int descriptor, GetName get_name) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (get_name(descriptor, reinterpret_cast<sockaddr*>(&address), &size) != 0) return std::nullopt;
  return read(address);
}

// nng's threads close connections until the very end of the process, when what they would log with is gone already. So
// the log is closed first: the one who closes it is made after spdlog's registry, and therefore destroyed before it.
struct Log {
  std::mutex mutex;
  bool is_open = true;
};

Log& the_log() {
  struct Closer {
    Log& log;
    explicit Closer(Log& of) : log(of) {}
    ~Closer() {
      const std::scoped_lock lock(log.mutex);
      log.is_open = false;
    }
  };
  static Log& log = *new Log();
  (void)spdlog::default_logger_raw();  // makes the registry
  static const Closer closer(log);
  return log;
}

// Outside the door's mutex: a log may be slow.
void log_all(const std::vector<std::string>& lines) {
  if (lines.empty()) return;
  Log& log = the_log();
  const std::scoped_lock lock(log.mutex);
  if (!log.is_open) return;
  for (const std::string& line : lines) spdlog::info("{}", line);
}

}  // namespace

std::optional<PeerAddress> peer_of(int descriptor) {
  const auto theirs = name_of(descriptor, ::getpeername);
  const auto ours = name_of(descriptor, ::getsockname);
  if (!theirs || !ours) return std::nullopt;
  return PeerAddress{theirs->host, theirs->port, ours->port};
}

Door& Door::of_this_process() {
  // Never destroyed: nng's threads may close connections until the very end.
  static Door& door = *new Door();
  (void)the_log();  // while there is one
  return door;
}

bool Door::knocks(int descriptor, PeerAddress peer, Clock::time_point now) {
  std::vector<std::string> lines;
  bool welcome = true;
  {
    const std::scoped_lock lock(mutex_);
    std::size_t waiting = 0;
    std::size_t leaving = 0;
    std::size_t of_this_host = 0;
    auto oldest = guests_.end();
    for (auto guest = guests_.begin(); guest != guests_.end(); ++guest) {
      if (guest->second.peer.host == peer.host) ++of_this_host;
      if (guest->second.connection != 0) continue;
      if (guest->second.sent_away) {
        ++leaving;
        continue;
      }
      ++waiting;
      if (oldest == guests_.end() || guest->second.since < oldest->second.since) oldest = guest;
    }
    const std::string crowd = fmt::format("more than {} were waiting to be let in", kMostWaiting);
    if (of_this_host >= kMostOfOneHost) {
      welcome = false;
      refuse(peer, fmt::format("{} connections of this host are here already", kMostOfOneHost), now, lines);
    } else if (waiting + leaving >= 2 * kMostWaiting) {
      welcome = false;
      refuse(peer, crowd, now, lines);
    } else {
      if (waiting >= kMostWaiting) send_away(oldest->first, oldest->second, crowd);
      guests_.insert_or_assign(descriptor, Guest{std::move(peer), now, {}, 0, false});
    }
  }
  log_all(lines);
  return welcome;
}

void Door::fails(int descriptor, std::string reason) {
  const std::scoped_lock lock(mutex_);
  const auto found = guests_.find(descriptor);
  if (found != guests_.end() && found->second.reason.empty()) found->second.reason = std::move(reason);
}

void Door::comes_in(const PeerAddress& peer, int connection) {
  const std::scoped_lock lock(mutex_);
  const auto found =
      std::find_if(guests_.begin(), guests_.end(), [&](const auto& guest) { return guest.second.peer == peer; });
  if (found != guests_.end()) found->second.connection = connection;
}

void Door::is_sent_away(int connection, std::string_view reason, Clock::time_point now) {
  std::vector<std::string> lines;
  {
    const std::scoped_lock lock(mutex_);
    const auto found = std::find_if(guests_.begin(), guests_.end(),
                                    [&](const auto& guest) { return guest.second.connection == connection; });
    if (found == guests_.end() || found->second.sent_away) return;
    found->second.sent_away = true;
    refuse(found->second.peer, reason, now, lines);
  }
  log_all(lines);
}

void Door::leaves(int descriptor, Clock::time_point now) {
  std::vector<std::string> lines;
  {
    const std::scoped_lock lock(mutex_);
    const auto found = guests_.find(descriptor);
    if (found == guests_.end()) return;
    const Guest& guest = found->second;
    if (guest.connection == 0) {
      refuse(guest.peer, guest.reason.empty() ? "it went before it had shown who it is" : guest.reason, now, lines);
    }
    guests_.erase(found);
  }
  log_all(lines);
}

void Door::look_around(Clock::time_point now) {
  std::vector<std::string> lines;
  {
    const std::scoped_lock lock(mutex_);
    for (auto& [descriptor, guest] : guests_) {
      if (guest.connection != 0 || guest.sent_away || now - guest.since < kLongestWait) continue;
      send_away(descriptor, guest, fmt::format("it hadn't shown who it is after {} s", kLongestWait.count()));
    }
    for (auto entry = refusals_.begin(); entry != refusals_.end();) {
      Refusal& refusal = entry->second;
      if (now - refusal.reported < kReportPeriod) {
        ++entry;
      } else if (refusal.unreported == 0) {
        entry = refusals_.erase(entry);
      } else {
        const auto& [host, our_port, reason] = entry->first;
        lines.push_back(fmt::format("refused {} more connections from {} at port {}: {}", refusal.unreported, host,
                                    our_port, reason));
        refusal = {0, now};
        ++entry;
      }
    }
  }
  log_all(lines);
}

std::uint64_t Door::refused() const {
  const std::scoped_lock lock(mutex_);
  return refused_;
}

// Its descriptor is still its own, because leaves() comes before it is closed.
void Door::send_away(int descriptor, Guest& guest, std::string reason) {
  guest.sent_away = true;
  if (guest.reason.empty()) guest.reason = std::move(reason);
  ::shutdown(descriptor, SHUT_RDWR);
}

void Door::refuse(const PeerAddress& peer, std::string_view reason, Clock::time_point now,
                  std::vector<std::string>& lines) {
  ++refused_;
  Key key{peer.host, peer.our_port, reason};
  if (!refusals_.contains(key) && refusals_.size() >= kMostKnown) key = {"other peers", 0, "for various reasons"};
  const auto [entry, is_new] = refusals_.try_emplace(std::move(key), Refusal{0, now});
  if (!is_new) {
    ++entry->second.unreported;
    return;
  }
  const auto& [host, our_port, why] = entry->first;
  lines.push_back(fmt::format("refused a connection from {} at port {}: {}", host, our_port, why));
}

}  // namespace onnx_split::transport
