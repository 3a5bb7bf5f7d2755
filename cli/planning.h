// From what the command line says of devices and of what is wanted to a plan: what `plan`, `run` and `bench` share.
#pragma once

#include <CLI/App.hpp>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/choice.h"
#include "graph/graph.h"
#include "partition/cluster.h"
#include "partition/plan.h"
#include "partition/search.h"

namespace onnx_split {

struct PlanningOptions {
  std::string profile_path;  // empty: none
  std::string stages_path;   // empty: the search decides
  std::string objective = "throughput";
  double max_latency_ms = 0.0;  // 0: any
  bool no_replicas = false;
  bool no_splits = false;
  std::size_t spares = 0;             // devices that get spare parts only
  std::function<bool()> interrupted;  // besides the user, may end the search
};

void add_planning_options(CLI::App& command, PlanningOptions& options);

// The devices local0, local1, …, about which nothing is known but their threads.
Cluster local_cluster(std::size_t devices, unsigned threads);

// These devices of it, and the links between them.
Cluster only_devices(Cluster cluster, const std::vector<std::string>& names);

// The best plan that the search finds, or the one that the stages file asks for; both with their prediction. Kernels
// are chosen by the rule. In which order the devices are listed matters only to a stages file and to spare devices.
// Errors name the file that doesn't fit.
Expected<Plan> plan_for(const Graph& graph, Cluster cluster, const PlanningOptions& options, const ChoiceRule& rule);

// Errors, also that it doesn't fit the graph, name the file.
Expected<Plan> plan_of_file(const Graph& graph, const std::string& path);

// The plan of the file `path` as it is, also where it doesn't fit into memory, with the prediction that its devices and
// the options' profile give it; of the options the objective says which single device stands beside it. Devices that
// the plan doesn't list are left out. Errors name the file that doesn't fit.
Expected<Plan> plan_again(const Graph& graph, const Cluster& cluster, const PlanningOptions& options,
                          const std::string& path, Plan plan);

}  // namespace onnx_split
