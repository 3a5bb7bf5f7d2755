// What a plan costs before it is made: throughput, latency and memory, from what its stages compute, hold and send
// (StageShapes) and what that takes on the devices and links (ClusterModel). docs/planner.md writes the model down.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "partition/prediction.h"
#include "partition/stage_shapes.h"

namespace onnx_split {

// A stage of a possible plan: the nodes from cut `begin` to cut `end` (indices into StageShapes::cuts()).
struct CandidateStage {
  std::size_t begin = 0;
  std::size_t end = 0;
  Division division;
  std::size_t replicas = 1;
  std::vector<std::size_t> devices;  // part 0's replicas, then part 1's, …: division.ways · replicas, all different

  bool operator==(const CandidateStage&) const = default;
};
using Candidate = std::vector<CandidateStage>;  // stages cover all nodes, in order

// What limits the throughput.
struct Bottleneck {
  enum class Kind : std::uint8_t { kDevice, kUplink, kDownlink, kMedium, kCoordinator, kWindow };
  Kind kind = Kind::kDevice;
  std::size_t device = 0;  // of the first three
};

struct Cost {
  double period_s = 0.0;  // the time of the busiest device or link for each request: throughput is 1 / period
  // Of one request alone, from the coordinator and back: the longest path; a mean over replicas.
  double latency_s = 0.0;
  Bottleneck bottleneck;
  std::size_t window = 1;  // requests in flight: as many as could be of use, or as memory allows
  // Bytes over the devices' limits, all devices together; 0: it fits.
  std::int64_t missing_bytes = 0;
  std::vector<DeviceLoad> devices;          // by device of the cluster
  std::vector<std::vector<double>> shares;  // of the requests, by stage and replica
};

// The share of the requests that each replica of a stage serves: in inverse proportion to its time, so that all are
// equally busy.
std::vector<double> replica_shares(std::span<const double> replica_s);

// The fewest requests in flight that could keep all of a plan busy: one for each stage and replica, and one more.
std::size_t least_window(const Candidate& candidate);

// The most requests in flight that could be of use: six for each of those that the least window has at once, or twice
// as many as are on their way at the same time, where that is more, but no more than 4,096 for that.
std::size_t largest_useful_window(std::size_t least, double on_way);

// "device "pi1" would need 12.0 MB and has 10.0 MB, …": those whose memory isn't enough; "" where it is.
std::string missing_memory(const ClusterModel& model, std::span<const DeviceLoad> loads);

class CostModel {
 public:
  // Both must outlive this. `shapes` is asked for the stages' shapes.
  CostModel(const ClusterModel& model, StageShapes& shapes);

  // Every stage must be possible (StageShapes::find).
  Cost of(const Candidate& candidate) const;

  const ClusterModel& model() const { return model_; }
  StageShapes& shapes() const { return shapes_; }

 private:
  class Evaluation;

  const ClusterModel& model_;
  StageShapes& shapes_;
};

}  // namespace onnx_split
