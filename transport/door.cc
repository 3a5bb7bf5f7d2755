#include "transport/door.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <spdlog/spdlog.h>
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

std::string crowded() { return fmt::format("more than {} were waiting to be let in", Door::kMostWaiting); }

// Outside the door's mutex: a log may be slow.
void log_all(const std::vector<std::string>& lines) {
  if (lines.empty()) return;
  Log& log = the_log();
  const std::scoped_lock lock(log.mutex);
  if (!log.is_open) return;
  for (const std::string& line : lines) log_info("{}", line);
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
    if (const auto reason = why_not(peer, now)) {
      welcome = false;
      refuse(peer, *reason, now, lines);
    } else {
      make_room();
      guests_.insert_or_assign(descriptor, Guest{std::move(peer), now, {}});
    }
  }
  log_all(lines);
  return welcome;
}

// Nothing: it may wait. The lock is the caller's.
std::optional<std::string> Door::why_not(const PeerAddress& peer, Clock::time_point now) const {
  std::size_t outside = 0;  // waiting or being sent away
  std::size_t outside_of_host = 0;
  std::size_t of_host = 0;
  for (const auto& [descriptor, guest] : guests_) {
    const bool is_of_host = guest.peer.host == peer.host;
    const bool is_outside = guest.connection == 0;
    of_host += is_of_host ? 1 : 0;
    outside += is_outside ? 1 : 0;
    outside_of_host += is_of_host && is_outside ? 1 : 0;
  }
  if (guests_.size() >= kMostOfAll) return fmt::format("{} connections are here already", kMostOfAll);
  if (of_host >= kMostOfOneHost) return fmt::format("{} connections of this host are here already", kMostOfOneHost);
  const auto failures = failures_.find(peer.host);
  if (failures != failures_.end() && failures->second.count >= kMostFailures &&
      now - failures->second.since < kFailurePeriod) {
    return fmt::format("{} connections of this host failed within a second", kMostFailures);
  }
  const std::size_t most = outside_of_host < kFewOfOneHost ? 4 * kMostWaiting : 2 * kMostWaiting;
  if (outside >= most) return crowded();
  return std::nullopt;
}

// For one more that waits. The lock is the caller's.
void Door::make_room() {
  std::map<std::string_view, std::size_t> waiting_of;
  std::size_t waiting = 0;
  for (const auto& [descriptor, guest] : guests_) {
    if (guest.connection != 0 || guest.sent_away) continue;
    ++waiting;
    ++waiting_of[guest.peer.host];
  }
  if (waiting < kMostWaiting) return;
  const auto goes_before = [&](const auto& a, const auto& b) {
    const std::size_t of_a = waiting_of[a->second.peer.host], of_b = waiting_of[b->second.peer.host];
    return of_a != of_b ? of_a > of_b : a->second.since < b->second.since;
  };
  auto chosen = guests_.end();
  for (auto guest = guests_.begin(); guest != guests_.end(); ++guest) {
    if (guest->second.connection != 0 || guest->second.sent_away) continue;
    if (chosen == guests_.end() || goes_before(guest, chosen)) chosen = guest;
  }
  send_away(chosen->first, chosen->second, crowded());
}

void Door::fails(int descriptor, std::string reason) {
  const std::scoped_lock lock(mutex_);
  const auto found = guests_.find(descriptor);
  if (found == guests_.end() || !found->second.reason.empty()) return;
  found->second.reason = std::move(reason);
  found->second.failed = true;
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
    count_failure(found->second.peer.host, now);
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
    if (guest.failed) count_failure(guest.peer.host, now);
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

void Door::count_failure(const std::string& host, Clock::time_point now) {
  if (failures_.size() >= kMostKnown) {
    std::erase_if(failures_, [&](const auto& entry) { return now - entry.second.since >= kFailurePeriod; });
  }
  if (failures_.size() >= kMostKnown && !failures_.contains(host)) return;
  Failures& failures = failures_[host];
  if (now - failures.since >= kFailurePeriod) failures = {now, 0};
  ++failures.count;
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
