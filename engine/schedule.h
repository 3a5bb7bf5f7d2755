// What a session executes and where its values lie, decided before anything runs. Pure functions.
//
// Three rewrites happen here, none of which changes a bit of any result: a node's activation and residual addition
// move into its kernel's epilogue; nodes that keep their bytes (Reshape, …) become views; elementwise nodes write over
// an input that nobody reads afterwards.
#pragma once

#include <span>
#include <vector>

#include "engine/kernels/kernel.h"
#include "graph/graph.h"

namespace onnx_split {

// One kernel's work: a node, with the nodes of its epilogue.
struct Step {
  NodeId node;
  std::vector<ValueId> inputs;   // the node's, then the epilogue's addend
  std::vector<ValueId> outputs;  // of the last node of the epilogue
  Epilogue epilogue;
};

// In an order that respects every dependency. `fuse`: with epilogues.
std::vector<Step> make_schedule(const Graph& graph, bool fuse);

// Where a value lies.
struct Place {
  enum class Kind { kNowhere, kArena, kConstant, kInput, kOutput };
  Kind kind = Kind::kNowhere;  // kNowhere: no step needs it in memory
  std::size_t index = 0;       // offset in the arena in bytes; ValueId of the constant; number of the input or output
};

// An output that must be copied once all steps are done: it shows the bytes of an input, a constant or another output.
struct OutputCopy {
  ValueId value;
  std::size_t output;
};

struct MemoryPlan {
  std::vector<Place> places;  // one for each value
  std::vector<OutputCopy> copies;
  std::size_t arena_bytes = 0;
};

// `in_place`: elementwise steps may write over an input.
MemoryPlan plan_memory(const Graph& graph, std::span<const Step> steps, bool in_place);

}  // namespace onnx_split
