// A session computes one graph on this machine, over and over: it owns the graph and its prepared kernels, and, unless
// it shares them (SessionOptions), one arena for the activations, planned from lifetimes, and its threads. create()
// does everything that can fail or allocate; run() does neither.
//
// Results depend only on the graph, the inputs, the kernel choices and the OpenBLAS core type: not on the number of
// threads, nor on neighbouring nodes (docs/architecture.md, promise 1). run() is for one thread at a time; different
// sessions are independent unless they share something.
//
// Constants of a mapped file that kernels read as they are are copied into the session's memory, and the file isn't
// needed any more.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "engine/choice.h"
#include "graph/graph.h"
#include "graph/layout.h"

namespace onnx_split {

class RunMemory;
class ThreadPool;

struct SessionOptions {
  unsigned threads = 1;  // of the session's own
  // In place of them, and of memory of its own: shared with sessions that never run at the same time.
  std::shared_ptr<ThreadPool> pool = nullptr;
  std::shared_ptr<RunMemory> run_memory = nullptr;
  // Obeyed where they name a node; an impossible or unknown one is an error. The others follow the rule.
  KernelChoices choices;
  ChoiceRule rule = default_rule();
  // How the inputs and outputs lie in the caller's memory. Blocked ones have a multiple of kChannelBlock channels; an
  // output that is an input or a constant lies as that does.
  BoundaryLayouts boundary = {};
  // Use the slow reference kernels everywhere (for tests). They know the plain layout only.
  bool reference = false;
};

// What a run does for one node: computes it, with the nodes of its epilogue, or copies an input or output of it into
// another layout.
struct SessionStep {
  NodeId node;
  bool is_reorder = false;
};

class Session {
 public:
  // Errors: a choice that is unknown or impossible; a layout that can't be; not enough memory.
  static Expected<std::unique_ptr<Session>> create(Graph graph, const SessionOptions& options);
  ~Session();

  // Without the data of constants that kernels have laid out for themselves.
  const Graph& graph() const;
  const KernelChoices& choices() const;

  // Computes the outputs into the given memory; both in the graph's order, shapes and types as the graph says
  // (checked). Outputs must not overlap inputs or each other. The inputs needn't be aligned beyond their element type.
  // kCancelled if `stop` is requested before the last kernel is done, as soon as the tasks that have begun, or what the
  // kernel does outside of tasks, are done: the outputs are left half written.
  Expected<void> run(std::span<const TensorView> inputs, std::span<const MutableTensorView> outputs,
                     const std::stop_token& stop = {});

  // What a run does one after the other; a node's steps are neighbours. A node that isn't named is computed in the
  // epilogue of one that is, or keeps the bytes of its input and takes no time.
  std::vector<SessionStep> steps() const;

  // As run(), to the same bits, and says how busy each step kept this session: the most processor time that any of its
  // threads spent in it, in nanoseconds. `busy_ns` has an element for each of steps(). What else runs on the machine,
  // or a quota that stops the process now and then, doesn't count. Costs some microseconds a step.
  Expected<void> run_timed(std::span<const TensorView> inputs, std::span<const MutableTensorView> outputs,
                           std::span<std::int64_t> busy_ns);

  // Memory that the session needs, in bytes; the first two are what may be shared.
  std::size_t arena_bytes() const;
  std::size_t workspace_bytes() const;  // kernels' scratch, all threads together
  std::size_t weight_bytes() const;     // laid out by kernels, and the graph's constants that they read where they are

 private:
  Session();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace onnx_split
