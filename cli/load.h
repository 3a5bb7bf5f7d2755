// Loads a backend with requests in one of the scenarios of partition/scenario.h, and measures.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "cli/backend.h"
#include "partition/scenario.h"

namespace onnx_split {

struct LoadOptions {
  Scenario scenario = Scenario::kSingleStream;
  double rate_per_s = 0.0;   // server only
  std::size_t requests = 0;  // 0: as many as fit in duration_s
  double duration_s = 5.0;
  std::uint64_t seed = 1;                                   // of the arrival times
  std::chrono::duration<double, std::milli> deadline{0.0};  // of each request from its arrival; 0: none
  bool refuse = false;  // server only: a request that finds the window full isn't made
};

struct LoadReport {
  std::size_t requests = 0;       // answered in time
  std::size_t refused = 0;        // at the door: the window was full
  std::size_t late = 0;           // their deadline has passed, or couldn't be met
  double throughput_per_s = 0.0;  // results over the time from the first request to the last result
  // Of scenario offline, while the window is full; nothing where there were too few requests.
  std::optional<double> steady_per_s;
  std::vector<double> latency_ms;  // sorted; in scenario server from the scheduled arrival

  double mean_ms() const;
  double percentile_ms(double percent) const;  // nearest rank
};

// Submits the inputs in turn, after `warm_up` requests that don't count. The first request that fails for another
// reason than its deadline ends it. Times are of requests that were answered in time.
Expected<LoadReport> generate_load(Backend& backend, const std::vector<std::vector<Tensor>>& inputs,
                                   const LoadOptions& options, std::size_t warm_up);

}  // namespace onnx_split
