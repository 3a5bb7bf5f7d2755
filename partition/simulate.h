// A discrete-event simulation of a plan at work, from the plan alone (its prediction has all rates): for fleets larger
// than one has, and for what averages can't say: queues, windows, Poisson arrivals. docs/planner.md, "Simulation".
//
// A device computes one part after the other, the oldest request first and within it the earliest stage; receiving and
// sending take processor time from it. Each link carries one message after the other; a shared medium one of all. The
// coordinator keeps at most `window` requests in flight, as the real one does. Deterministic.
#pragma once

#include <cstdint>
#include <vector>

#include "partition/plan.h"
#include "partition/scenario.h"

namespace onnx_split {

struct SimulationOptions {
  Scenario scenario = Scenario::kOffline;
  double rate_per_s = 0.0;  // server only
  std::size_t requests = 1000;
  std::uint64_t seed = 1;  // of the arrival times
};

struct SimulationReport {
  std::size_t requests = 0;
  double throughput_per_s = 0.0;  // in the steady state: the first window of requests doesn't count
  std::vector<double> latency_s;  // sorted; in scenario server from the arrival
  std::vector<double> busy;       // by device: the share of the time that its processor was busy
  double events_per_request = 0.0;
};

// kInvalid where the plan has no prediction, or its parts don't fit together.
Expected<SimulationReport> simulate(const Plan& plan, const SimulationOptions& options);

}  // namespace onnx_split
