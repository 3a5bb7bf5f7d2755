// A discrete-event simulation of a plan at work, from the plan alone (its prediction has all rates): for fleets larger
// than one has, and for what averages can't say: queues, windows, Poisson arrivals. docs/planner.md, "Simulation".
//
// A device computes one part after the other, the oldest request first and within it the earliest stage; what it
// receives interrupts it, and what it sends it sends behind the part. Each link carries one message after the other,
// each way; a shared medium one of all. The coordinator keeps at most `window` requests in flight, as the real one
// does. Deterministic; each call is on its own.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "partition/plan.h"
#include "partition/scenario.h"

namespace onnx_split {

inline constexpr std::size_t kMostSimulatedRequests = 10'000'000;

struct SimulationOptions {
  Scenario scenario = Scenario::kOffline;
  double rate_per_s = 0.0;  // server only
  std::size_t requests = 1000;
  std::uint64_t seed = 1;  // of the arrival times, and of the jitter
  // Each part's time is longer or shorter by up to this share of it, at random: devices that take exactly as long as
  // each other meet in step, as real ones don't. In [0, 1).
  double jitter = 0.0;
};

struct SimulationReport {
  std::size_t requests = 0;
  double throughput_per_s = 0.0;  // in the steady state: the first window of requests doesn't count
  std::vector<double> latency_s;  // sorted; in scenario server from the arrival
  std::vector<double> busy;       // by device: the share of the time that its processor was busy
  double events_per_request = 0.0;
};

// Errors: kInvalid where the plan has no prediction, its parts don't fit together or a request takes 10^9 s;
// kUnsupported where it would take too much memory.
Expected<SimulationReport> simulate(const Plan& plan, const SimulationOptions& options);

// What a device's processor does for a request.
struct TraceSpan {
  enum class Kind : std::uint8_t { kReceive, kCompute, kSend };
  Kind kind = Kind::kCompute;
  std::size_t device = 0;
  PartId part;  // computed, or whose result is sent; of kReceive the first that needs it
  double begin_s = 0.0;
  double end_s = 0.0;
};

// A message on its way, from the first link to the device; nothing stands for the coordinator.
struct TraceMessage {
  std::optional<std::size_t> from;
  std::optional<std::size_t> to;
  double begin_s = 0.0;
  double end_s = 0.0;
};

struct Trace {
  std::vector<TraceSpan> spans;  // in the order of their ends
  std::vector<TraceMessage> messages;
  double latency_s = 0.0;
};

// Request 0 on its way, alone. Errors as simulate's.
Expected<Trace> trace_request(const Plan& plan);

// Whether the prediction fits the plan, as far as the simulation and the reports rely on it: rates and loads for each
// device, times for each replica, schedules and devices in range. Errors name the field.
Expected<void> check_prediction(const Plan& plan);

}  // namespace onnx_split
