// What splits_bench measures, and how it is told beside the authors' figures.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "partition/plan.h"

namespace onnx_split {

struct Way {
  std::string name;
  Split split;
  std::size_t ways;
  Grid grid;
};

inline const std::array<Way, 3> kLayerWays = {Way{"channel x3", Split::kOutputChannel, 3, {}},
                                              Way{"filter x3", Split::kInputChannel, 3, {}},
                                              Way{"spatial x9", Split::kSpatial, 9, {3, 3}}};
inline const std::array<Way, 2> kStageWays = {Way{"spatial 3x1", Split::kSpatial, 3, {3, 1}},
                                              Way{"spatial 3x3", Split::kSpatial, 9, {3, 3}}};

// One piece divided in one way.
struct Outcome {
  double slowest_ms = 0.0;  // of the parts; the undivided piece's where it can't be divided so
  double adding_ms = 0.0;   // the parts' partial sums
  std::string refused;      // why it can't be divided so
  double largest = 1.0;     // MACs of the largest part, over the whole piece's
  double repeated = 0.0;    // MACs that several parts repeat, over the whole piece's
};

// One piece: a layer or a fused stage.
struct Row {
  std::string name;  // of its first node in the network
  std::string what;
  std::int64_t count = 1;  // how many like it the network has
  std::int64_t macs = 0;
  double undivided_ms = 0.0;
  std::string choice;             // of a layer: the fastest
  std::vector<Outcome> outcomes;  // in the order of the ways
};

struct Measured {
  std::string network;
  std::vector<Row> layers;
  std::vector<Row> stages;
};

void print_measured(const Measured& measured);
Json to_json(const Measured& measured);

// Whether each split of the layers gains at least what it must.
bool reaches_bars(const Measured& measured);

}  // namespace onnx_split
