// A plan: the network's stages, how each is split into parts, which device computes what for which request, and every
// choice that the engines must repeat so that the answer is the uncut network's (docs/architecture.md, promise 1).
// Plain data; as a file it is JSON (partition/plan_json.h).
//
// A plan belongs to the simplified graph that it was made from (its fingerprint); check_plan says whether it fits.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"
#include "graph/layout.h"
#include "graph/region.h"
#include "partition/prediction.h"

namespace onnx_split {

enum class Split : std::uint8_t { kWhole, kSpatial, kOutputChannel, kInputChannel, kChannelPair };
std::string_view split_name(Split split);  // "whole", "spatial", …
Expected<Split> split_from_name(std::string_view name);

// How a receiver puts a value together from what the parts give: copied into its region, or added (in part order).
// What a parity part gives isn't needed for that; it replaces what any one of the other parts gives (Spare::kParity).
enum class Combine : std::uint8_t { kPlace, kAdd, kParity };
std::string_view combine_name(Combine combine);  // "place", "add", "parity"
Expected<Combine> combine_from_name(std::string_view name);

// What a stage has beyond what its answer takes, so that one late or lost device of it costs no waiting.
enum class Spare : std::uint8_t {
  kNone,
  // One part more, with the sum of the others' weights and biases (of the shorter ones padded with zeros): what it
  // gives is the sum of what they give, and any of them can be told from it and the others. For one Conv, Gemm or
  // MatMul that is split by output channels.
  kParity,
  // Each part once more, on another device; the first answer counts.
  kStandby,
};
std::string_view spare_name(Spare spare);  // "none", "parity", "standby"
Expected<Spare> spare_from_name(std::string_view name);

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
  Spare spare = Spare::kNone;
  std::vector<Part> parts;            // those that make up the answer, then the spare ones
  std::vector<std::size_t> schedule;  // request r is served by replica schedule[r mod length]

  // How many parts make up the answer.
  std::size_t ways() const;
  // The part of these whose work a part repeats (standby), or whose is the most like it (parity: the largest); itself
  // if it isn't spare.
  std::size_t model_of(std::size_t part) const;

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

// The devices that compute anything, for whatever request.
std::set<std::size_t> used_devices(const Plan& plan);

// Whether every request can still be answered, without another plan, when these devices give nothing.
bool can_lose(const Plan& plan, const std::set<std::size_t>& devices);

// The choices that a part's session obeys: its own where it has its own shapes, otherwise the plan's.
const NodeChoices& choices_of(const Plan& plan, PartId id);

// Checks what the parts of one stage own of one value, which may come from a file or a peer: regions inside the value,
// disjoint and covering it, or one partial sum of all of it for each of `parts` parts.
Expected<void> check_pieces(std::string_view value, const TensorType& type, std::span<const ValueRegion> pieces,
                            std::size_t parts);

// Checks the spare parts of a stage whose other parts are known to be right: that they need and give what they should.
// `type_of`: the type of a value that the stage gives.
Expected<void> check_spares(const Stage& stage, const std::function<TensorType(const std::string& value)>& type_of);

// Checks what a part needs and gives: something of both, and of no value two regions.
Expected<void> check_needs(const Part& part);

// Checks that a plan (perhaps from a file) fits the graph: fingerprint, every node in exactly one stage, inputs
// available from earlier stages, regions inside their values, outputs owned exactly once, devices and schedules in
// range.
Expected<void> check_plan(const Plan& plan, const Graph& graph);

}  // namespace onnx_split
