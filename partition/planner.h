// Makes plans of whole stages: a pipeline of devices, balanced on MACs or cut by hand, with replicas.
#pragma once

#include <string>
#include <vector>

#include "partition/plan.h"
#include "partition/stages_file.h"

namespace onnx_split {

// What a plan must repeat of the engine that it was made for (engine/session.h supplies it; partition doesn't see the
// engine).
struct EngineFacts {
  unsigned threads = 1;
  std::string core_type;
  std::map<std::string, std::string, std::less<>> choices;
};

struct PlanRequest {
  std::vector<std::string> devices;  // names; at least one
  std::vector<StageRequest> stages;  // empty: one balanced stage a device
  EngineFacts engine;
  std::size_t window = 0;  // 0: two for each stage and replica, so that every device computes while others send
};

// The graph must be the simplified one (graph/passes/passes.h). Stages without devices of their own take the devices
// that no stage names, in order; it's an error if they run out. With fewer nodes than devices some devices stay idle.
Expected<Plan> make_plan(const Graph& graph, const PlanRequest& request);

}  // namespace onnx_split
