// Small random instances of the planner's problem: networks of up to 8 nodes on up to 4 devices that differ in all that
// the model knows. Seeded.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "base/random.h"
#include "partition/search.h"
#include "tests/partition/small_network.h"

namespace onnx_split::testing {

struct Instance {
  Graph graph;
  ClusterModel model;
  SearchOptions options;
  std::vector<std::size_t> cuts;
};

// The same devices, listed in another order: device order[i] becomes device i.
inline ClusterModel listed_as(const ClusterModel& model, const std::vector<std::size_t>& order) {
  ClusterModel other = model;
  std::vector<std::size_t> place(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    other.devices[i] = model.devices[order[i]];
    place[order[i]] = i;
  }
  other.pairs.clear();
  for (const auto& [pair, link] : model.pairs) other.pairs[{place[pair.first], place[pair.second]}] = link;
  return other;
}

class RandomInstance {
 public:
  explicit RandomInstance(std::uint64_t seed) : random_(seed) {}

  Instance make() {
    const auto nodes = static_cast<std::size_t>(random_.integer(1, 8));
    const auto devices = static_cast<std::size_t>(random_.integer(1, 4));
    return make(nodes, devices);
  }

  Instance make(std::size_t nodes, std::size_t devices) {
    Instance instance{SmallNetwork(random_.next()).make(nodes, coin(0.4)), {}, {}, {}};
    instance.cuts = all_cuts(instance.graph);
    add_devices(instance, devices);
    add_options(instance);
    if (coin(0.35)) limit_memory(instance);
    number_kinds(instance.model);
    if (instance.options.objective == Objective::kThroughput && coin(0.3)) limit_latency(instance);
    return instance;
  }

  // As make_cluster_model does: in the order of the names.
  static void number_kinds(ClusterModel& model) {
    std::vector<std::size_t> order(model.devices.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return model.devices[a].name < model.devices[b].name; });
    const auto has_pairs = [&](std::size_t d) {
      return std::any_of(model.pairs.begin(), model.pairs.end(),
                         [&](const auto& pair) { return pair.first.first == d || pair.first.second == d; });
    };
    std::vector<std::size_t> first;  // of each kind
    for (const std::size_t d : order) {
      DeviceModel& device = model.devices[d];
      const auto found = std::find_if(first.begin(), first.end(), [&](std::size_t r) {
        const DeviceModel& other = model.devices[r];
        return device.times == other.times && device.memory_bytes == other.memory_bytes && !has_pairs(d) &&
               !has_pairs(r);
      });
      device.kind = static_cast<std::size_t>(found - first.begin());
      if (found == first.end()) first.push_back(d);
    }
    model.kinds = first.size();
  }

 private:
  bool coin(double chance) { return random_.uniform() < static_cast<float>(chance); }
  double between(double low, double high) { return low + (high - low) * static_cast<double>(random_.uniform()); }
  // Of numbers whose sizes differ.
  double scale(double low, double high) { return low * std::pow(high / low, between(0.0, 1.0)); }

  void add_devices(Instance& instance, std::size_t count) {
    std::vector<std::string> names{"a", "b", "c", "d", "e", "f"};
    for (std::size_t i = names.size(); i > 1; --i) {
      std::swap(names[i - 1], names[static_cast<std::size_t>(random_.integer(0, static_cast<std::int64_t>(i) - 1))]);
    }
    std::vector<double> like;  // what nodes take, but for each device's own likings
    for (const Node& node : instance.graph.nodes()) {
      const bool is_layer = node.op == OpType::kConv || node.op == OpType::kGemm;
      like.push_back(coin(0.1) ? 0.0 : scale(1e-4, is_layer ? 2e-2 : 1e-3));
    }
    // Messages that cost next to nothing, that matter, and that matter more than all else.
    const double message_scale = scale(1e-3, 3.0), byte_scale = scale(1e-3, 3.0);
    for (std::size_t d = 0; d < count; ++d) {
      if (d > 0 && coin(0.35)) {
        const DeviceModel same =
            instance.model.devices[static_cast<std::size_t>(random_.integer(0, static_cast<std::int64_t>(d) - 1))];
        instance.model.devices.push_back(same);
        instance.model.devices.back().name = names[d];
        continue;
      }
      DeviceModel device;
      device.name = names[d];
      std::vector<double> seconds;
      const double speed = scale(0.3, 3.0);
      for (const double s : like) seconds.push_back(s * speed * between(0.5, 2.0));
      device.times = std::make_shared<NodeTimes>(NodeTimes::from_seconds(seconds));
      device.send = {message_scale * between(0.0, 1e-3), byte_scale * between(0.0, 1e-6)};
      device.receive = {message_scale * between(0.0, 1e-3), byte_scale * between(0.0, 1e-6)};
      device.up_bytes_per_s = scale(1e5, 1e8);
      device.down_bytes_per_s = scale(1e5, 1e8);
      device.latency_s = coin(0.2) ? 0.0 : scale(1e-5, 1e-2);
      device.idle_bytes = coin(0.5) ? 0 : random_.integer(1, 20'000);
      instance.model.devices.push_back(device);
    }
    for (std::size_t from = 0; from < count; ++from) {
      for (std::size_t to = 0; to < count; ++to) {
        if (from != to && coin(0.08)) instance.model.pairs[{from, to}] = {scale(5e4, 1e8), scale(1e-5, 2e-2)};
      }
    }
    if (coin(0.2)) instance.model.medium_bytes_per_s = scale(2e5, 1e8);
    if (coin(0.2)) instance.model.coordinator_bytes_per_s = scale(2e5, 1e8);
  }

  void add_options(Instance& instance) {
    instance.options.objective = coin(0.5) ? Objective::kThroughput : Objective::kLatency;
    instance.options.space.replicas = coin(0.75);
    instance.options.space.splits = coin(0.7);
    if (coin(0.15)) instance.options.space.most_ways = 2;
  }

  // What each device would need for the whole network, times something around 1 or far below it.
  void limit_memory(Instance& instance) {
    const double tight = scale(0.25, 1.3);
    for (DeviceModel& device : instance.model.devices) {
      if (coin(0.2)) continue;
      std::int64_t alone = device.idle_bytes;
      for (const Value& value : instance.graph.values()) {
        if (value.constant || value.producer.valid()) alone += static_cast<std::int64_t>(value.type.size_bytes());
      }
      device.memory_bytes =
          std::max<std::int64_t>(1, static_cast<std::int64_t>(static_cast<double>(alone) * tight * between(0.7, 1.4)));
    }
  }

  void limit_latency(Instance& instance) {
    StageShapes shapes(instance.graph, instance.model, instance.cuts);
    const CostModel cost(instance.model, shapes);
    double alone_s = 0.0;
    for (std::size_t d = 0; d < instance.model.devices.size(); ++d) {
      const double latency_s = cost.of({{0, shapes.segments(), {}, 1, {d}}}).latency_s;
      if (d == 0 || latency_s < alone_s) alone_s = latency_s;
    }
    instance.options.max_latency_s = alone_s * scale(0.6, 2.5);
  }

  Random random_;
};

// A plan in words that don't depend on the order of the devices in the cluster.
inline std::string describe(const Candidate& candidate, const ClusterModel& model) {
  std::string text;
  for (const CandidateStage& stage : candidate) {
    text +=
        fmt::format("[{}, {}) {} {}", stage.begin, stage.end, split_name(stage.division.split), stage.division.ways);
    if (stage.division.grid.columns > 1) {
      text += fmt::format(" as {}x{}", stage.division.grid.rows, stage.division.grid.columns);
    }
    if (!stage.division.weights.empty()) text += fmt::format(" by {}", fmt::join(stage.division.weights, ":"));
    text += fmt::format(", {} replicas:", stage.replicas);
    for (const std::size_t d : stage.devices) text += " " + model.devices[d].name;
    text += "\n";
  }
  return text;
}

// All that a search is asked, to find out what went wrong.
inline std::string describe(const Instance& instance) {
  std::string text = to_text(instance.graph);
  for (const DeviceModel& device : instance.model.devices) {
    text += fmt::format(
        "{}: kind {}, send {} + {}/B, receive {} + {}/B, up {}, down {}, latency {}, memory {} idle {}\n ", device.name,
        device.kind, device.send.message_s, device.send.byte_s, device.receive.message_s, device.receive.byte_s,
        device.up_bytes_per_s, device.down_bytes_per_s, device.latency_s, device.memory_bytes, device.idle_bytes);
    for (std::size_t i = 0; i < instance.graph.node_count(); ++i) {
      text += fmt::format(" {:.3g}", device.times->node_s(NodeId(i)));
    }
    text += "\n";
  }
  for (const auto& [pair, link] : instance.model.pairs) {
    text += fmt::format("{} to {}: {} {}\n", instance.model.devices[pair.first].name,
                        instance.model.devices[pair.second].name, link.bytes_per_s, link.latency_s);
  }
  const SearchOptions& options = instance.options;
  return text + fmt::format("medium {} coordinator {}; {} max_latency {} replicas {} splits {} ways {}\n",
                            instance.model.medium_bytes_per_s, instance.model.coordinator_bytes_per_s,
                            options.objective == Objective::kLatency ? "latency" : "throughput", options.max_latency_s,
                            options.space.replicas, options.space.splits, options.space.most_ways);
}

}  // namespace onnx_split::testing
