// The plans that a search chooses from (docs/planner.md, "The plan space"): what a stage can be on a set of devices.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "partition/cost.h"

namespace onnx_split {

struct SpaceOptions {
  bool replicas = true;  // several devices with the same part
  bool splits = true;    // stages divided into parts
  std::size_t most_ways = 16;
};

// All that a stage can be divided by.
inline constexpr std::array kDividingSplits = {Split::kSpatial, Split::kOutputChannel, Split::kInputChannel,
                                               Split::kChannelPair};

// Devices in the order in which stages list them: the fastest first (over the whole network), among equals by name. It
// doesn't depend on the order in which the cluster lists them.
std::vector<std::size_t> canonical_order(const CostModel& cost);

// What the nodes from cut `begin` to cut `end` can be on exactly these devices, given in canonical order: `whole` with
// a replica on each; or divided by any split into w >= 2 parts with r replicas each, w · r devices in all. Parts have
// equal shares, or, on devices of different kinds (with one replica), shares in proportion to their speeds; spatial
// parts are rows, or the grid that is nearest to a square. Replica i has the devices i·w … i·w + w - 1. Only what is
// possible.
std::vector<CandidateStage> stage_choices(const CostModel& cost, std::size_t begin, std::size_t end,
                                          std::span<const std::size_t> devices, const SpaceOptions& options);

// The same for one split and number of parts (which divides the number of devices); nothing where it is impossible.
// `whole`: one part. `square`: spatial parts as the grid nearest to a square.
std::optional<CandidateStage> stage_choice(const CostModel& cost, std::size_t begin, std::size_t end,
                                           std::span<const std::size_t> devices, Split split, std::size_t ways,
                                           bool square = false);

// A stage of other nodes on other devices, divided as `stage` is; nothing where it is impossible, or where the number
// of devices is no multiple of its parts.
std::optional<CandidateStage> stage_like(const CostModel& cost, const CandidateStage& stage, std::size_t begin,
                                         std::size_t end, std::span<const std::size_t> devices);

}  // namespace onnx_split
