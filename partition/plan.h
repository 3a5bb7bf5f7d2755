// A plan: the network's stages, how each is split into parts, which device computes what for which request, and every
// choice that the engines must repeat so that the answer is the uncut network's (docs/architecture.md, promise 1).
// Plain data; as a file it is JSON (partition/plan_json.h).
//
// A plan belongs to the simplified graph that it was made from (its fingerprint); check_plan says whether it fits.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"
#include "graph/region.h"
#include "partition/prediction.h"

namespace onnx_split {

enum class Split : std::uint8_t { kWhole, kSpatial, kOutputChannel, kInputChannel, kChannelPair };
std::string_view split_name(Split split);  // "whole", "spatial", …
Expected<Split> split_from_name(std::string_view name);

// How a receiver puts a value together from what the parts give: copied into its region, or added (in part order).
enum class Combine : std::uint8_t { kPlace, kAdd };
std::string_view combine_name(Combine combine);  // "place", "add"
Expected<Combine> combine_from_name(std::string_view name);

// A region of a value that a part needs, or owns and gives.
struct ValueRegion {
  std::string value;
  Region region;
  Combine combine = Combine::kPlace;

  bool operator==(const ValueRegion&) const = default;
};

// The kernel of each node that has a choice, by the node's name.
using NodeChoices = std::map<std::string, std::string, std::less<>>;

struct Part {
  std::vector<std::size_t> devices;  // one a replica, indices into Plan::devices
  std::vector<ValueRegion> inputs;
  std::vector<ValueRegion> outputs;  // owned regions: disjoint over the parts of a stage, and covering
  std::int64_t macs = 0;             // a request
  std::int64_t repeated_macs = 0;    // of these, the ones for elements that an earlier part of the stage computes too
  std::int64_t weight_bytes = 0;
  std::int64_t activation_bytes = 0;  // peak
  std::int64_t received_bytes = 0;    // payload of request 0, from the coordinator and from other devices
  std::int64_t sent_bytes = 0;        // the same, to the coordinator and to other devices
  std::vector<double> compute_s;      // a request, by replica; predicted; empty: nothing was predicted
  NodeChoices choices;                // of a split stage's part, whose shapes aren't the network's

  bool operator==(const Part&) const = default;
};

// The parts of a spatial stage: part r·columns + c is in row r, column c.
struct Grid {
  std::size_t rows = 1;
  std::size_t columns = 1;

  bool operator==(const Grid&) const = default;
};

// The largest weight of a part's share.
inline constexpr std::int64_t kMaxWeight = 1'000'000;

struct Stage {
  Split split = Split::kWhole;
  Grid grid;                          // spatial
  std::vector<std::int64_t> weights;  // of each part's share, positive; empty: equal shares
  std::vector<std::string> nodes;     // names, in the graph's order
  std::vector<Part> parts;
  std::vector<std::size_t> schedule;  // request r is served by replica schedule[r mod length]

  bool operator==(const Stage&) const = default;
};

struct Plan {
  std::string model;                 // the graph's name
  std::string fingerprint;           // of the simplified graph, with its weights
  std::vector<std::string> inputs;   // of the network, by name
  std::vector<std::string> outputs;  // the same
  std::vector<std::string> devices;
  unsigned threads = 1;    // of each runner
  std::string core_type;   // the OpenBLAS core type that the choices were made for
  NodeChoices choices;     // of the uncut network and of whole stages
  std::size_t window = 1;  // requests in flight
  std::vector<Stage> stages;
  std::optional<Prediction> prediction;

  bool operator==(const Plan&) const = default;
};

// Identifies a graph: its structure, names and the weights' bits.
std::string fingerprint(const Graph& graph);

// A part's place: stage and part within the stage.
struct PartId {
  std::size_t stage = 0;
  std::size_t part = 0;
  auto operator<=>(const PartId&) const = default;
};

// All parts in the order of their stages. "stage 1 part 0"
std::vector<PartId> part_ids(const Plan& plan);
std::string to_string(PartId id);

// The device that computes a part for a request.
std::size_t device_for(const Plan& plan, PartId id, std::uint64_t request);

// The most requests of any `window` consecutive ones that the device serves as a replica of the part.
std::size_t most_served(const Plan& plan, PartId id, std::size_t device, std::size_t window);

// After how many requests all stages' replicas take turns from the beginning, or `most` where that is later.
std::size_t schedule_round(const Plan& plan, std::size_t most);

// The choices that a part's session obeys: its own where it has its own shapes, otherwise the plan's.
const NodeChoices& choices_of(const Plan& plan, PartId id);

// Checks what the parts of one stage own of one value, which may come from a file or a peer: regions inside the value,
// disjoint and covering it, or one partial sum of all of it for each of `parts` parts.
Expected<void> check_pieces(std::string_view value, const TensorType& type, std::span<const ValueRegion> pieces,
                            std::size_t parts);

// Checks what a part needs and gives: something of both, and of no value two regions.
Expected<void> check_needs(const Part& part);

// Checks that a plan (perhaps from a file) fits the graph: fingerprint, every node in exactly one stage, inputs
// available from earlier stages, regions inside their values, outputs owned exactly once, devices and schedules in
// range.
Expected<void> check_plan(const Plan& plan, const Graph& graph);

}  // namespace onnx_split
