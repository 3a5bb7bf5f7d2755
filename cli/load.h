// Load scenarios, as MLPerf Inference names them: single-stream (the next request goes when the last one is answered),
// server (requests come at random times, a Poisson process), offline (as fast as they are taken).
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>
#include <vector>

#include "cli/backend.h"

namespace onnx_split {

enum class Scenario : std::uint8_t { kSingleStream, kServer, kOffline };
std::string_view scenario_name(Scenario scenario);  // "single-stream", "server", "offline"
Expected<Scenario> scenario_from_name(std::string_view name);

struct LoadOptions {
  Scenario scenario = Scenario::kSingleStream;
  double rate_per_s = 0.0;   // server only
  std::size_t requests = 0;  // 0: as many as fit in duration_s
  double duration_s = 5.0;
  std::uint64_t seed = 1;  // of the arrival times
};

struct LoadReport {
  std::size_t requests = 0;
  double throughput_per_s = 0.0;   // results over the time from the first request to the last result
  std::vector<double> latency_ms;  // sorted; in scenario server from the scheduled arrival

  double mean_ms() const;
  double percentile_ms(double percent) const;  // nearest rank
};

// Submits the inputs in turn, after `warm_up` requests that don't count. The first failed request ends it.
Expected<LoadReport> generate_load(Backend& backend, const std::vector<std::vector<Tensor>>& inputs,
                                   const LoadOptions& options, std::size_t warm_up);

}  // namespace onnx_split
