// What the planner knows of a cluster: what nodes and messages take on each device and each link, in seconds and bytes.
// Made from a cluster file and, where there is one, a profile; what neither says gets the defaults below.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graph/operators.h"
#include "partition/cluster.h"
#include "partition/node_times.h"
#include "partition/profile.h"

namespace onnx_split {

// Seconds by the clock that a message keeps a device's processor busy.
struct MessageTime {
  double message_s = 0.0;
  double byte_s = 0.0;

  double of(double messages, double bytes) const { return messages * message_s + bytes * byte_s; }
  bool operator==(const MessageTime&) const = default;
};

struct DeviceModel {
  std::string name;
  std::size_t kind = 0;  // devices of one kind are equal in everything but their names and link exceptions
  std::shared_ptr<const NodeTimes> times;
  MessageTime send;
  MessageTime receive;
  double up_bytes_per_s = 0.0;  // of its own link, to and from the network
  double down_bytes_per_s = 0.0;
  double latency_s = 0.0;         // of a message from it to any other device
  std::int64_t memory_bytes = 0;  // 0: no limit
  std::int64_t idle_bytes = 0;    // of the runner without any part
  double quota_s = 0.0;           // as DeviceRates has it
  double period_s = 0.0;
};

struct PairLink {
  double bytes_per_s = 0.0;
  double latency_s = 0.0;
};

// The bytes that a runner lays out for an application of an operator in place of its constants; nothing, or no
// function: it keeps them as they are.
using LaidOutWeights = std::function<std::optional<std::int64_t>(OpType, const OpCall&)>;

struct ClusterModel {
  std::vector<DeviceModel> devices;
  std::size_t kinds = 1;
  std::map<std::pair<std::size_t, std::size_t>, PairLink> pairs;  // (from, to) that differ from the devices' own links
  double medium_bytes_per_s = 0.0;       // of all messages together, where they share one medium; 0: they don't
  double coordinator_bytes_per_s = 0.0;  // of the coordinator's link, each direction; 0: no limit

  LaidOutWeights laid_out_weight_bytes;

  PairLink link(std::size_t from, std::size_t to) const;
};

// What a device is taken for where nothing says better.
struct ModelDefaults {
  Roofline roofline;  // for one thread
  double bandwidth_mbps = 940.0;
  double latency_ms = 0.3;
  MessageTime send{50e-6, 1e-9};  // with all of its processor
  MessageTime receive{50e-6, 1e-9};
  std::int64_t idle_bytes = 24 << 20;
};

// `profile` (may be null) must fit the graph. Devices that it doesn't name are an error (kNotFound), unless it is of
// one device only, which then stands for all. Devices that say they are the same machine and measure alike, within
// 15 %, become one kind with their mean: what is left of the difference is chance, and chasing it makes worse plans.
Expected<ClusterModel> make_cluster_model(const Graph& graph, const Cluster& cluster, const Profile* profile,
                                          const ModelDefaults& defaults = {});

}  // namespace onnx_split
