// Makes plans: a pipeline of whole stages balanced on MACs, or stages cut and divided by hand, with replicas.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "partition/cost.h"
#include "partition/divide.h"
#include "partition/plan.h"
#include "partition/stages_file.h"

namespace onnx_split {

// What a plan must repeat of the engine that it was made for (engine/ supplies it; partition doesn't see the engine).
struct EngineFacts {
  unsigned threads = 1;
  std::string core_type;
  // The kernel of each node of a graph (the network's, a part's) that has a choice: a pure function. Empty: none have.
  std::function<NodeChoices(const Graph&)> choose;
  // The memory that a graph's weights take in a runner. Empty: that of its constants.
  std::function<std::int64_t(const Graph&)> weight_bytes = {};
};

struct PlanRequest {
  std::vector<std::string> devices;  // names; at least one
  std::vector<double> gflops;        // by device; empty, or 0: unknown
  std::vector<StageRequest> stages;  // empty: one balanced stage a device
  EngineFacts engine;
  std::size_t window = 0;  // 0: two for each stage and replica, and at most two for each device
};

// The graph must be the simplified one (graph/passes/passes.h). Stages without devices of their own take the devices
// that no stage names, in order, beginning again where they run out. With fewer nodes than devices some stay idle.
//
// What must see a divided stage's sum opens the stage that needs it; where there are several, or that one can't be
// divided with it, and for an output of the network, it becomes a `whole` stage on the devices of part 0. Parts have
// equal shares, or, where the devices' speeds are known and differ, shares in proportion. A split that is impossible is
// refused with the reason and the nearest possible choice.
Expected<Plan> make_plan(const Graph& graph, const PlanRequest& request);

// Of the stages that a search has found; `schedules`: who serves which request, by stage. The request's stages aren't
// looked at.
Expected<Plan> make_plan(const Graph& graph, const PlanRequest& request, const StageShapes& shapes,
                         const Candidate& candidate, std::vector<std::vector<std::size_t>> schedules);

// A part of a stage that is split so, with what the engine makes of it.
Part make_part(const DividedPart& divided, Split split, std::vector<std::size_t> devices, const EngineFacts& engine);

// Who serves which request, for replicas that get these shares of them (positive, adding up to 1): a repeating
// schedule, evenly mixed, as short as comes within half a percent of the shares, and at most 65,536 long.
std::vector<std::size_t> make_schedule(std::span<const double> shares);

}  // namespace onnx_split
