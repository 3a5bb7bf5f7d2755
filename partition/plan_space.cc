#include "partition/plan_space.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"

namespace onnx_split {
namespace {

// Shares in proportion to the devices' speeds at these nodes, as small integers; nothing where they are equal.
std::vector<std::int64_t> weights_of(const CostModel& cost, std::size_t begin, std::size_t end,
                                     std::span<const std::size_t> devices) {
  constexpr double kLargest = 1000.0;
  std::vector<double> speeds;
  for (const std::size_t d : devices) {
    speeds.push_back(1.0 / std::max(cost.shapes().whole_s(cost.model().devices[d].kind, begin, end), 1e-12));
  }
  const double fastest = *std::max_element(speeds.begin(), speeds.end());
  std::vector<std::int64_t> weights;
  for (const double speed : speeds)
    weights.push_back(std::max<std::int64_t>(1, std::llround(kLargest * speed / fastest)));
  const bool equal = std::all_of(weights.begin(), weights.end(), [&](std::int64_t w) { return w == weights[0]; });
  return equal ? std::vector<std::int64_t>{} : weights;
}

std::size_t square_columns(std::size_t ways) {
  auto columns = static_cast<std::size_t>(std::sqrt(static_cast<double>(ways)));
  while (columns > 1 && ways % columns != 0) --columns;
  return columns;
}

}  // namespace

std::vector<std::size_t> canonical_order(const CostModel& cost) {
  const std::vector<DeviceModel>& devices = cost.model().devices;
  std::vector<std::size_t> order(devices.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const std::size_t end = cost.shapes().segments();
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const double time_a = cost.shapes().whole_s(devices[a].kind, 0, end);
    const double time_b = cost.shapes().whole_s(devices[b].kind, 0, end);
    if (time_a != time_b) return time_a < time_b;
    if (devices[a].kind != devices[b].kind) return devices[a].kind < devices[b].kind;
    return devices[a].name < devices[b].name;
  });
  return order;
}

std::optional<CandidateStage> stage_choice(const CostModel& cost, std::size_t begin, std::size_t end,
                                           std::span<const std::size_t> devices, Split split, std::size_t ways,
                                           bool square) {
  CHECK(ways > 0 && devices.size() % ways == 0);
  CandidateStage stage;
  stage.begin = begin;
  stage.end = end;
  stage.replicas = devices.size() / ways;
  stage.division.split = split;
  stage.division.ways = ways;
  if (split == Split::kSpatial) {
    const std::size_t columns = square ? square_columns(ways) : 1;
    if (square && columns == 1) return std::nullopt;
    stage.division.grid = {ways / columns, columns};
  }
  if (split != Split::kWhole && stage.replicas == 1) stage.division.weights = weights_of(cost, begin, end, devices);
  for (std::size_t part = 0; part < ways; ++part) {
    for (std::size_t replica = 0; replica < stage.replicas; ++replica) {
      stage.devices.push_back(devices[replica * ways + part]);
    }
  }
  if (cost.shapes().find(begin, end, stage.division) == nullptr) return std::nullopt;
  return stage;
}

std::optional<CandidateStage> stage_like(const CostModel& cost, const CandidateStage& stage, std::size_t begin,
                                         std::size_t end, std::span<const std::size_t> devices) {
  if (devices.size() % stage.division.ways != 0) return std::nullopt;
  const bool square = stage.division.split == Split::kSpatial && stage.division.grid.columns > 1;
  return stage_choice(cost, begin, end, devices, stage.division.split, stage.division.ways, square);
}

std::vector<CandidateStage> stage_choices(const CostModel& cost, std::size_t begin, std::size_t end,
                                          std::span<const std::size_t> devices, const SpaceOptions& options) {
  std::vector<CandidateStage> choices;
  const auto add = [&](Split split, std::size_t ways, bool square) {
    auto choice = stage_choice(cost, begin, end, devices, split, ways, square);
    if (choice) choices.push_back(std::move(*choice));
  };
  if (devices.size() == 1 || options.replicas) add(Split::kWhole, 1, false);
  if (!options.splits) return choices;
  for (std::size_t ways = 2; ways <= std::min(devices.size(), options.most_ways); ++ways) {
    if (devices.size() % ways != 0 || (ways < devices.size() && !options.replicas)) continue;
    for (const Split split : kDividingSplits) add(split, ways, false);
    add(Split::kSpatial, ways, true);
  }
  return choices;
}

}  // namespace onnx_split
