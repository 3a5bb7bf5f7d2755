// What a session executes and where its values lie, decided before anything runs. Pure functions.
//
// Rewrites happen here, none of which changes a bit of any result: a node's activation and residual addition move into
// its kernel's epilogue; nodes that keep their bytes (Reshape, …) become views; elementwise nodes write over an input
// that nobody reads afterwards; pieces of a concatenation are written where it wants them; values between convolutions
// are kept in the blocked layout (graph/layout.h).
#pragma once

#include <span>
#include <vector>

#include "engine/choice.h"
#include "engine/kernels/kernel.h"
#include "graph/graph.h"
#include "graph/layout.h"

namespace onnx_split {

// A value in one of the layouts that it has.
struct Operand {
  ValueId value;
  Layout layout = Layout::kPlain;

  bool operator==(const Operand&) const = default;
};

// One kernel's work: a node, with the nodes of its epilogue; or the same value in another layout.
struct Step {
  NodeId node;
  std::vector<Operand> inputs;   // the node's, then the epilogue's addend
  std::vector<Operand> outputs;  // of the last node of the epilogue
  Epilogue epilogue;
  bool is_reorder = false;  // for `node`, which comes next or came before
};

// The value whose bytes a value shows: itself, but for views.
ValueId source_of(const Graph& graph, ValueId value);

// In an order that respects every dependency. `fuse`: with epilogues. All operands are plain.
std::vector<Step> make_schedule(const Graph& graph, bool fuse);

// The same steps, those that can in the blocked layout, with reorders between. `choices` has every node that has one.
std::vector<Step> lay_out(const Graph& graph, std::vector<Step> steps, const KernelChoices& choices,
                          const BoundaryLayouts& boundary = {});

// Where a value lies.
struct Place {
  enum class Kind { kNowhere, kArena, kConstant, kInput, kOutput };
  Kind kind = Kind::kNowhere;  // kNowhere: no step needs it in memory
  std::size_t index = 0;       // offset in the arena in bytes; ValueId of the constant; number of the input or output
};

// An output that must be copied once all steps are done: it shows the bytes of an input, a constant or another output.
struct OutputCopy {
  Operand value;
  std::size_t output;
};

struct MemoryPlan {
  std::vector<Place> places;  // of each value, plain and blocked: see place()
  std::vector<OutputCopy> copies;
  std::size_t arena_bytes = 0;

  static std::size_t slot(const Operand& operand) {
    return 2 * operand.value.index() + (operand.layout == Layout::kBlocked ? 1 : 0);
  }
  const Place& place(const Operand& operand) const { return places[slot(operand)]; }
};

// `in_place`: elementwise steps may write over an input, and an input of Concat may lie in its output, in its place.
MemoryPlan plan_memory(const Graph& graph, std::span<const Step> steps, bool in_place,
                       const BoundaryLayouts& boundary = {});

}  // namespace onnx_split
