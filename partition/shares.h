// Dividing a value among parts: boxes along its rows and columns, or along its channels, in proportion to weights.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "partition/plan.h"

namespace onnx_split {

// How a stage is divided: what the stages file asks for and the plan repeats.
struct Division {
  Split split = Split::kWhole;
  std::size_t ways = 1;
  Grid grid;                          // spatial: rows · columns == ways
  std::vector<std::int64_t> weights;  // of each part's share; empty: equal shares

  bool operator==(const Division&) const = default;
};

// "spatial, 3 ways as 3×1"
std::string to_string(const Division& division);

// How a plan's stage is divided.
Division division_of(const Stage& stage);

// [0, extent) as one range for each weight, in order: ends at multiples of `unit`, each within a unit of the weights'
// proportions unless that would leave one empty. An error where there are fewer units than weights. 7 among three
// equals: 2, 2, 3.
Expected<std::vector<Range>> share(std::int64_t extent, std::span<const std::int64_t> weights, std::int64_t unit = 1);

// The region of a value that each part has as its share: disjoint and covering. Rows are the last but one axis
// (of [N,C,L], the last), columns the last; channels are axis 1, divided at multiples of `unit` where there are enough.
Expected<std::vector<Region>> shares_of(const Value& value, const Division& division, std::int64_t unit = 1);

// For each value, how many channels belong together, so that values that depend on each other channel by channel are
// divided at the same places: H·W behind a Flatten, a group's channels behind a grouped convolution, otherwise 1.
std::vector<std::int64_t> channel_units(const Graph& graph);

}  // namespace onnx_split
