#include "cli/plan_words.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <set>

namespace onnx_split {

std::string short_list(const std::vector<std::string>& names) {
  constexpr std::size_t kFew = 4;
  if (names.size() <= kFew) return fmt::format("{}", fmt::join(names, ", "));
  return fmt::format("{} … {} ({})", names.front(), names.back(), names.size());
}

std::vector<std::string> device_names(const Plan& plan, const std::vector<std::size_t>& devices) {
  std::vector<std::string> names;
  for (const std::size_t device : devices) names.push_back(plan.devices[device]);
  return names;
}

std::vector<std::size_t> stage_devices(const Stage& stage) {
  std::vector<std::size_t> devices;
  std::set<std::size_t> seen;
  for (const Part& part : stage.parts) {
    for (const std::size_t device : part.devices) {
      if (seen.insert(device).second) devices.push_back(device);
    }
  }
  std::sort(devices.begin(), devices.end());
  return devices;
}

std::string split_text(const Stage& stage) {
  std::string text(split_name(stage.split));
  if (stage.split == Split::kSpatial) {
    text += fmt::format(" {}×{}", stage.grid.rows, stage.grid.columns);
  } else if (stage.split != Split::kWhole) {
    text += fmt::format(" ×{}", stage.ways());
  }
  if (!stage.weights.empty()) {
    constexpr std::size_t kFew = 6;
    std::vector<std::int64_t> weights = stage.weights;
    const std::int64_t unit = std::accumulate(weights.begin(), weights.end(), std::int64_t{0},
                                              [](std::int64_t a, std::int64_t b) { return std::gcd(a, b); });
    for (std::int64_t& weight : weights) weight /= std::max<std::int64_t>(unit, 1);
    const auto [least, most] = std::minmax_element(weights.begin(), weights.end());
    text += weights.size() <= kFew ? fmt::format(" ({})", fmt::join(weights, ":"))
                                   : fmt::format(" ({} to {})", *least, *most);
  }
  const std::size_t replicas = stage.parts.empty() ? 0 : stage.parts.front().devices.size();
  if (replicas > 1) text += fmt::format(", {} replicas", replicas);
  if (stage.spare != Spare::kNone) text += fmt::format(", {}", spare_name(stage.spare));
  return text;
}

std::string layers_text(const Stage& stage) {
  if (stage.nodes.empty()) return "";
  return stage.nodes.size() == 1 ? stage.nodes.front()
                                 : fmt::format("{} … {}", stage.nodes.front(), stage.nodes.back());
}

}  // namespace onnx_split
