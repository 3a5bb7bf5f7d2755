// The nearest possible choice to a split that is refused.
#pragma once

#include <string>

#include "partition/divide.h"

namespace onnx_split {

// What would be possible instead, in the words of the stages file: fewer ways, a smaller grid, an earlier `until`, a
// later beginning, another split; where nothing else helps, `whole`.
std::string nearest_choice(const Graph& graph, const StageNodes& nodes, const Division& refused,
                           const std::vector<std::int64_t>& units);

}  // namespace onnx_split
