// Spare parts for a plan that has none: on devices that were kept back from it.
#pragma once

#include <vector>

#include "partition/cluster_model.h"
#include "partition/planner.h"

namespace onnx_split {

// Gives stages spare parts on these devices, which the plan doesn't use yet, in the order of the stages, as long as the
// memory there, and of those that receive what they give, allows it and they keep up: at least half the plan's
// throughput would be left if they were always waited for. Parity where a stage is one layer split by output channels,
// otherwise standby. The plan must fit the graph and have a prediction by the model, whose devices are the
// plan's; it gets a new one, but for what only a search knows. kExhausted if no stage can have any.
Expected<void> add_spares(const Graph& graph, const ClusterModel& model, const EngineFacts& engine,
                          const std::vector<std::size_t>& devices, Plan& plan);

// How many of the plan's devices compute nothing but spare parts: those that were kept back for them.
std::size_t count_spare_devices(const Plan& plan);

}  // namespace onnx_split
