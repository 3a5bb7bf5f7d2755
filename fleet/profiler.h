// One measurement on one machine: a graph without its weights is computed again and again, and each of its steps gets
// the processor time that it took. What a runner does for the control request "profile" (docs/wire.md).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "fleet/weightless.h"
#include "partition/profile.h"

namespace onnx_split {

// How long to measure: after one pass that doesn't count, until there were `min_passes` and `min_s` seconds have gone
// by; not longer than `max_s`, once there were three.
struct ProfileEffort {
  std::int64_t min_passes = 5;
  double min_s = 2.0;
  double max_s = 15.0;
};

struct ProfileJob {
  Weightless network;
  // 0: each constant and input has memory of its own. Otherwise they are pieces of one block of this size, which must
  // hold the largest of them: for many layers that have nothing to do with one another.
  std::uint64_t block_bytes = 0;
  ProfileEffort effort;
};

struct StepTiming {
  std::string node;  // the first of the step; the others of its epilogue have no time of their own
  Timing kernel;
  Timing reorders;  // of its inputs and outputs into another layout, between kernels or for who runs the graph
};

struct ProfileResult {
  std::vector<StepTiming> steps;
  std::int64_t passes = 0;
  double wall_s = 0.0;                      // of all passes that count
  std::uint64_t memory_bytes = 0;           // that the job needed
  std::uint64_t resident_memory_bytes = 0;  // of the process, when the job had given its memory back

  // Of all passes that count, had each step taken its median.
  double median_s() const;
};

struct ProfilerOptions {
  unsigned threads = 1;
  std::uint64_t memory_limit_bytes = 0;    // 0: what the machine has available
  std::function<bool()> interrupted = {};  // asked between passes: true ends the job with kCancelled
};

// What a job needs at least, in bytes: constants, inputs, outputs, and the activations between them, without the
// kernels' scratch. Errors: constants that don't fit the graph.
Expected<std::uint64_t> needed_bytes(const ProfileJob& job);

// Computes. Errors: constants that don't fit the graph; kExhausted, before anything is allocated, where weights,
// inputs, outputs and activations are more than the limit; a step that can't be computed.
Expected<ProfileResult> run_profile_job(const ProfileJob& job, const ProfilerOptions& options);

// The control request's arguments (without the graph, which travels as ONNX behind them) and its reply.
Json profile_job_to_json(const ProfileJob& job);
Expected<ProfileJob> profile_job_from(const JsonReader& request, std::span<const std::byte> model);
Json profile_result_to_json(const ProfileResult& result);
Expected<ProfileResult> profile_result_from(const JsonReader& reply);

// Median and quartiles of at least one measurement, by nearest rank.
Timing timing_of(std::vector<double> measurements_ms);

}  // namespace onnx_split
