// Computes a graph once: a session made, run and dropped. For calibration, verification and tests.
#pragma once

#include <span>
#include <vector>

#include "engine/session.h"

namespace onnx_split {

Expected<std::vector<Tensor>> evaluate_once(const Graph& graph, std::span<const Tensor> inputs,
                                            const SessionOptions& options = {});

}  // namespace onnx_split
