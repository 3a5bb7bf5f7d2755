// What the parts of a possible stage compute, hold, need and give, for the cost model: no graphs, no weights, and each
// stage worked out once. Not thread-safe.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <tuple>
#include <vector>

#include "partition/cluster_model.h"
#include "partition/divide.h"

namespace onnx_split {

struct ValuePiece {
  ValueId value;
  Region region;
  Combine combine = Combine::kPlace;
  std::int64_t bytes = 0;
};

struct PartShape {
  std::vector<double> compute_s;  // a request, by kind of device (ClusterModel)
  std::vector<ValuePiece> inputs;
  std::vector<ValuePiece> outputs;  // owned
  std::int64_t weight_bytes = 0;
  std::int64_t activation_bytes = 0;  // peak, inputs and outputs included
};

struct StageShape {
  Division division;
  std::vector<PartShape> parts;
};

// The places between nodes, in graph order, where a search cuts: place i is in front of node i; the first is 0, the
// last the number of nodes. A place in front of a node without MACs is left out where at least as many bytes cross
// behind the node: an activation stays with its layer. At most `most` places: where there are more, those go whose
// stages have the fewest MACs.
inline constexpr std::size_t kMostCuts = 65;  // the search works with words of 64 bits
std::vector<std::size_t> candidate_cuts(const Graph& graph, std::size_t most);
std::vector<std::size_t> all_cuts(const Graph& graph);

// The shape of a divided stage of any nodes; nothing where it can't be divided so, or only with nodes left over.
// `units`: channel_units(graph); `times`: by kind of device; `laid_out`: as ClusterModel has it.
std::optional<StageShape> divided_shape(const Graph& graph, const StageNodes& nodes, const Division& division,
                                        const std::vector<std::int64_t>& units, std::span<const NodeTimes* const> times,
                                        const LaidOutWeights& laid_out);

class StageShapes {
 public:
  // `cuts`: increasing, from 0 to the number of nodes. Graph and model must outlive this.
  StageShapes(const Graph& graph, const ClusterModel& model, std::vector<std::size_t> cuts);

  const Graph& graph() const { return graph_; }
  const std::vector<std::size_t>& cuts() const { return cuts_; }
  std::size_t segments() const { return cuts_.size() - 1; }

  // The stage of the nodes from cut `begin` to cut `end` (indices into cuts()); null where it can't be divided so, or
  // only with nodes left over. The same pointer for the same question.
  const StageShape* find(std::size_t begin, std::size_t end, const Division& division);

  // Sums over whole nodes. `kind` of device.
  double whole_s(std::size_t kind, std::size_t begin, std::size_t end) const {
    return whole_before_s_[kind][end] - whole_before_s_[kind][begin];
  }
  double least_s(std::size_t kind, std::size_t begin, std::size_t end) const {
    return least_before_s_[kind][end] - least_before_s_[kind][begin];
  }
  std::int64_t weight_bytes(std::size_t begin, std::size_t end) const {
    return weights_before_[end] - weights_before_[begin];
  }

 private:
  using Key = std::tuple<std::size_t, std::size_t, Split, std::size_t, std::size_t, std::vector<std::int64_t>>;

  void find_dense_paths();
  bool may_be_divided(std::size_t begin, std::size_t end, Split split) const;
  std::int64_t held_weight_bytes(const Node& node) const;
  std::unique_ptr<StageShape> whole(std::size_t begin, std::size_t end) const;
  std::unique_ptr<StageShape> divided(std::size_t begin, std::size_t end, const Division& division) const;
  const Graph& graph_;
  std::vector<std::size_t> cuts_;
  std::vector<std::int64_t> units_;
  // The most dense layers on a path within a run of segments, by begin and end - 1; at most 3 are counted.
  std::vector<std::vector<std::uint8_t>> dense_;
  std::vector<const NodeTimes*> times_;  // by kind
  LaidOutWeights laid_out_;
  std::vector<std::vector<double>> whole_before_s_;  // by kind, by cut
  std::vector<std::vector<double>> least_before_s_;
  std::vector<std::int64_t> weights_before_;  // by cut
  std::map<Key, std::unique_ptr<StageShape>> known_;
};

}  // namespace onnx_split
