#include "partition/planner.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "partition/extract.h"
#include "partition/pipeline.h"

namespace onnx_split {
namespace {

std::vector<StageRequest> one_stage_a_device(std::size_t stages) { return std::vector<StageRequest>(stages); }

Expected<std::vector<StageNodes>> cut(const Graph& graph, const PlanRequest& request) {
  if (request.stages.empty()) {
    return balance_stages(graph, std::min(request.devices.size(), graph.node_count()));
  }
  std::vector<std::vector<std::string>> until;
  for (const StageRequest& stage : request.stages) {
    if (!stage.until.empty()) until.push_back(stage.until);
  }
  TRY_ASSIGN(std::vector<StageNodes> stages, stages_until(graph, until));
  if (stages.size() > request.stages.size()) {
    return fail(ErrorCode::kInvalid, "the stages stop before the network ends: let the last one omit \"until\"");
  }
  if (stages.size() < request.stages.size()) {
    return fail(ErrorCode::kInvalid, "the last stage has nothing left to compute");
  }
  return stages;
}

// The devices of each stage, as indices.
Expected<std::vector<std::vector<std::size_t>>> assign_devices(const PlanRequest& request,
                                                               const std::vector<StageRequest>& stages) {
  std::set<std::string> named;
  for (const StageRequest& stage : stages) named.insert(stage.devices.begin(), stage.devices.end());
  std::vector<std::size_t> free;
  for (std::size_t i = 0; i < request.devices.size(); ++i) {
    if (!named.contains(request.devices[i])) free.push_back(i);
  }
  std::vector<std::vector<std::size_t>> assigned(stages.size());
  std::size_t next_free = 0;
  for (std::size_t s = 0; s < stages.size(); ++s) {
    for (const std::string& name : stages[s].devices) {
      const auto found = std::find(request.devices.begin(), request.devices.end(), name);
      if (found == request.devices.end()) {
        return fail(ErrorCode::kNotFound, "stages[{}].devices: no device is named \"{}\"", s, name);
      }
      assigned[s].push_back(static_cast<std::size_t>(found - request.devices.begin()));
    }
    while (assigned[s].size() < stages[s].ways * stages[s].replicas) {
      if (next_free == free.size()) {
        return fail(ErrorCode::kInvalid, "stages[{}]: no device is left: the stages want more than the {} there are", s,
                    request.devices.size());
      }
      assigned[s].push_back(free[next_free++]);
    }
  }
  return assigned;
}

}  // namespace

Expected<Plan> make_plan(const Graph& graph, const PlanRequest& request) {
  if (request.devices.empty()) return fail(ErrorCode::kInvalid, "no devices to plan for");
  TRY_ASSIGN(const std::vector<StageNodes> stage_nodes, cut(graph, request));
  const std::vector<StageRequest> wanted =
      request.stages.empty() ? one_stage_a_device(stage_nodes.size()) : request.stages;
  TRY_ASSIGN(const auto devices, assign_devices(request, wanted));

  Plan plan;
  plan.model = graph.name();
  plan.fingerprint = fingerprint(graph);
  plan.devices = request.devices;
  plan.threads = request.engine.threads;
  plan.core_type = request.engine.core_type;
  plan.choices = request.engine.choices;
  std::size_t servers = 0;
  for (std::size_t s = 0; s < stage_nodes.size(); ++s) {
    Stage stage;
    for (const NodeId node : stage_nodes[s]) stage.nodes.push_back(graph.node(node).name);
    stage.schedule.resize(wanted[s].replicas);
    std::iota(stage.schedule.begin(), stage.schedule.end(), std::size_t{0});
    TRY_ASSIGN(Part part, whole_part(graph, stage_nodes, s));
    part.devices = devices[s];
    stage.parts.push_back(std::move(part));
    plan.stages.push_back(std::move(stage));
    servers += wanted[s].replicas;
  }
  plan.window = request.window > 0 ? request.window : 2 * servers;
  return plan;
}

}  // namespace onnx_split
