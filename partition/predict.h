// What a finished plan will do, whoever made it: fills in its parts' times and its prediction. Unlike the search's cost
// model, which averages, this goes through the plan's own schedules and transfers, and simulates it.
#pragma once

#include "partition/cluster_model.h"
#include "partition/plan.h"

namespace onnx_split {

// How much the time of a part is taken to vary, each way, when the throughput of many requests is predicted.
inline constexpr double kJitter = 0.1;

// Requests to simulate for the throughput of many: enough for a steady state.
std::size_t offline_requests(std::size_t window);

// The model's devices are the plan's, in its order. Sets Part::compute_s and Plan::prediction but for what only a
// search knows (bounds, the device alone). Errors: the plan doesn't fit the graph.
Expected<void> predict(const Graph& graph, const ClusterModel& model, Plan& plan);

}  // namespace onnx_split
