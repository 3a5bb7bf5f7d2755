#include "partition/extract.h"

#include <algorithm>

#include "base/check.h"
#include "partition/divide.h"
#include "partition/spare_parts.h"

namespace onnx_split {
namespace {

Expected<void> check_regions(std::string_view what, const std::vector<ValueRegion>& planned,
                             const std::vector<ValueRegion>& found) {
  if (planned == found) return {};
  for (std::size_t i = 0; i < std::min(planned.size(), found.size()); ++i) {
    if (planned[i] == found[i]) continue;
    return fail(ErrorCode::kInvalid, "{} {} is {} of \"{}\" in the plan, but dividing the stage gives {} of \"{}\"",
                what, i, planned[i].region.to_string(), planned[i].value, found[i].region.to_string(), found[i].value);
  }
  return fail(ErrorCode::kInvalid, "{} {}s in the plan, but dividing the stage gives {}", planned.size(), what,
              found.size());
}

// The parts of one stage.
Expected<std::vector<Graph>> divide_again(const Graph& graph, const Stage& stage,
                                          const std::vector<std::int64_t>& units, PartWeights weights) {
  StageNodes nodes;
  for (const std::string& name : stage.nodes) nodes.push_back(*graph.find_node(name));
  TRY_ASSIGN(DividedStage divided, divide_stage(graph, nodes, division_of(stage), units, weights));
  if (!divided.rest.empty()) {
    return fail(ErrorCode::kInvalid, "{} needs the sum of the stage's parts", describe(graph.node(divided.rest[0])));
  }
  TRY(add_spare_parts(divided, stage.spare, weights));
  std::vector<Graph> graphs;
  for (std::size_t p = 0; p < divided.parts.size(); ++p) {
    auto checked = check_regions("input", stage.parts[p].inputs, divided.parts[p].inputs);
    if (checked) checked = check_regions("output", stage.parts[p].outputs, divided.parts[p].outputs);
    if (!checked) return fail_in(fmt::format("part {}", p), std::move(checked.error()));
    graphs.push_back(std::move(divided.parts[p].graph));
  }
  return graphs;
}

// The plan fits the graph.
Expected<void> extract_into(std::vector<PartGraph>& parts, const Graph& graph, const Plan& plan, std::size_t s,
                            const std::vector<std::int64_t>& units, PartWeights weights) {
  auto stage = divide_again(graph, plan.stages[s], units, weights);
  if (!stage) return fail_in(fmt::format("stage {}", s), std::move(stage.error()));
  for (std::size_t p = 0; p < stage->size(); ++p) parts.push_back({{s, p}, std::move((*stage)[p])});
  return {};
}

Expected<std::vector<PartGraph>> extract(const Graph& graph, const Plan& plan, PartWeights weights) {
  TRY(check_plan(plan, graph));
  const std::vector<std::int64_t> units = channel_units(graph);
  std::vector<PartGraph> parts;
  for (std::size_t s = 0; s < plan.stages.size(); ++s) TRY(extract_into(parts, graph, plan, s, units, weights));
  return parts;
}

}  // namespace

Expected<void> check_parts(const Graph& graph, const Plan& plan) {
  TRY(extract(graph, plan, PartWeights::kBlank));
  return {};
}

Expected<std::vector<PartGraph>> extract_parts(const Graph& graph, const Plan& plan) {
  return extract(graph, plan, PartWeights::kReal);
}

Expected<std::vector<PartGraph>> extract_stage(const Graph& graph, const Plan& plan, std::size_t stage,
                                               const std::vector<std::int64_t>& units) {
  CHECK(stage < plan.stages.size());
  std::vector<PartGraph> parts;
  TRY(extract_into(parts, graph, plan, stage, units, PartWeights::kReal));
  return parts;
}

Expected<std::uint64_t> copied_weight_bytes(const Graph& graph, const Plan& plan, std::size_t stage,
                                            const std::vector<std::int64_t>& units) {
  CHECK(stage < plan.stages.size());
  std::vector<PartGraph> parts;
  TRY(extract_into(parts, graph, plan, stage, units, PartWeights::kBlank));
  const bool has_sums = plan.stages[stage].spare == Spare::kParity;
  std::uint64_t bytes = 0;
  for (const PartGraph& part : parts) {
    for (const Value& value : part.graph.values()) {
      if (!value.constant) continue;
      const auto original = graph.find_value(value.name);
      const bool is_whole = original && graph.value(*original).constant && graph.value(*original).type == value.type;
      if (!is_whole || has_sums) bytes += value.type.size_bytes();
    }
  }
  return bytes;
}

}  // namespace onnx_split
