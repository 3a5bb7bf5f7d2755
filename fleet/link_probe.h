// What messages cost between two processes, measured with frames of the data plane over its sockets: one end answers,
// the other pings it. Each frame is sealed by its sender and checked by its receiver, as tensors' frames are.
//
// A ping says how large its answer is to be, so one pair of ends measures both directions. The answering end only
// listens and the pinging end only dials, as runner and coordinator do.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/json.h"
#include "fleet/companion.h"
#include "transport/push_pull.h"

namespace onnx_split {

inline constexpr std::int64_t kMaxProbeBytes = std::int64_t{4} << 20;

struct LinkUrls {
  std::string pings;    // the answering end receives there
  std::string answers;  // and sends there
};

// The answering end: a thread of its own, until it is destroyed.
class LinkAnswerer {
 public:
  // Listens on `host`, at `port` for pings (0: chosen by the system). Frames of another epoch are dropped.
  // With an identity, which is a device's, at tls+tcp://.
  static Expected<std::unique_ptr<LinkAnswerer>> create(const std::string& host, std::uint16_t port,
                                                        std::uint64_t epoch,
                                                        std::shared_ptr<const transport::TlsIdentity> identity = {});
  ~LinkAnswerer();

  const LinkUrls& urls() const { return urls_; }
  std::uint64_t epoch() const { return epoch_; }
  // Whether nobody has pinged for so long; if somebody has gone, who may be the pinging end, for a second.
  bool abandoned(std::chrono::milliseconds lease) const {
    const auto silent = std::chrono::steady_clock::now() - last_heard_.load();
    return silent > lease || (gone_ && silent > std::chrono::seconds(1));
  }

 private:
  explicit LinkAnswerer(std::uint64_t epoch) : epoch_(epoch), last_heard_(std::chrono::steady_clock::now()) {}
  void answer_loop();
  Expected<void> answer(const transport::Message& ping);

  std::uint64_t epoch_;
  LinkUrls urls_;
  std::optional<transport::PullSocket> pings_;
  std::optional<transport::PushSocket> answers_;
  transport::Message prepared_;  // the next answer, as large as the last one
  std::int64_t excluded_ns_ = 0;
  Companion companion_;
  std::atomic<std::chrono::steady_clock::time_point> last_heard_;
  std::atomic<bool> gone_{false};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

// Pings of one size, one after the other, after one that doesn't count.
struct PingBatch {
  std::int64_t ping_bytes = 0;    // payload
  std::int64_t answer_bytes = 0;  // at least 8
  std::int64_t pings = 5;
  bool computing = false;  // both ends compute meanwhile (fleet/companion.h)
};

struct PingPlan {
  std::uint64_t epoch = 0;
  LinkUrls urls;       // of the answering end, as the pinging one reaches it
  std::string device;  // its name
  std::vector<PingBatch> batches;
  double pause_ms = 25.0;  // before each ping: under a quota, until there is processor time again, where none computes
  double max_s = 2.0;      // for a batch, once it has had three pings
};

// By ping. Busy: processor time of the whole process but for what it computes meanwhile, from one ping to the next;
// filling the payload is left out.
struct PingTimes {
  std::vector<double> round_trip_ms;
  std::vector<double> busy_us;       // of the pinging end: a ping sent, an answer received
  std::vector<double> peer_busy_us;  // of the answering end: an answer sent, a ping received
};

// The pinging end. Errors: no connection, an answer that doesn't come within ten seconds or isn't right. Gives an
// element for each batch.
Expected<std::vector<PingTimes>> ping_link(const PingPlan& plan,
                                           std::shared_ptr<const transport::TlsIdentity> identity = {});

Json ping_plan_to_json(const PingPlan& plan);
// Errors: sizes, counts and times out of range.
Expected<PingPlan> ping_plan_from(const JsonReader& request);
Json ping_times_to_json(const std::vector<PingTimes>& times);
Expected<std::vector<PingTimes>> ping_times_from(const JsonReader& reply);

}  // namespace onnx_split
