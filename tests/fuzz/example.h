// The small network that the targets check plans, profiles and deployments against, and plans of it. Made once.
#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"
#include "partition/plan.h"
#include "partition/routing.h"

namespace onnx_split::fuzz {

// Two convolutions, a residual sum, a pool and a fully connected layer: something for every split.
const Graph& example_graph();

// Plans of it, one with whole stages and replicas, one with every split, one with spare parts; predicted.
const std::vector<Plan>& example_plans();

// Aborts where a plan that fits the graph has no routing, or one that isn't consistent.
void check_routing_of(const Plan& plan, const Graph& graph);

}  // namespace onnx_split::fuzz
