#include "partition/stage_shapes.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "graph/layout.h"
#include "graph/operators.h"
#include "partition/stage_needs.h"

namespace onnx_split {
namespace {

std::int64_t bytes_of(const Graph& graph, ValueId value, const Region& region) {
  return region.shape().elements() * static_cast<std::int64_t>(element_bytes(graph.value(value).type.type));
}

// Bytes of the values that cross each place: made (or given to the network) before it, and needed behind it.
std::vector<std::int64_t> crossing_bytes(const Graph& graph) {
  const std::size_t nodes = graph.node_count();
  std::vector<std::int64_t> change(nodes + 2, 0);
  for (const Value& value : graph.values()) {
    if (value.constant || value.consumers.empty()) continue;
    const std::size_t first = value.producer.valid() ? value.producer.index() + 1 : 0;
    const std::size_t last = value.consumers.back().index();  // crosses the places first … last
    if (first > last) continue;
    change[first] += static_cast<std::int64_t>(value.type.size_bytes());
    change[last + 1] -= static_cast<std::int64_t>(value.type.size_bytes());
  }
  std::vector<std::int64_t> crossing(nodes + 1, 0);
  std::int64_t now = 0;
  for (std::size_t i = 0; i <= nodes; ++i) crossing[i] = now += change[i];
  return crossing;
}

// The most bytes alive at one step of a run of nodes. `size` gives the bytes of a value there, 0 for what isn't.
template <class Size>
std::int64_t peak_bytes(const Graph& graph, std::span<const NodeId> nodes, const std::vector<ValuePiece>& inputs,
                        const std::vector<ValuePiece>& outputs, const Size& size) {
  std::map<ValueId, std::pair<std::size_t, std::size_t>> alive;
  for (const ValuePiece& input : inputs) alive[input.value] = {0, 0};
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const Node& node = graph.node(nodes[i]);
    for (const ValueId id : node.outputs) alive[id] = {i, i};
    for (const ValueId id : node.inputs) {
      if (const auto found = alive.find(id); found != alive.end()) found->second.second = i;
    }
  }
  for (const ValuePiece& output : outputs) alive[output.value].second = nodes.size();
  std::vector<std::int64_t> change(nodes.size() + 2, 0);
  for (const auto& [id, steps] : alive) {
    const std::int64_t bytes = size(id);
    change[steps.first] += bytes;
    change[steps.second + 1] -= bytes;
  }
  std::int64_t now = 0, peak = 0;
  for (const std::int64_t delta : change) peak = std::max(peak, now += delta);
  return peak;
}

ValuePiece piece(const Graph& graph, ValueId value, Region region, Combine combine) {
  const std::int64_t bytes = bytes_of(graph, value, region);
  return {value, std::move(region), combine, bytes};
}

// Kernels lay out constants only.
bool has_constant_weights(const Graph& graph, const Node& node) {
  return !node.inputs.empty() && std::all_of(node.inputs.begin() + 1, node.inputs.end(),
                                             [&](ValueId input) { return graph.value(input).constant.has_value(); });
}

// Of the slice of a node.
std::optional<std::int64_t> laid_out_of(const Graph& graph, const Node& node, const NodeStep& step,
                                        const LaidOutWeights& laid_out) {
  if (!laid_out || !has_constant_weights(graph, node)) return std::nullopt;
  std::vector<TensorType> types;
  for (std::size_t input = 0; input < node.inputs.size(); ++input) {
    const std::optional<Region>& region = step.slice.inputs[input];
    if (region) types.push_back({graph.value(node.inputs[input]).type.type, region->shape()});
  }
  return laid_out(step.slice.op, {step.slice.attributes, types, step.outputs.size()});
}

// What a part cuts out of larger pieces that it has, each once.
class Slices {
 public:
  explicit Slices(const Graph& graph) : graph_(graph) {}
  // Of a value of which the part has so many bytes.
  void read(ValueId value, const Region& region, std::int64_t bytes_there) {
    const std::int64_t bytes = bytes_of(graph_, value, region);
    if (bytes == bytes_there) return;
    const bool is_known = std::any_of(known_.begin(), known_.end(), [&](const auto& slice) {
      return slice.first == value && slice.second == region;
    });
    if (is_known) return;
    known_.emplace_back(value, region);
    bytes_ += bytes;
  }
  std::int64_t bytes() const { return bytes_; }

 private:
  const Graph& graph_;
  std::vector<std::pair<ValueId, Region>> known_;
  std::int64_t bytes_ = 0;
};

// What a part's kernels bring into their layout, and out of it again: what doesn't travel in it.
std::int64_t border_bytes(const Graph& graph, const PartShape& part) {
  std::int64_t bytes = 0;
  const auto add = [&](const ValuePiece& piece) {
    if (!is_full_blocks(graph.value(piece.value).type, piece.region)) bytes += piece.bytes;
  };
  for (const ValuePiece& input : part.inputs) {
    if (graph.value(input.value).producer.valid()) add(input);
  }
  for (const ValuePiece& output : part.outputs) {
    if (!graph.is_output(output.value)) add(output);
  }
  return bytes;
}

}  // namespace

std::vector<std::size_t> all_cuts(const Graph& graph) {
  std::vector<std::size_t> cuts(graph.node_count() + 1);
  std::iota(cuts.begin(), cuts.end(), std::size_t{0});
  return cuts;
}

std::vector<std::size_t> candidate_cuts(const Graph& graph, std::size_t most) {
  CHECK(most >= 2);
  const std::vector<std::int64_t> crossing = crossing_bytes(graph);
  std::vector<std::int64_t> macs_before(graph.node_count() + 1, 0);
  for (std::size_t i = 0; i < graph.node_count(); ++i) {
    macs_before[i + 1] = macs_before[i] + node_cost(graph, graph.nodes()[i]).macs;
  }
  std::vector<std::size_t> cuts{0};
  for (std::size_t i = 1; i < graph.node_count(); ++i) {
    const bool has_macs = macs_before[i + 1] > macs_before[i];
    if (has_macs || crossing[i] < crossing[i + 1]) cuts.push_back(i);
  }
  cuts.push_back(graph.node_count());
  while (cuts.size() > most) {
    std::size_t least = 1;
    for (std::size_t i = 2; i + 1 < cuts.size(); ++i) {
      const auto joined = [&](std::size_t c) { return macs_before[cuts[c + 1]] - macs_before[cuts[c - 1]]; };
      if (joined(i) < joined(least) || (joined(i) == joined(least) && crossing[cuts[i]] > crossing[cuts[least]])) {
        least = i;
      }
    }
    cuts.erase(cuts.begin() + static_cast<std::ptrdiff_t>(least));
  }
  return cuts;
}

StageShapes::StageShapes(const Graph& graph, const ClusterModel& model, std::vector<std::size_t> cuts)
    : graph_(graph),
      cuts_(std::move(cuts)),
      units_(channel_units(graph)),
      times_(model.kinds, nullptr),
      laid_out_(model.laid_out_weight_bytes) {
  CHECK(cuts_.size() >= 2 && cuts_.front() == 0 && cuts_.back() == graph.node_count());
  for (const DeviceModel& device : model.devices) times_[device.kind] = device.times.get();
  whole_before_s_.resize(times_.size());
  least_before_s_.resize(times_.size());
  for (std::size_t kind = 0; kind < times_.size(); ++kind) {
    double whole_s = 0.0, least_s = 0.0;
    std::size_t node = 0;
    for (const std::size_t cut : cuts_) {
      for (; node < cut; ++node) {
        whole_s += times_[kind]->node_s(NodeId(node));
        least_s += times_[kind]->least_s(NodeId(node));
      }
      whole_before_s_[kind].push_back(whole_s);
      least_before_s_[kind].push_back(least_s);
    }
  }
  std::int64_t weights = 0;
  std::size_t next = 0;
  for (const std::size_t cut : cuts_) {
    for (; next < cut; ++next) weights += held_weight_bytes(graph.nodes()[next]);
    weights_before_.push_back(weights);
  }
  find_dense_paths();
}

std::int64_t StageShapes::held_weight_bytes(const Node& node) const {
  if (laid_out_ && has_constant_weights(graph_, node)) {
    const std::vector<TensorType> types = input_types(graph_, node);
    if (const auto bytes = laid_out_(node.op, {node.attributes, types, node.outputs.size()})) return *bytes;
  }
  return node_cost(graph_, node).weight_bytes;
}

void StageShapes::find_dense_paths() {
  constexpr std::uint8_t kMost = 3;
  std::vector<bool> is_dense;
  for (const Node& node : graph_.nodes()) is_dense.push_back(is_dense_layer(graph_, node));
  dense_.assign(segments(), std::vector<std::uint8_t>(segments(), 0));
  for (std::size_t begin = 0; begin < segments(); ++begin) {
    std::vector<std::uint8_t> above(graph_.node_count(), 0);  // on the longest path to each node, its own included
    std::uint8_t longest = 0;
    std::size_t end = begin + 1;
    for (std::size_t i = cuts_[begin]; i < graph_.node_count(); ++i) {
      const Node& node = graph_.nodes()[i];
      for (const ValueId input : node.inputs) {
        const NodeId producer = graph_.value(input).producer;
        if (producer.valid()) above[i] = std::max(above[i], above[producer.index()]);
      }
      if (is_dense[i] && above[i] < kMost) ++above[i];
      longest = std::max(longest, above[i]);
      if (i + 1 == cuts_[end]) dense_[begin][end++ - 1] = longest;
    }
  }
}

// What find_stage_needs would refuse after a longer look.
bool StageShapes::may_be_divided(std::size_t begin, std::size_t end, Split split) const {
  const std::uint8_t dense = dense_[begin][end - 1];
  switch (split) {
    case Split::kOutputChannel: return dense <= 1;
    case Split::kInputChannel: return dense == 1;
    case Split::kChannelPair: return dense == 2;
    default: return true;
  }
}

const StageShape* StageShapes::find(std::size_t begin, std::size_t end, const Division& division) {
  CHECK(begin < end && end < cuts_.size());
  if (!may_be_divided(begin, end, division.split)) return nullptr;
  const bool is_spatial = division.split == Split::kSpatial;
  Key key{begin, end, division.split, division.ways, is_spatial ? division.grid.columns : 1, division.weights};
  auto [found, is_new] = known_.try_emplace(std::move(key));
  if (is_new) {
    found->second = division.split == Split::kWhole ? whole(begin, end) : divided(begin, end, division);
  }
  return found->second.get();
}

std::unique_ptr<StageShape> StageShapes::whole(std::size_t begin, std::size_t end) const {
  auto shape = std::make_unique<StageShape>();
  shape->parts.resize(1);
  PartShape& part = shape->parts[0];
  const std::size_t first = cuts_[begin], last = cuts_[end];
  std::vector<NodeId> nodes;
  std::vector<bool> is_input(graph_.value_count(), false);
  for (std::size_t i = first; i < last; ++i) {
    nodes.emplace_back(i);
    const Node& node = graph_.nodes()[i];
    for (const ValueId id : node.inputs) {
      const Value& value = graph_.value(id);
      const bool inside = value.producer.valid() && value.producer.index() >= first;
      if (value.constant || inside || is_input[id.index()]) continue;
      is_input[id.index()] = true;
      part.inputs.push_back(piece(graph_, id, Region::whole(value.shape()), Combine::kPlace));
    }
    for (const ValueId id : node.outputs) {
      const Value& value = graph_.value(id);
      const bool needed = !value.consumers.empty() && value.consumers.back().index() >= last;
      if (needed || graph_.is_output(id))
        part.outputs.push_back(piece(graph_, id, Region::whole(value.shape()), Combine::kPlace));
    }
  }
  part.weight_bytes = weight_bytes(begin, end);
  part.activation_bytes = peak_bytes(graph_, nodes, part.inputs, part.outputs, [&](ValueId id) {
    return static_cast<std::int64_t>(graph_.value(id).type.size_bytes());
  });
  const std::int64_t border = border_bytes(graph_, part);
  for (std::size_t kind = 0; kind < times_.size(); ++kind) {
    part.compute_s.push_back(whole_s(kind, begin, end) + static_cast<double>(border) * times_[kind]->border_byte_s());
  }
  return shape;
}

std::unique_ptr<StageShape> StageShapes::divided(std::size_t begin, std::size_t end, const Division& division) const {
  StageNodes nodes;
  for (std::size_t i = cuts_[begin]; i < cuts_[end]; ++i) nodes.emplace_back(i);
  auto shape = divided_shape(graph_, nodes, division, units_, times_, laid_out_);
  return shape ? std::make_unique<StageShape>(std::move(*shape)) : nullptr;
}

std::optional<StageShape> divided_shape(const Graph& graph, const StageNodes& nodes, const Division& division,
                                        const std::vector<std::int64_t>& units, std::span<const NodeTimes* const> times,
                                        const LaidOutWeights& laid_out) {
  const auto needs = find_stage_needs(graph, nodes, division, units);
  if (!needs) return std::nullopt;
  const StageRoles& roles = needs->roles;
  if (std::find(roles.roles.begin(), roles.roles.end(), Role::kRest) != roles.roles.end()) return std::nullopt;
  StageShape shape;
  shape.division = division;
  for (const PartNeeds& from : needs->parts) {
    PartShape part;
    part.compute_s.assign(times.size(), 0.0);
    std::map<ValueId, std::int64_t> size;  // of what the part has of each value
    Slices slices(graph);
    for (std::size_t i = 0; i < roles.nodes.size(); ++i) {
      const Node& node = graph.node(roles.nodes[i]);
      for (const NodeStep& step : from.steps[i]) {
        const Shape& whole = graph.value(node.outputs[step.outputs[0]]).shape();
        const std::int64_t whole_macs = node_cost(graph, node).macs;
        const double fraction = whole_macs > 0
                                    ? static_cast<double>(macs_of(graph, node, step)) / static_cast<double>(whole_macs)
                                    : static_cast<double>(step.slice.produced.shape().elements()) /
                                          static_cast<double>(std::max<std::int64_t>(whole.elements(), 1));
        // Of a pair the last layer sums over its input channels; the first is divided by output channels.
        const Split split = division.split != Split::kChannelPair ? division.split
                            : roles.roles[i] == Role::kSums       ? Split::kInputChannel
                                                                  : Split::kOutputChannel;
        for (std::size_t kind = 0; kind < times.size(); ++kind) {
          part.compute_s[kind] += times[kind]->share_s(roles.nodes[i], split, fraction);
        }
        for (const std::size_t output : step.outputs) {
          const ValueId id = node.outputs[output];
          const Region produced =
              step.outputs.size() == 1 ? step.slice.produced : Region::whole(graph.value(id).shape());
          size[id] = bytes_of(graph, id, produced);
        }
        const std::optional<std::int64_t> laid_out_bytes = laid_out_of(graph, node, step, laid_out);
        part.weight_bytes += laid_out_bytes.value_or(0);
        for (std::size_t input = 0; input < node.inputs.size(); ++input) {
          const std::optional<Region>& region = step.slice.inputs[input];
          if (!region) continue;
          const ValueId id = node.inputs[input];
          if (graph.value(id).constant) {
            if (!laid_out_bytes) part.weight_bytes += bytes_of(graph, id, *region);
          } else if (!size.contains(id)) {
            const Region& needed = *from.values[id.index()];
            size[id] = bytes_of(graph, id, needed);
            part.inputs.push_back(piece(graph, id, needed, Combine::kPlace));
          }
          if (!graph.value(id).constant) slices.read(id, *region, size.at(id));
        }
      }
    }
    for (const ValueId id : roles.given) {
      if (roles.is_partial[id.index()]) {
        part.outputs.push_back(piece(graph, id, Region::whole(graph.value(id).shape()), Combine::kAdd));
      } else {
        const Region& given = from.shares.given.at(id);
        part.outputs.push_back(piece(graph, id, given, Combine::kPlace));
        slices.read(id, given, size.at(id));
      }
    }
    const std::int64_t moved = border_bytes(graph, part) + slices.bytes();
    for (std::size_t kind = 0; kind < times.size(); ++kind) {
      part.compute_s[kind] += static_cast<double>(moved) * times[kind]->border_byte_s();
    }
    part.activation_bytes = peak_bytes(graph, nodes, part.inputs, part.outputs, [&](ValueId id) {
      const auto found = size.find(id);
      return found == size.end() ? std::int64_t{0} : found->second;
    });
    shape.parts.push_back(std::move(part));
  }
  return shape;
}

}  // namespace onnx_split
