// Where `run` and `bench` compute: the whole network in this process, the parts of a plan one after the other in this
// process, a local fleet, or the runners of a cluster.
#pragma once

#include <CLI/App.hpp>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/identity.h"
#include "cli/model.h"
#include "cli/planning.h"
#include "fleet/coordinator.h"
#include "graph/graph.h"
#include "partition/plan.h"

namespace onnx_split {

struct BackendOptions {
  std::size_t local = 0;  // runners to start; 0: none
  std::string cluster_path;
  IdentityOptions identity;  // with a cluster
  std::string plan_path;
  PlanningOptions planning;  // with a cluster, where there is no plan
  std::optional<unsigned> threads;
  std::optional<std::int64_t> lost_after_ms;  // of a fleet: a device that is silent for so long is lost
  bool no_replan = false;                     // of a fleet: a device that the plan needs ends it when it is lost
  EngineOptions engine;                       // where there is no plan, which says that
  bool quiet = false;
  std::string log_level;
};

void add_backend_options(CLI::App& command, BackendOptions& options);

class Backend {
 public:
  virtual ~Backend() = default;

  using Clock = Coordinator::Clock;

  // Inputs in the graph's order. May block: until computed, or until the window has room. An answer that comes after
  // the deadline is kTimeout.
  virtual std::future<Result> submit(const std::vector<Tensor>& inputs, Clock::time_point deadline) = 0;
  // As submit, but kExhausted at once where the window has no room.
  virtual Expected<std::future<Result>> try_submit(const std::vector<Tensor>& inputs, Clock::time_point deadline) {
    return submit(inputs, deadline);
  }
  // Requests that can be in flight at once.
  virtual std::size_t window() const = 0;
  // After how many requests devices take turns from the beginning.
  virtual std::size_t round() const { return 1; }
  // "2 runners on this machine, 1 thread each"
  virtual std::string describe() const = 0;
  // Threads of one device.
  virtual unsigned threads() const = 0;
};

// Starts and deploys whatever the options ask for. Ctrl-C cancels what is in flight.
Expected<std::unique_ptr<Backend>> make_backend(const Graph& graph, const BackendOptions& options);

}  // namespace onnx_split
