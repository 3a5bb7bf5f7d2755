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

}  // namespace onnx_split
