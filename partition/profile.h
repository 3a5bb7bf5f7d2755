// A profile: what a network's nodes cost on each device of a cluster, and what messages cost on the links between them,
// measured on the devices themselves (`onnx-split profile`). Plain data; as a file it is JSON (profile_json.h).
//
// Times of nodes and messages are processor time: what a thread was busy, whatever else ran on the machine meanwhile
// and whatever share of a processor a quota leaves to it. How much longer it takes by the clock is `slowdown`, measured
// over seconds. So a node of a tenth of a millisecond is measured as exactly as one of a second, also under a quota.
// What only some passes meet, interruptions and the caches that are cold after them, is in `slowdown` and not in the
// medians.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "partition/plan.h"

namespace onnx_split {

// Of the measurements of one thing, after warm-up: the median, and the quartiles around it.
struct Timing {
  double median_ms = 0.0;
  double low_ms = 0.0;
  double high_ms = 0.0;

  bool operator==(const Timing&) const = default;
};

// A node of which one part of a divided stage computes a share: `fraction` of its MACs (of spatial: of its rows, of the
// channel splits: of its output or input channels). Measured alone, again and again, without what it takes to bring its
// inputs and outputs into the kernels' layout; so is the whole node (kWhole, fraction 1), to compare with.
struct SliceTiming {
  std::string node;
  Split split = Split::kWhole;
  double fraction = 1.0;
  Timing time;

  bool operator==(const SliceTiming&) const = default;
};

// Processor time that a message costs a device, checksums included.
struct MessageCost {
  double message_us = 0.0;
  double byte_ns = 0.0;  // of payload

  bool operator==(const MessageCost&) const = default;
};

struct DeviceProfile {
  std::string name;
  std::string machine;    // architecture and model: "aarch64, Raspberry Pi 4 Model B Rev 1.4"
  std::string core_type;  // of OpenBLAS
  std::string version;    // of the runner
  unsigned threads = 1;
  // Time by the clock, busy for seconds, over the medians of the processor time in it; with a quota of 10 %: 10 and
  // more.
  double slowdown = 1.0;
  // Where a quota lets it run for only a part of each period: for how long at once, and how long the period is. 0: no
  // quota was found.
  double quota_ms = 0.0;
  double period_ms = 0.0;
  std::int64_t idle_memory_bytes = 0;  // resident memory of the runner without any part, after it has computed once
  // What it takes to bring a byte of a tensor into the kernels' layout or back, as where a stage begins or ends.
  double reorder_byte_ns = 0.0;
  // Of the whole network's nodes, in passes over runs of nodes that fit the device's memory. A node that the engine
  // computes in another's epilogue has 0: the other's time has it. A node that alone is too large is missing.
  std::map<std::string, Timing, std::less<>> nodes;
  std::vector<SliceTiming> slices;
  MessageCost send;
  MessageCost receive;

  bool operator==(const DeviceProfile&) const = default;
};

// One direction between two devices.
struct LinkProfile {
  std::string from;
  std::string to;
  double latency_ms = 0.0;      // of an empty message, processor time of both ends included, nothing else being busy
  double bandwidth_mbps = 0.0;  // payload

  bool operator==(const LinkProfile&) const = default;
};

struct Profile {
  std::string model;
  std::string fingerprint;  // of the simplified graph (partition/plan.h)
  std::vector<DeviceProfile> devices;
  std::vector<LinkProfile> links;

  bool operator==(const Profile&) const = default;
};

// Whether the profile is this model's and has, for each of its devices, every node or slices of it. Errors say which
// field doesn't fit, what was expected and what was found.
Expected<void> check_profile(const Profile& profile, const Graph& graph);

}  // namespace onnx_split
