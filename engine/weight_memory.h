// How much memory the weights of a graph take in a session: kernels lay some out for themselves, in more bytes than the
// model has them in (Winograd's are up to four times as large), and read the others where they are.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/choice.h"
#include "graph/graph.h"
#include "graph/operators.h"

namespace onnx_split {

// What the rule's kernel for an application of an operator lays out, in bytes; nothing: it reads its constants.
std::optional<std::int64_t> laid_out_weight_bytes(OpType op, const OpCall& call, const ChoiceRule& rule);

struct WeightMemory {
  std::int64_t laid_out_bytes = 0;
  std::int64_t in_place_bytes = 0;  // of constants that kernels read

  std::int64_t bytes() const { return laid_out_bytes + in_place_bytes; }
};

WeightMemory weight_memory(const Graph& graph, const ChoiceRule& rule);

}  // namespace onnx_split
