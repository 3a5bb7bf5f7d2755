#include "partition/node_times.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>

#include "base/check.h"
#include "graph/operators.h"

namespace onnx_split {
namespace {

// Which curve a split reads; a pair's first layer is divided like output channels, and its second like input channels.
std::size_t curve_of(Split split) {
  switch (split) {
    case Split::kOutputChannel: return 1;
    case Split::kInputChannel: return 2;
    default: return 0;
  }
}

double total_ms(const DeviceProfile& device, std::string_view node) {
  const auto found = device.nodes.find(node);
  return found == device.nodes.end() ? -1.0 : found->second.median_ms;
}

}  // namespace

NodeTimes NodeTimes::from_seconds(std::vector<double> whole_s) {
  NodeTimes times;
  times.overhead_s_.assign(whole_s.size(), 0.0);
  times.curves_.resize(whole_s.size());
  times.whole_s_ = std::move(whole_s);
  times.find_least();
  return times;
}

NodeTimes NodeTimes::scaled(std::span<const double> factors) const {
  CHECK(factors.size() == whole_s_.size());
  NodeTimes times = *this;
  for (std::vector<double>* seconds : {&times.whole_s_, &times.least_s_}) {
    std::transform(seconds->begin(), seconds->end(), factors.begin(), seconds->begin(), std::multiplies<>());
  }
  return times;
}

NodeTimes NodeTimes::from_roofline(const Graph& graph, const Roofline& roofline) {
  std::vector<double> seconds;
  for (const Node& node : graph.nodes()) {
    const NodeCost cost = node_cost(graph, node);
    double bytes = static_cast<double>(cost.weight_bytes + cost.activation_bytes);
    for (const ValueId input : node.inputs) {
      const Value& value = graph.value(input);
      if (!value.constant) bytes += static_cast<double>(value.type.size_bytes());
    }
    const double compute_s = 2.0 * static_cast<double>(cost.macs) / (roofline.gflops * 1e9);
    seconds.push_back(roofline.node_s + std::max(compute_s, bytes / roofline.memory_bytes_per_s));
  }
  NodeTimes times = from_seconds(std::move(seconds));
  std::fill(times.overhead_s_.begin(), times.overhead_s_.end(), roofline.node_s);
  times.border_byte_s_ = 2.0 / roofline.memory_bytes_per_s;
  return times;
}

NodeTimes NodeTimes::from_profiles(const Graph& graph, std::span<const DeviceProfile* const> devices) {
  CHECK(!devices.empty());
  NodeTimes times;
  const std::size_t nodes = graph.node_count();
  times.whole_s_.assign(nodes, 0.0);
  times.overhead_s_.assign(nodes, 0.0);
  times.curves_.resize(nodes);
  // Slices by node, kind and fraction: processor time, the mean over the devices.
  std::vector<std::map<std::pair<Split, double>, std::pair<double, int>>> slices(nodes);
  double slowdown = 0.0;
  for (const DeviceProfile* device : devices) {
    slowdown += device->slowdown / static_cast<double>(devices.size());
    times.border_byte_s_ += device->reorder_byte_ns * 1e-9 * device->slowdown / static_cast<double>(devices.size());
    for (const SliceTiming& slice : device->slices) {
      const auto node = graph.find_node(slice.node);
      if (!node) continue;
      auto& [sum, count] = slices[node->index()][{slice.split, slice.fraction}];
      sum += slice.time.median_ms;
      ++count;
    }
  }
  for (std::size_t i = 0; i < nodes; ++i) {
    std::array<std::map<double, double>, 3> measured;  // fraction → ms
    double alone_ms = 0.0;                             // the whole node, measured like its slices
    for (const auto& [key, sum] : slices[i]) {
      const double ms = sum.first / sum.second;
      if (key.first == Split::kWhole) {
        alone_ms = ms;
      } else {
        measured[curve_of(key.first)][key.second] = ms;
      }
    }
    double whole_ms = 0.0;
    int known = 0;
    for (const DeviceProfile* device : devices) {
      const double ms = total_ms(*device, graph.nodes()[i].name);
      if (ms < 0.0) continue;
      whole_ms += ms;
      ++known;
    }
    if (known > 0) whole_ms /= known;
    if (known == 0 || alone_ms == 0.0) {
      // Too large for these devices: from the largest share of it.
      double largest = 0.0;
      for (const auto& by_fraction : measured) {
        if (by_fraction.empty() || by_fraction.rbegin()->first <= largest) continue;
        largest = by_fraction.rbegin()->first;
        alone_ms = by_fraction.rbegin()->second / largest;
      }
      if (known == 0) whole_ms = alone_ms;
    }
    times.whole_s_[i] = whole_ms * 1e-3 * slowdown;
    if (alone_ms <= 0.0) continue;
    for (std::size_t kind = 0; kind < measured.size(); ++kind) {
      Curve& curve = times.curves_[i][kind];
      for (const auto& [fraction, ms] : measured[kind]) {
        if (fraction > 0.0 && fraction < 1.0) curve.push_back({fraction, ms / (fraction * alone_ms)});
      }
      if (!curve.empty()) curve.push_back({1.0, 1.0});
    }
  }
  times.find_least();
  return times;
}

double NodeTimes::share_s(NodeId node, Split split, double fraction) const {
  const std::size_t i = node.index();
  const double overhead_s = std::min(overhead_s_[i], whole_s_[i]);
  if (fraction >= 1.0) return whole_s_[i];
  const double proportional_s = overhead_s + fraction * (whole_s_[i] - overhead_s);
  const Curve& curve = curves_[i][curve_of(split)];
  if (curve.size() < 2) return proportional_s;
  // Linear in the logarithm of the fraction; below the smallest that was measured it only gets worse.
  std::size_t upper = 1;
  while (upper + 1 < curve.size() && curve[upper].fraction < fraction) ++upper;
  const Point& a = curve[upper - 1];
  const Point& b = curve[upper];
  const double place = std::log(fraction / a.fraction) / std::log(b.fraction / a.fraction);
  const double factor = a.factor + place * (b.factor - a.factor);
  return proportional_s * (fraction < a.fraction ? std::max(factor, a.factor) : factor);
}

void NodeTimes::find_least() {
  least_s_.resize(whole_s_.size());
  for (std::size_t i = 0; i < whole_s_.size(); ++i) {
    double factor = 1.0;
    for (const Curve& curve : curves_[i]) {
      for (const Point& point : curve) factor = std::min(factor, point.factor);
    }
    least_s_[i] = whole_s_[i] * factor;
  }
}

}  // namespace onnx_split
