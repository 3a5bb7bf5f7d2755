// What a profile of a network measures on a device, as jobs: runs of its nodes that fit the device's memory, and shares
// of its layers, each a node of its own. Pure functions; the results go into the device's profile.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fleet/profiler.h"
#include "graph/graph.h"
#include "partition/profile.h"

namespace onnx_split {

// A share of a layer, as one part of a stage that is divided so many ways would compute it, or all of it.
struct NodeShare {
  std::vector<std::string> nodes;  // that are equal: of the same operator, attributes and input types
  Split split = Split::kWhole;
  double fraction = 1.0;           // of the layer's MACs
  std::uint64_t border_bytes = 0;  // of its inputs that aren't constants
};

struct NodesJob {
  ProfileJob job;
  std::vector<std::string> nodes;
};

struct SharesJob {
  ProfileJob job;
  std::vector<NodeShare> shares;  // the job's graph has a node for each, in order
};

struct DeviceJobs {
  std::vector<NodesJob> nodes;
  std::vector<SharesJob> shares;
};

struct JobsOptions {
  std::uint64_t memory_bytes = 0;  // that a job may need; 0: any amount
  bool quick = false;              // fewer passes and fewer shares
};

// Every node is in one of the runs unless it doesn't fit the memory alone. Layers, that is nodes with MACs, are also
// measured whole and in shares of 1/2, 1/4 and 1/8 by rows, output channels and input channels, where they can be
// divided so, and the costliest in shares of 1/3, which a model of the others can be checked against. Where less than
// two of those fit the memory, smaller ones are measured as well. kExhausted: a node that doesn't fit, nor a share of
// it.
Expected<DeviceJobs> plan_device_jobs(const Graph& graph, const JobsOptions& options);

// Two results of one job, as if half of each were measured: the means of their times.
ProfileResult mean_of(const ProfileResult& a, const ProfileResult& b);

// Take a job's result over into the device's profile. Errors: steps that aren't the job's.
Expected<void> add_result(DeviceProfile& profile, const NodesJob& job, const ProfileResult& result);
Expected<void> add_result(DeviceProfile& profile, const SharesJob& job, const ProfileResult& result);

}  // namespace onnx_split
