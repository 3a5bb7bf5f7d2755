#include "partition/divide.h"

#include <algorithm>
#include <map>

#include "base/check.h"
#include "partition/part_builder.h"

namespace onnx_split {
namespace {

// A convolution or matrix product of which every output channel needs every input channel.
bool is_dense(const Graph& graph, const Node& node) {
  if (node.inputs.size() < 2 || !graph.value(node.inputs[1]).constant) return false;
  return partial_sum_of_node(graph, node, Region::whole(graph.value(node.inputs[0]).shape()), true).has_value();
}

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

class Divider {
 public:
  Divider(const Graph& graph, const StageNodes& nodes, const Division& division, const std::vector<std::int64_t>& units)
      : graph_(graph), nodes_(nodes), division_(division), units_(units) {
    std::sort(nodes_.begin(), nodes_.end());
    CHECK(division.ways > 0 && (division.weights.empty() || division.weights.size() == division.ways));
  }

  Expected<DividedStage> divide(PartWeights weights) {
    if (division_.split != Split::kWhole) TRY(check_extents());
    if (division_.split != Split::kWhole && division_.split != Split::kSpatial) TRY(find_dense_layers());
    TRY_ASSIGN(const StageRoles roles, find_roles());
    TRY_ASSIGN(const std::vector<PartShares> shares, find_shares(roles));
    std::vector<BuiltPart> built;
    for (std::size_t p = 0; p < division_.ways; ++p) {
      TRY_ASSIGN(BuiltPart part, build_part(graph_, roles, shares[p], weights));
      if (part.part.inputs.empty()) {
        return fail(ErrorCode::kUnsupported, "part {} would need nothing of the request: constants alone", p);
      }
      built.push_back(std::move(part));
    }
    TRY(check_weights_are_divided(built));
    DividedStage result;
    for (std::size_t p = 0; p < built.size(); ++p) {
      built[p].part.repeated_macs = repeated_macs(built, p);
      result.parts.push_back(std::move(built[p].part));
    }
    for (std::size_t i = 0; i < roles.nodes.size(); ++i) {
      (roles.roles[i] == Role::kRest ? result.rest : result.nodes).push_back(roles.nodes[i]);
    }
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
      dense_[i] = is_dense(graph_, node);
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

  // Each part has its own share of every layer's weights. What would need more than that (local normalisation needs
  // neighbouring channels, a depthwise layer in front of a dense one all of them) doesn't belong into the stage.
  Expected<void> check_weights_are_divided(const std::vector<BuiltPart>& built) const {
    if (division_.ways == 1 || division_.split == Split::kSpatial) return {};
    std::map<NodeId, std::vector<Region>> weights;  // that the parts so far hold
    for (const BuiltPart& part : built) {
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

  static std::int64_t repeated_macs(const std::vector<BuiltPart>& built, std::size_t part) {
    std::int64_t repeated = 0;
    for (const ComputedRegion& own : built[part].computed) {
      std::vector<Region> earlier;
      for (std::size_t p = 0; p < part; ++p) {
        for (const ComputedRegion& other : built[p].computed) {
          if (other.node == own.node) earlier.push_back(other.region);
        }
      }
      const std::int64_t elements = own.region.shape().elements();
      repeated += own.macs / elements * covered_elements(own.region, earlier);
    }
    return repeated;
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

Expected<DividedStage> divide_stage(const Graph& graph, const StageNodes& nodes, const Division& division,
                                    const std::vector<std::int64_t>& units, PartWeights weights) {
  return Divider(graph, nodes, division, units).divide(weights);
}

std::size_t longest_front(const Graph& graph, const StageNodes& nodes, const Division& division,
                          const std::vector<std::int64_t>& units) {
  StageNodes front = nodes;
  while (!front.empty() && !divide_stage(graph, front, division, units, PartWeights::kBlank)) front.pop_back();
  return front.size();
}

}  // namespace onnx_split
