// Plans with their prediction, with a window for which there is memory, and within the limits that were given: found by
// a search, or cut by hand.
#pragma once

#include "partition/planner.h"
#include "partition/search.h"

namespace onnx_split {

// The plan that a search has found, or the one of its rivals that the simulation finds better, or, where none of these
// keeps the limits, the first other one that does. The cost model must be of this graph. kExhausted: none of them keeps
// the devices' memory and the options' latency, counted exactly.
Expected<Plan> predicted_plan(const Graph& graph, const CostModel& cost, const SearchResult& found,
                              const SearchOptions& options, const EngineFacts& engine);

// The plan that make_plan makes of the request, for the cost model's devices. kExhausted: it doesn't fit in memory.
Expected<Plan> predicted_plan(const Graph& graph, const CostModel& cost, const PlanRequest& request);

// Sets what stands beside a prediction: the best device alone, and what no plan can exceed.
void compare_plan(const CostModel& cost, const SearchOptions& options, Prediction& prediction);

}  // namespace onnx_split
