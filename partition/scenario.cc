#include "partition/scenario.h"

#include <algorithm>
#include <array>

namespace onnx_split {
namespace {

constexpr std::array<std::string_view, 3> kNames = {"single-stream", "server", "offline"};

}  // namespace

std::string_view scenario_name(Scenario scenario) { return kNames[static_cast<std::size_t>(scenario)]; }

Expected<Scenario> scenario_from_name(std::string_view name) {
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end())
    return fail(ErrorCode::kInvalid, "unknown scenario \"{}\": expected single-stream, server or offline", name);
  return static_cast<Scenario>(found - kNames.begin());
}

double steady_rate(std::span<const double> done_s, std::size_t round) {
  std::size_t half = done_s.size() / 2;
  if (round <= half) half = half / round * round;
  double seconds = 0.0;
  for (std::size_t i = 0; i < half; ++i) seconds += done_s[i + half] - done_s[i];
  return seconds > 0.0 ? static_cast<double>(half) * static_cast<double>(half) / seconds : 0.0;
}

}  // namespace onnx_split
