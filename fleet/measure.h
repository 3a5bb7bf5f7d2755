// Makes a profile: asks the runners of a cluster to measure the network's nodes, shares of its layers, and the messages
// between them. Each device is measured at the same time as all others, as they will work, and by itself: links, where
// a device is in one pair at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "partition/profile.h"
#include "transport/tls.h"

namespace onnx_split {

struct MeasuredDevice {
  std::string name;
  std::string url;                 // of its runner's control port
  std::uint64_t memory_bytes = 0;  // that it may use, where that is less than the runner says; 0: unknown
};

struct MeasureOptions {
  std::shared_ptr<const transport::TlsIdentity> identity;  // a coordinator's, for runners at tls+tcp://
  std::chrono::milliseconds connect_timeout{2000};
  bool quick = false;  // fewer passes, shares and pings: a fraction of the time, and less exact
  // Called, by one thread at a time, when a piece of the work is done.
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;
  // Asked all the while: true gives up with kCancelled.
  std::function<bool()> interrupted;
};

// The profile fits the graph (check_profile). One device has no links; its messages are measured between it and this
// process. Of more than nine devices each is measured with seven or eight others only. Errors begin with
// `device "pi2": `: no connection, a runner that is in use, a node of which nothing fits the device's memory.
Expected<Profile> measure_profile(const Graph& graph, const std::vector<MeasuredDevice>& devices,
                                  const MeasureOptions& options = {});

// Who measures links with whom: rounds of pairs, in which every device is in at most one pair, and in all of them
// together in each pair at most once. At most `most_rounds` rounds.
std::vector<std::vector<std::pair<std::size_t, std::size_t>>> pair_rounds(std::size_t devices, std::size_t most_rounds);

}  // namespace onnx_split
