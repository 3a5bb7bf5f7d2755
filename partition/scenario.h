// Load scenarios, as MLPerf Inference names them: single-stream (the next request goes when the last one is answered),
// server (requests come at random times, a Poisson process), offline (as fast as they are taken).
#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.h"

namespace onnx_split {

enum class Scenario : std::uint8_t { kSingleStream, kServer, kOffline };
std::string_view scenario_name(Scenario scenario);  // "single-stream", "server", "offline"
Expected<Scenario> scenario_from_name(std::string_view name);

}  // namespace onnx_split
