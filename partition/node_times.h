// What a network's nodes, and shares of them, take on one kind of device: from a profile, or by a roofline where
// nothing was measured. docs/planner.md has the formulas. Immutable; safe to read from any number of threads.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "graph/graph.h"
#include "partition/profile.h"

namespace onnx_split {

// A device that nobody measured: so many operations a second, and so many bytes of weights and activations. (Williams,
// Waterman, Patterson, "Roofline: an insightful visual performance model", 2009.)
struct Roofline {
  double gflops = 10.0;
  double memory_bytes_per_s = 4e9;
  double node_s = 2e-6;  // for each node, whatever it does
};

class NodeTimes {
 public:
  static NodeTimes from_roofline(const Graph& graph, const Roofline& roofline);
  // The mean of devices that are taken as equal (at least one), by the clock. The profiles must fit the graph
  // (check_profile).
  static NodeTimes from_profiles(const Graph& graph, std::span<const DeviceProfile* const> devices);
  // For tests: by node, with shares in proportion.
  static NodeTimes from_seconds(std::vector<double> whole_s);

  // Each node's times, and those of its shares, so many times as long.
  NodeTimes scaled(std::span<const double> factors) const;

  // Seconds by the clock for the whole node.
  double node_s(NodeId node) const { return whole_s_[node.index()]; }
  // For the share of a node that has `fraction` of its MACs (or, without MACs, of its elements), in (0, 1]. `split`:
  // what is divided; grids count as rows.
  double share_s(NodeId node, Split split, double fraction) const;

  // Seconds by the clock in which a byte of a stage's inputs or outputs is brought into the kernels' layout or back,
  // put together or cut out. Of the network's own inputs and outputs it is in the nodes' times.
  double border_byte_s() const { return border_byte_s_; }

  // The least that all shares of the node can take together, however it is divided: its best time per MAC.
  double least_s(NodeId node) const { return least_s_[node.index()]; }

 private:
  // Time of a share over its fraction of the whole node's time, at measured fractions in increasing order.
  struct Point {
    double fraction = 1.0;
    double factor = 1.0;
  };
  using Curve = std::vector<Point>;

  void find_least();

  double border_byte_s_ = 0.0;
  std::vector<double> whole_s_;
  std::vector<double> least_s_;
  std::vector<double> overhead_s_;            // of a share, however small
  std::vector<std::array<Curve, 3>> curves_;  // by node: rows, output channels, input channels; may be empty
};

}  // namespace onnx_split
