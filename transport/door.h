// Who knocks at this process' listening sockets and isn't let in: limits to how many may knock at once and for how
// long, how many a host may have, and how often it may fail; and one line in the log for each of them, however often it
// comes.
//
// nng 1.5 keeps a peer that is silent in the middle of a TLS handshake for ever, accepts any number of them, and tells
// nobody why a handshake failed. So what it does with accepted connections is watched from below (nng_door.cc tells
// when one is accepted, fails and is closed), and from above (socket_core.cc tells when one has shown who it is). What
// has taken too long is shut down as its peer would do it, and nng clears it away.
//
// One for the process, because descriptors and memory are the process'. Thread-safe.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

namespace onnx_split::transport {

// Of an accepted connection, as numbers: "10.0.0.7".
struct PeerAddress {
  std::string host;
  std::uint16_t port = 0;
  std::uint16_t our_port = 0;

  auto operator<=>(const PeerAddress&) const = default;
};

// Nothing if the descriptor isn't a TCP connection that is established.
std::optional<PeerAddress> peer_of(int descriptor);

class Door {
 public:
  using Clock = std::chrono::steady_clock;

  // Beyond that one is sent away for each that comes: of the host of which most wait the one that has waited longest.
  // So a flood from one host takes no other host's place.
  static constexpr std::size_t kMostWaiting = 64;
  // Those that wait and those that are being sent away take twice as many descriptors at most; four times as many for
  // hosts of which fewer than this are among them.
  static constexpr std::size_t kFewOfOneHost = 8;
  static constexpr std::chrono::seconds kLongestWait{10};
  // Of one host, those that wait and those that are being sent away included: less than a process may usually have
  // descriptors. One more is refused.
  static constexpr std::size_t kMostOfOneHost = 256;
  // Of all hosts, in or not: half of what a process may usually have.
  static constexpr std::size_t kMostOfAll = 512;
  // Of one host's connections as many may fail in their handshake (who hangs up in the middle doesn't), or be sent away
  // for what they send, in so long. Until that is over it is refused before the next handshake, which costs more than
  // anything else that a stranger can ask.
  static constexpr std::size_t kMostFailures = 16;
  static constexpr std::chrono::seconds kFailurePeriod{1};
  // Who is refused again for the same reason is counted, and mentioned so seldom.
  static constexpr std::chrono::seconds kReportPeriod{60};
  // Of (peer, port, reason) that are told apart.
  static constexpr std::size_t kMostKnown = 256;

  static Door& of_this_process();

  // A connection was accepted. False: there are too many, or too many of its host's have failed; it must be closed at
  // once.
  bool knocks(int descriptor, PeerAddress peer, Clock::time_point now = Clock::now());
  // Why it isn't let in, as far as that is known before it is closed.
  void fails(int descriptor, std::string reason);
  // It has shown who it is; from here on it is known by nng's number for it.
  void comes_in(const PeerAddress& peer, int connection);
  // Somebody who is in is sent away by the caller.
  void is_sent_away(int connection, std::string_view reason, Clock::time_point now = Clock::now());
  // Before its descriptor is closed, which then may be another connection's.
  void leaves(int descriptor, Clock::time_point now = Clock::now());
  // Sends away who has waited too long, and reports who has come again. To be called every second or so.
  void look_around(Clock::time_point now = Clock::now());

  // Connections so far that didn't come in, or were sent away.
  std::uint64_t refused() const;

 private:
  struct Guest {
    PeerAddress peer;
    Clock::time_point since;
    std::string reason;
    int connection = 0;  // 0: waits
    bool sent_away = false;
    bool failed = false;  // in its handshake
  };
  struct Failures {
    Clock::time_point since;
    std::size_t count = 0;
  };
  struct Refusal {
    std::uint64_t unreported = 0;
    Clock::time_point reported;
  };
  using Key = std::tuple<std::string, std::uint16_t, std::string>;  // host, our port, reason

  std::optional<std::string> why_not(const PeerAddress& peer, Clock::time_point now) const;
  void make_room();
  void send_away(int descriptor, Guest& guest, std::string reason);
  void count_failure(const std::string& host, Clock::time_point now);
  void refuse(const PeerAddress& peer, std::string_view reason, Clock::time_point now, std::vector<std::string>& lines);

  mutable std::mutex mutex_;
  std::map<int, Guest> guests_;               // by descriptor
  std::map<std::string, Failures> failures_;  // by host; the last second's, or older
  std::map<Key, Refusal> refusals_;
  std::uint64_t refused_ = 0;
};

}  // namespace onnx_split::transport
