#include "partition/stage_needs.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "base/check.h"

namespace onnx_split {
namespace {

// What the stage gives to later stages or to the outside.
std::vector<ValueId> given_values(const Graph& graph, const StageNodes& nodes) {
  std::vector<ValueId> given;
  for (const NodeId node : nodes) {
    for (const ValueId output : graph.node(node).outputs) {
      const std::vector<NodeId>& consumers = graph.value(output).consumers;
      const bool needed_later = std::any_of(consumers.begin(), consumers.end(), [&](NodeId consumer) {
        return !std::binary_search(nodes.begin(), nodes.end(), consumer);
      });
      if (needed_later || graph.is_output(output)) given.push_back(output);
    }
  }
  return given;
}

bool is_whole(const Region& region, const Shape& shape) { return region == Region::whole(shape); }

// One part's needs, backwards from its shares.
class NeedsFinder {
 public:
  NeedsFinder(const Graph& graph, const StageRoles& roles, PartShares shares) : graph_(graph), roles_(roles) {
    needs_.shares = std::move(shares);
    needs_.values.resize(graph.value_count());
    needs_.steps.resize(roles.nodes.size());
  }

  Expected<PartNeeds> find() {
    TRY(find_needs());
    for (std::size_t i = 0; i < roles_.nodes.size(); ++i) {
      if (roles_.roles[i] == Role::kPlaced) add_computed(i);
    }
    return std::move(needs_);
  }

 private:
  void need(ValueId id, const Region& region) {
    if (graph_.value(id).constant) return;
    std::optional<Region>& known = needs_.values[id.index()];
    known = known ? bounding_box(*known, region) : region;
  }

  void need_inputs(const Node& node, const NodeSlice& slice) {
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      if (slice.inputs[i]) need(node.inputs[i], *slice.inputs[i]);
    }
  }

  // The node as it stands in the model.
  NodeSlice unchanged(const Node& node) const {
    NodeSlice slice{node.op, node.attributes, {}, Region::whole(graph_.value(node.outputs[0]).shape())};
    for (const ValueId input : node.inputs) slice.inputs.emplace_back(Region::whole(graph_.value(input).shape()));
    return slice;
  }

  static std::vector<std::size_t> all_outputs(const Node& node) {
    std::vector<std::size_t> outputs(node.outputs.size());
    std::iota(outputs.begin(), outputs.end(), std::size_t{0});
    return outputs;
  }

  bool needs_whole_node(const Node& node) const {
    return std::all_of(node.outputs.begin(), node.outputs.end(), [&](ValueId output) {
      const std::optional<Region>& region = needs_.values[output.index()];
      return region && is_whole(*region, graph_.value(output).shape());
    });
  }

  // A node on partial sums: what isn't a partial sum itself is added by the first part.
  NodeSlice linear(const Node& node) const {
    NodeSlice slice = unchanged(node);
    if (needs_.shares.first) return slice;
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      if (!roles_.is_partial[node.inputs[i].index()]) slice.inputs[i].reset();
    }
    const auto left =
        std::count_if(slice.inputs.begin(), slice.inputs.end(), [](const auto& in) { return in.has_value(); });
    if (left == 1 && node.inputs.size() > 1) slice.op = OpType::kIdentity;
    if (slice.op == OpType::kIdentity) slice.attributes = {};
    return slice;
  }

  Expected<void> find_needs() {
    for (const auto& [id, region] : needs_.shares.given) need(id, region);
    for (std::size_t i = roles_.nodes.size(); i-- > 0;) {
      const Node& node = graph_.node(roles_.nodes[i]);
      std::vector<NodeStep>& steps = needs_.steps[i];
      switch (roles_.roles[i]) {
        case Role::kRest: break;
        case Role::kLinear: steps.push_back({linear(node), {0}}); break;
        case Role::kSums: {
          TRY_ASSIGN(NodeSlice slice,
                     partial_sum_of_node(graph_, node, needs_.shares.summed.at(roles_.nodes[i]), needs_.shares.first));
          steps.push_back({std::move(slice), {0}});
          break;
        }
        case Role::kPlaced: {
          TRY(slice_placed(node, steps));
          break;
        }
      }
      for (const NodeStep& step : steps) need_inputs(node, step.slice);
    }
    return {};
  }

  Expected<void> slice_placed(const Node& node, std::vector<NodeStep>& steps) {
    if (needs_whole_node(node)) {
      steps.push_back({unchanged(node), all_outputs(node)});
      return {};
    }
    for (std::size_t output = 0; output < node.outputs.size(); ++output) {
      const std::optional<Region>& region = needs_.values[node.outputs[output].index()];
      if (!region) continue;
      TRY_ASSIGN(NodeSlice slice, slice_node(graph_, node, output, *region));
      steps.push_back({std::move(slice), {output}});
    }
    return {};
  }

  void add_computed(std::size_t index) {
    const Node& node = graph_.node(roles_.nodes[index]);
    for (const NodeStep& step : needs_.steps[index]) {
      const std::int64_t macs = macs_of(graph_, node, step);
      if (macs == 0) continue;
      const bool has_weights = node.inputs.size() > 1 && graph_.value(node.inputs[1]).constant;
      needs_.computed.push_back(
          {roles_.nodes[index], step.slice.produced, macs, has_weights ? step.slice.inputs[1] : std::nullopt});
    }
  }

  const Graph& graph_;
  const StageRoles& roles_;
  PartNeeds needs_;
};

class StageNeedsFinder {
 public:
  StageNeedsFinder(const Graph& graph, const StageNodes& nodes, const Division& division,
                   const std::vector<std::int64_t>& units)
      : graph_(graph), nodes_(nodes), division_(division), units_(units) {
    std::sort(nodes_.begin(), nodes_.end());
    CHECK(division.ways > 0 && (division.weights.empty() || division.weights.size() == division.ways));
  }

  Expected<StageNeeds> find() {
    if (division_.split != Split::kWhole) TRY(check_extents());
    if (division_.split != Split::kWhole && division_.split != Split::kSpatial) TRY(find_dense_layers());
    StageNeeds result;
    TRY_ASSIGN(result.roles, find_roles());
    TRY_ASSIGN(std::vector<PartShares> shares, find_shares(result.roles));
    for (std::size_t p = 0; p < division_.ways; ++p) {
      TRY_ASSIGN(PartNeeds needs, NeedsFinder(graph_, result.roles, std::move(shares[p])).find());
      if (!needs_input(result.roles, needs)) {
        return fail(ErrorCode::kUnsupported, "part {} would need nothing of the request: constants alone", p);
      }
      result.parts.push_back(std::move(needs));
    }
    TRY(check_weights_are_divided(result.parts));
    return result;
  }

 private:
  bool sums_over_channels() const {
    return division_.split == Split::kInputChannel || division_.split == Split::kChannelPair;
  }

  // Nothing can't be divided.
  Expected<void> check_extents() const {
    for (const NodeId id : nodes_) {
      const Node& node = graph_.node(id);
      for (const auto* values : {&node.inputs, &node.outputs}) {
        for (const ValueId value : *values) {
          if (graph_.value(value).shape().elements() > 0) continue;
          return fail(ErrorCode::kUnsupported, "{}: value \"{}\" has no elements", describe(node),
                      graph_.value(value).name);
        }
      }
    }
    return {};
  }

  // Finds the dense layers, and checks how many of them follow one another.
  Expected<void> find_dense_layers() {
    const std::size_t count = nodes_.size();
    dense_.assign(count, false);
    std::vector<std::vector<std::size_t>> above(count);  // on the longest path to each node, its own included
    for (std::size_t i = 0; i < count; ++i) {
      const Node& node = graph_.node(nodes_[i]);
      for (const ValueId input : node.inputs) {
        const std::optional<std::size_t> producer = index_of(graph_.value(input).producer);
        if (producer && above[*producer].size() > above[i].size()) above[i] = above[*producer];
      }
      dense_[i] = is_dense_layer(graph_, node);
      if (dense_[i]) above[i].push_back(i);
    }
    has_dense_below_.assign(count, false);
    for (std::size_t i = count; i-- > 0;) {
      for (const ValueId output : graph_.node(nodes_[i]).outputs) {
        for (const NodeId consumer : graph_.value(output).consumers) {
          const std::optional<std::size_t> below = index_of(consumer);
          if (below && (dense_[*below] || has_dense_below_[*below])) has_dense_below_[i] = true;
        }
      }
    }
    const std::size_t most = division_.split == Split::kChannelPair ? 2 : 1;
    const auto longest =
        std::max_element(above.begin(), above.end(), [](const auto& a, const auto& b) { return a.size() < b.size(); });
    if (longest->size() > most) {
      constexpr std::size_t kShown = 5;
      std::string names;
      for (std::size_t i = 0; i < std::min(longest->size(), kShown); ++i) {
        names += fmt::format("{}\"{}\"", i == 0 ? "" : ", ", graph_.node(nodes_[(*longest)[i]]).name);
      }
      if (longest->size() > kShown) names += ", …";
      return fail(ErrorCode::kUnsupported, "it divides {} dense layer{} on a path, and {} follow one another: {}", most,
                  most == 1 ? "" : "s", longest->size(), names);
    }
    if (sums_over_channels() && longest->size() < most) {
      return fail(
          ErrorCode::kUnsupported,
          "it divides {} dense layer{} on a path (a matrix product, or a convolution in one group), and there {}", most,
          most == 1 ? "" : "s", longest->empty() ? "is none" : "is one");
    }
    return {};
  }

  std::optional<std::size_t> index_of(NodeId node) const {
    const auto found = std::lower_bound(nodes_.begin(), nodes_.end(), node);
    if (!node.valid() || found == nodes_.end() || *found != node) return std::nullopt;
    return static_cast<std::size_t>(found - nodes_.begin());
  }

  // Whether the parts compute partial sums of this node: it sums over what is divided.
  bool sums(std::size_t index) const {
    const Node& node = graph_.node(nodes_[index]);
    if (sums_over_channels()) return dense_[index] && !has_dense_below_[index];
    if (division_.split != Split::kSpatial || node.inputs.size() != 1) return false;
    const Value& input = graph_.value(node.inputs[0]);
    if (input.constant || input.shape().rank() < 3 || operator_of(node.op).partial_sum == nullptr) return false;
    // An average over channels leaves the rows as they are.
    const Region whole = Region::whole(input.shape());
    Region box = whole;
    for (std::size_t axis = input.shape().rank() == 3 ? 2 : input.shape().rank() - 2; axis < box.rank(); ++axis) {
      if (box[axis].size() > 1) --box[axis].end;
    }
    return box == whole || partial_sum_of_node(graph_, node, box, true).has_value();
  }

  Expected<StageRoles> find_roles() const {
    StageRoles result{nodes_, {}, {}, std::vector<bool>(graph_.value_count(), false)};
    std::vector<bool> is_rest(graph_.value_count(), false);
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      const Node& node = graph_.node(nodes_[i]);
      TRY_ASSIGN(const Role role, role_of(i, result.is_partial, is_rest));
      result.roles.push_back(role);
      for (const ValueId output : node.outputs) {
        result.is_partial[output.index()] = role == Role::kSums || role == Role::kLinear;
        is_rest[output.index()] = role == Role::kRest;
      }
    }
    StageNodes computed;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (result.roles[i] != Role::kRest) computed.push_back(nodes_[i]);
    }
    result.given = given_values(graph_, computed);
    if (result.given.empty()) return fail(ErrorCode::kInvalid, "nothing later needs what it computes");
    return result;
  }

  Expected<Role> role_of(std::size_t index, const std::vector<bool>& is_partial,
                         const std::vector<bool>& is_rest) const {
    const Node& node = graph_.node(nodes_[index]);
    const Operator& definition = operator_of(node.op);
    const auto any = [&](const std::vector<bool>& flags) {
      return std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId id) { return flags[id.index()]; });
    };
    // An addend that the output repeats can't be left alone in a part.
    const Shape& output = graph_.value(node.outputs[0]).shape();
    const bool repeats = definition.linearity == Linearity::kAdds &&
                         std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId id) {
                           return is_partial[id.index()] && graph_.value(id).shape() != output;
                         });
    const bool sees_sum = any(is_rest) || (any(is_partial) && (definition.linearity == Linearity::kNone || repeats));
    if (!sees_sum) {
      if (any(is_partial)) return Role::kLinear;
      return sums(index) ? Role::kSums : Role::kPlaced;
    }
    // What is divided would have to wait for the sum.
    for (const ValueId input : node.inputs) {
      const std::optional<std::size_t> producer = index_of(graph_.value(input).producer);
      if (producer && !is_partial[input.index()] && !is_rest[input.index()]) {
        return fail(ErrorCode::kUnsupported,
                    "{} needs \"{}\", of which each part has a share, together with a sum over all parts",
                    describe(node), graph_.value(input).name);
      }
    }
    return Role::kRest;
  }

  Expected<std::vector<PartShares>> find_shares(const StageRoles& roles) const {
    std::vector<PartShares> shares(division_.ways);
    shares[0].first = true;
    for (const ValueId id : roles.given) {
      if (roles.is_partial[id.index()]) continue;
      TRY_ASSIGN(const std::vector<Region> regions, shares_of(graph_.value(id), division_, units_[id.index()]));
      for (std::size_t p = 0; p < shares.size(); ++p) shares[p].given.emplace(id, regions[p]);
    }
    for (std::size_t i = 0; i < roles.nodes.size(); ++i) {
      if (roles.roles[i] != Role::kSums) continue;
      const ValueId id = graph_.node(roles.nodes[i]).inputs[0];
      TRY_ASSIGN(const std::vector<Region> regions, shares_of(graph_.value(id), division_, units_[id.index()]));
      for (std::size_t p = 0; p < shares.size(); ++p) shares[p].summed.emplace(roles.nodes[i], regions[p]);
    }
    return shares;
  }

  // Whether anything comes from outside the stage.
  bool needs_input(const StageRoles& roles, const PartNeeds& needs) const {
    for (std::size_t i = 0; i < roles.nodes.size(); ++i) {
      for (const NodeStep& step : needs.steps[i]) {
        const Node& node = graph_.node(roles.nodes[i]);
        for (std::size_t input = 0; input < node.inputs.size(); ++input) {
          const Value& value = graph_.value(node.inputs[input]);
          if (step.slice.inputs[input] && !value.constant && !index_of(value.producer)) return true;
        }
      }
    }
    return false;
  }

  // Each part has its own share of every layer's weights. What would need more than that (local normalisation needs
  // neighbouring channels, a depthwise layer in front of a dense one all of them) doesn't belong into the stage.
  Expected<void> check_weights_are_divided(const std::vector<PartNeeds>& parts) const {
    if (division_.ways == 1 || division_.split == Split::kSpatial) return {};
    std::map<NodeId, std::vector<Region>> weights;  // that the parts so far hold
    for (const PartNeeds& part : parts) {
      for (const ComputedRegion& computed : part.computed) {
        if (!computed.weights) continue;
        std::vector<Region>& others = weights[computed.node];
        for (const Region& other : others) {
          if (!overlap(other, *computed.weights)) continue;
          return fail(ErrorCode::kUnsupported,
                      "{}: two parts would need the same weights, because what follows in the stage doesn't keep its "
                      "channels apart there",
                      describe(graph_.node(computed.node)));
        }
        others.push_back(*computed.weights);
      }
    }
    return {};
  }

  const Graph& graph_;
  StageNodes nodes_;
  const Division& division_;
  const std::vector<std::int64_t>& units_;
  // By index in nodes_; of channel splits only.
  std::vector<bool> dense_;
  std::vector<bool> has_dense_below_;
};

}  // namespace

std::int64_t macs_of(const Graph& graph, const Node& node, const NodeStep& step) {
  const Operator& definition = operator_of(step.slice.op);
  std::vector<TensorType> inputs;
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    const std::optional<Region>& region = step.slice.inputs[i];
    if (region) inputs.push_back({graph.value(node.inputs[i]).type.type, region->shape()});
  }
  std::vector<TensorType> outputs;
  for (const std::size_t output : step.outputs) {
    const TensorType& type = graph.value(node.outputs[output]).type;
    outputs.push_back(step.outputs.size() == 1 ? TensorType{type.type, step.slice.produced.shape()} : type);
  }
  return definition.macs({step.slice.attributes, inputs, outputs.size()}, outputs);
}

bool is_dense_layer(const Graph& graph, const Node& node) {
  if (node.inputs.size() < 2 || !graph.value(node.inputs[1]).constant) return false;
  return partial_sum_of_node(graph, node, Region::whole(graph.value(node.inputs[0]).shape()), true).has_value();
}

Expected<StageNeeds> find_stage_needs(const Graph& graph, const StageNodes& nodes, const Division& division,
                                      const std::vector<std::int64_t>& units) {
  return StageNeedsFinder(graph, nodes, division, units).find();
}

}  // namespace onnx_split
