// What a plan will do on its devices, and from which rates that was concluded: enough to simulate the plan without the
// network or a profile. Plain data, a part of the plan.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace onnx_split {

// What a device can do, as the plan's prediction and its simulation take it; seconds by the clock.
struct DeviceRates {
  double send_message_s = 0.0;  // processor time of a message, and of each byte of its payload
  double send_byte_s = 0.0;
  double receive_message_s = 0.0;
  double receive_byte_s = 0.0;
  double up_bytes_per_s = 0.0;  // of its own link, to and from the network
  double down_bytes_per_s = 0.0;
  double latency_s = 0.0;  // of a message from it
  // A quota lets it run, at full speed, for quota_s of each period_s: times by the clock are the mean of running and
  // standing still. 0: there is none.
  double quota_s = 0.0;
  double period_s = 0.0;

  bool operator==(const DeviceRates&) const = default;
};

// How busy a device is for each request, on average over the schedules.
struct DeviceLoad {
  double compute_s = 0.0;
  double receive_s = 0.0;               // processor time
  double send_s = 0.0;                  // processor time
  double up_s = 0.0;                    // of its own link, sending
  double down_s = 0.0;                  // receiving
  std::int64_t memory_bytes = 0;        // weights, activations, waiting inputs and the runner itself
  std::int64_t memory_limit_bytes = 0;  // 0: none

  double busy_s() const { return compute_s + receive_s + send_s; }
  bool operator==(const DeviceLoad&) const = default;
};

// A link between two devices that isn't as their own links say.
struct LinkRates {
  std::size_t from = 0;
  std::size_t to = 0;
  double bytes_per_s = 0.0;
  double latency_s = 0.0;

  bool operator==(const LinkRates&) const = default;
};

// What the plan will do on its devices (docs/planner.md), and from which rates that was concluded.
struct Prediction {
  double throughput_per_s = 0.0;
  double latency_s = 0.0;        // of one request alone
  std::string bottleneck;        // "device \"pi3\"", "device \"pi3\"'s link, sending", "the shared medium", …
  double bound_per_s = 0.0;      // no plan's throughput is above this
  double bound_latency_s = 0.0;  // no plan's latency is below this
  double single_per_s = 0.0;     // of the device that is best alone
  double single_latency_s = 0.0;
  std::string single_device;
  bool single_fits = true;         // in its memory
  bool optimal = false;            // SearchResult::exact
  std::vector<DeviceRates> rates;  // by device
  std::vector<DeviceLoad> loads;   // by device
  std::vector<LinkRates> links;
  double medium_bytes_per_s = 0.0;       // of all messages together; 0: no shared medium
  double coordinator_bytes_per_s = 0.0;  // each direction; 0: no limit

  bool operator==(const Prediction&) const = default;
};

}  // namespace onnx_split
