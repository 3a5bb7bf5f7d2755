#include "partition/part_builder.h"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "base/check.h"
#include "graph/builder.h"
#include "graph/cut_out.h"

namespace onnx_split {
namespace {

class PartBuilder {
 public:
  PartBuilder(const Graph& graph, const StageRoles& roles, const PartNeeds& needs, PartWeights weights)
      : graph_(graph),
        roles_(roles),
        needs_(needs),
        weights_(weights),
        builder_(graph.name()),
        own_(graph.value_count()) {}

  Expected<DividedPart> build() {
    for (std::size_t i = 0; i < roles_.nodes.size(); ++i) {
      auto added = add_node(i);
      if (!added) return fail_in(describe(graph_.node(roles_.nodes[i])), std::move(added.error()));
    }
    std::vector<ValueId> outputs;
    for (const ValueId id : roles_.given) {
      const Value& value = graph_.value(id);
      const bool partial = roles_.is_partial[id.index()];
      const Region region = partial ? Region::whole(value.shape()) : needs_.shares.given.at(id);
      TRY_ASSIGN(const ValueId output, read(id, region));
      outputs.push_back(output);
      owned_.push_back({value.name, region, partial ? Combine::kAdd : Combine::kPlace});
    }
    TRY_ASSIGN(Graph graph, std::move(builder_).build(std::move(outputs)));
    std::int64_t macs = 0;
    for (const Node& node : graph.nodes()) macs += node_cost(graph, node).macs;
    return DividedPart{std::move(inputs_), std::move(owned_), std::move(graph), macs};
  }

 private:
  // The value as this part has it.
  struct Own {
    ValueId id;
    Region region;
  };

  // A name that neither the part nor the model uses.
  std::string fresh_name(const std::string& base) const {
    std::string name = base;
    for (int i = 1; builder_.unique_value_name(name) != name || graph_.find_value(name) || graph_.find_node(name);
         ++i) {
      name = fmt::format("{}_{}", base, i);
    }
    return name;
  }

  // The name under which a node's result is made: the value's own, unless a slice of it bears that name.
  std::string name_of_result(const Value& value, ValueId id, const Region& produced) const {
    const bool is_given = std::find(roles_.given.begin(), roles_.given.end(), id) != roles_.given.end();
    if (!is_given || roles_.is_partial[id.index()] || needs_.shares.given.at(id) == produced) return value.name;
    return fresh_name(value.name + "/computed");
  }

  Expected<ValueId> constant(ValueId id, const Region& region) {
    const Value& value = graph_.value(id);
    const bool taken = builder_.graph().find_value(value.name).has_value();
    const std::string name = taken ? fresh_name(value.name + "/slice") : value.name;
    if (weights_ == PartWeights::kReal) return builder_.add_constant(name, cut_out(*value.constant, region));
    const TensorType type{value.type.type, region.shape()};
    return builder_.add_constant(name, Tensor(type, untouched_zeros(type.size_bytes())));
  }

  // The value's region, sliced from what the part has of it.
  Expected<ValueId> read(ValueId id, const Region& region) {
    std::map<std::string, ValueId>& known = reads_[id];
    const std::string key = region.to_string();
    if (const auto found = known.find(key); found != known.end()) return found->second;
    const Value& value = graph_.value(id);
    if (value.constant) {
      TRY_ASSIGN(known[key], constant(id, region));
      return known[key];
    }
    std::optional<Own>& own = own_[id.index()];
    if (!own) {
      const Region& needed = *needs_.values[id.index()];
      TRY_ASSIGN(const ValueId input, builder_.add_input(value.name, {value.type.type, needed.shape()}));
      own = Own{input, needed};
      inputs_.push_back({value.name, needed, Combine::kPlace});
    }
    if (own->region == region) return known[key] = own->id;
    CHECK(own->region.contains(region));
    Attributes attributes;
    Ints starts, ends, axes;
    for (std::size_t axis = 0; axis < region.rank(); ++axis) {
      if (region[axis] == own->region[axis]) continue;
      axes.push_back(static_cast<std::int64_t>(axis));
      starts.push_back(region[axis].begin - own->region[axis].begin);
      ends.push_back(region[axis].end - own->region[axis].begin);
    }
    attributes.set("starts", std::move(starts));
    attributes.set("ends", std::move(ends));
    attributes.set("axes", std::move(axes));
    const auto share = needs_.shares.given.find(id);
    const bool is_share = share != needs_.shares.given.end() && share->second == region;
    TRY_ASSIGN(known[key], add_helper(value.name + "/slice", OpType::kSlice, std::move(attributes), {own->id},
                                      is_share ? value.name : fresh_name(value.name + "/slice")));
    return known[key];
  }

  // A node that the model doesn't have.
  Expected<ValueId> add_helper(const std::string& name, OpType op, Attributes attributes, std::vector<ValueId> inputs,
                               std::string output) {
    TRY_ASSIGN(const NodeId added,
               builder_.add_node(fresh_name(name), op, std::move(attributes), std::move(inputs), {std::move(output)}));
    return builder_.graph().node(added).outputs[0];
  }

  // Of the other operand, where an Add alone reads the node's result: if it is sliced before the node, the engine can
  // add it in the node's epilogue.
  Expected<void> slice_addend(const Node& node) {
    if (node.outputs.size() != 1) return {};
    const Value& result = graph_.value(node.outputs.front());
    if (result.consumers.size() != 1 || graph_.node(result.consumers.front()).op != OpType::kAdd) return {};
    const auto add = std::find(roles_.nodes.begin(), roles_.nodes.end(), result.consumers.front());
    if (add == roles_.nodes.end()) return {};
    const std::vector<ValueId>& operands = graph_.node(*add).inputs;
    const std::size_t other = operands[0] == node.outputs.front() ? 1 : 0;
    if (!own_[operands[other].index()]) return {};
    for (const NodeStep& step : needs_.steps[static_cast<std::size_t>(add - roles_.nodes.begin())]) {
      if (step.slice.inputs[other]) TRY(read(operands[other], *step.slice.inputs[other]));
    }
    return {};
  }

  Expected<void> add_node(std::size_t index) {
    const Node& node = graph_.node(roles_.nodes[index]);
    TRY(slice_addend(node));
    for (const NodeStep& step : needs_.steps[index]) {
      std::vector<ValueId> inputs;
      for (std::size_t i = 0; i < node.inputs.size(); ++i) {
        if (!step.slice.inputs[i]) continue;
        TRY_ASSIGN(const ValueId input, read(node.inputs[i], *step.slice.inputs[i]));
        inputs.push_back(input);
      }
      TRY(add_step(node, step, std::move(inputs)));
    }
    return {};
  }

  Expected<void> add_step(const Node& node, const NodeStep& step, std::vector<ValueId> inputs) {
    const NodeSlice& slice = step.slice;
    const bool is_scaled = slice.scale != 1.0F;
    std::vector<Region> produced;
    std::vector<std::string> names;
    for (const std::size_t output : step.outputs) {
      const ValueId id = node.outputs[output];
      const Value& value = graph_.value(id);
      produced.push_back(step.outputs.size() == 1 ? slice.produced : Region::whole(value.shape()));
      names.push_back(is_scaled ? fresh_name(value.name + "/sum") : name_of_result(value, id, produced.back()));
    }
    // The model's name, by which the kernel is chosen, goes to the first slice.
    std::string name = builder_.graph().find_node(node.name) ? fresh_name(node.name) : node.name;
    TRY_ASSIGN(const NodeId added,
               builder_.add_node(std::move(name), slice.op, slice.attributes, std::move(inputs), std::move(names)));
    for (std::size_t i = 0; i < step.outputs.size(); ++i) {
      const ValueId id = node.outputs[step.outputs[i]];
      const std::string& value_name = graph_.value(id).name;
      ValueId result = builder_.graph().node(added).outputs[i];
      if (is_scaled) {
        TRY_ASSIGN(const ValueId scale,
                   builder_.add_constant(fresh_name(value_name + "/share"), Tensor::scalar(slice.scale)));
        TRY_ASSIGN(result, add_helper(value_name + "/mean", OpType::kMul, {}, {result, scale}, value_name));
      }
      CHECK(builder_.value(result).shape() == produced[i].shape());
      own_[id.index()] = Own{result, std::move(produced[i])};
    }
    return {};
  }

  const Graph& graph_;
  const StageRoles& roles_;
  const PartNeeds& needs_;
  PartWeights weights_;
  GraphBuilder builder_;
  std::vector<ValueRegion> inputs_;
  std::vector<ValueRegion> owned_;
  std::vector<std::optional<Own>> own_;  // by value
  std::unordered_map<ValueId, std::map<std::string, ValueId>> reads_;
};

}  // namespace

Expected<DividedPart> build_part(const Graph& graph, const StageRoles& roles, const PartNeeds& needs,
                                 PartWeights weights) {
  return PartBuilder(graph, roles, needs, weights).build();
}

}  // namespace onnx_split
