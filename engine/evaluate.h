// Computes into new tensors, where it doesn't matter that they are allocated.
#pragma once

#include <span>
#include <vector>

#include "engine/session.h"

namespace onnx_split {

// One run.
Expected<std::vector<Tensor>> evaluate(Session& session, std::span<const Tensor> inputs);

// A session made, run and dropped. For calibration, verification and tests.
Expected<std::vector<Tensor>> evaluate_once(const Graph& graph, std::span<const Tensor> inputs,
                                            const SessionOptions& options = {});

}  // namespace onnx_split
