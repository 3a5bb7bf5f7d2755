// Load scenarios, as MLPerf Inference names them: single-stream (the next request goes when the last one is answered),
// server (requests come at random times, a Poisson process), offline (as fast as they are taken).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/error.h"

namespace onnx_split {

enum class Scenario : std::uint8_t { kSingleStream, kServer, kOffline };
std::string_view scenario_name(Scenario scenario);  // "single-stream", "server", "offline"
Expected<Scenario> scenario_from_name(std::string_view name);

// Requests per second in a steady state, of which `done_s` are the times of the results, in order. They come in bursts,
// so that the time between two of them says little: the mean of the later half is compared with that of the earlier
// one, over whole rounds of so many requests if there are two. 0 where the times don't tell.
double steady_rate(std::span<const double> done_s, std::size_t round);

}  // namespace onnx_split
