#include "partition/extract.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "base/check.h"
#include "graph/builder.h"
#include "graph/operators.h"
#include "graph/order.h"

namespace onnx_split {
namespace {

ValueRegion whole_value(const Value& value) { return {value.name, Region::whole(value.shape()), Combine::kPlace}; }

// The graph of the named nodes, with the given values as inputs and outputs.
Expected<Graph> subgraph(const Graph& graph, const std::string& name, const std::vector<NodeId>& nodes,
                         const std::vector<ValueRegion>& inputs, const std::vector<ValueRegion>& outputs) {
  GraphBuilder builder(name);
  std::unordered_map<ValueId, ValueId> mapped;
  for (const ValueRegion& input : inputs) {
    const ValueId id = *graph.find_value(input.value);
    TRY_ASSIGN(mapped[id], builder.add_input(input.value, graph.value(id).type));
  }
  for (const NodeId node_id : nodes) {
    const Node& node = graph.node(node_id);
    std::vector<ValueId> node_inputs;
    for (const ValueId input : node.inputs) {
      if (!mapped.contains(input)) {
        const Value& value = graph.value(input);
        if (!value.constant) {
          return fail(ErrorCode::kInvalid, "{}: its input \"{}\" isn't given to the part", describe(node), value.name);
        }
        TRY_ASSIGN(mapped[input], builder.add_constant(value.name, *value.constant));
      }
      node_inputs.push_back(mapped[input]);
    }
    std::vector<std::string> names;
    for (const ValueId output : node.outputs) names.push_back(graph.value(output).name);
    TRY_ASSIGN(const NodeId added,
               builder.add_node(node.name, node.op, node.attributes, std::move(node_inputs), std::move(names)));
    for (std::size_t i = 0; i < node.outputs.size(); ++i) {
      mapped[node.outputs[i]] = builder.graph().node(added).outputs[i];
    }
  }
  std::vector<ValueId> output_ids;
  for (const ValueRegion& output : outputs) {
    const auto found = mapped.find(*graph.find_value(output.value));
    if (found == mapped.end()) {
      return fail(ErrorCode::kInvalid, "the part doesn't compute its output \"{}\"", output.value);
    }
    output_ids.push_back(found->second);
  }
  return std::move(builder).build(std::move(output_ids));
}

Expected<void> set_costs(const Graph& graph, const std::vector<NodeId>& nodes, Part& part) {
  TRY_ASSIGN(const Graph part_graph, subgraph(graph, "part", nodes, part.inputs, part.outputs));
  for (const Node& node : part_graph.nodes()) part.macs += node_cost(part_graph, node).macs;
  for (const Value& value : part_graph.values()) {
    if (value.constant) part.weight_bytes += static_cast<std::int64_t>(value.type.size_bytes());
  }
  part.activation_bytes = static_cast<std::int64_t>(peak_activation_bytes(part_graph));
  return {};
}

}  // namespace

Expected<Part> whole_part(const Graph& graph, const std::vector<StageNodes>& stages, std::size_t stage) {
  std::unordered_set<NodeId> inside(stages[stage].begin(), stages[stage].end());
  std::unordered_set<ValueId> seen;
  Part part;
  for (const NodeId node_id : stages[stage]) {
    const Node& node = graph.node(node_id);
    for (const ValueId input : node.inputs) {
      const Value& value = graph.value(input);
      const bool from_outside = !value.constant && !(value.producer.valid() && inside.contains(value.producer));
      if (from_outside && seen.insert(input).second) part.inputs.push_back(whole_value(value));
    }
    for (const ValueId output : node.outputs) {
      const Value& value = graph.value(output);
      const bool needed_later = std::any_of(value.consumers.begin(), value.consumers.end(),
                                            [&](NodeId consumer) { return !inside.contains(consumer); });
      if (needed_later || graph.is_output(output)) part.outputs.push_back(whole_value(value));
    }
  }
  if (part.outputs.empty()) {
    return fail(ErrorCode::kInvalid, "stage {}: nothing later needs what it computes", stage);
  }
  TRY(set_costs(graph, stages[stage], part));
  return part;
}

Expected<std::vector<PartGraph>> extract_parts(const Graph& graph, const Plan& plan) {
  TRY(check_plan(plan, graph));
  std::vector<PartGraph> parts;
  for (const PartId id : part_ids(plan)) {
    const Stage& stage = plan.stages[id.stage];
    std::vector<NodeId> nodes;
    for (const std::string& name : stage.nodes) nodes.push_back(*graph.find_node(name));
    std::sort(nodes.begin(), nodes.end());
    const Part& part = stage.parts[id.part];
    if (stage.split != Split::kWhole || stage.parts.size() != 1) {
      return fail(ErrorCode::kUnsupported, "{}: split {} isn't supported", to_string(id), split_name(stage.split));
    }
    for (const auto* regions : {&part.inputs, &part.outputs}) {
      for (const ValueRegion& region : *regions) {
        const Value& value = graph.value(*graph.find_value(region.value));
        if (region != whole_value(value)) {
          return fail(ErrorCode::kInvalid, "{}: a whole stage needs and gives whole values, not {} of \"{}\"",
                      to_string(id), region.region.to_string(), region.value);
        }
      }
    }
    auto extracted = subgraph(graph, fmt::format("{}_stage{}_part{}", graph.name(), id.stage, id.part), nodes,
                              part.inputs, part.outputs);
    if (!extracted) return fail_in(to_string(id), std::move(extracted.error()));
    parts.push_back({id, std::move(*extracted)});
  }
  return parts;
}

}  // namespace onnx_split
