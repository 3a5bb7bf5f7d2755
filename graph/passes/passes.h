// Rewrites of whole graphs. Each gives a new graph that computes the same outputs (fold_batch_norm: up to rounding)
// from the same inputs, under the same names. A folded node's output keeps its name where it is still computed, so that
// plans may refer to it.
#pragma once

#include "graph/graph.h"

namespace onnx_split {

// Nodes whose inputs are all constants become constants (computed by the reference, graph/operators.h). Those that
// produce a graph output stay, and those whose result would be huge or cost too much to compute here.
Expected<Graph> fold_constants(const Graph& graph);

// Identity nodes disappear; where one produced a graph output, the value that it copied takes the output's name if it
// can (it isn't itself an input, a constant or another output).
Expected<Graph> drop_identities(const Graph& graph);

// BatchNormalization with constant parameters right behind a Conv or Gemm with constant weights, whose output nothing
// else reads, goes into the weights and the bias; so do further ones behind it. The Conv then produces the last
// BatchNormalization's output.
Expected<Graph> fold_batch_norm(const Graph& graph);

// Nodes and constants that no output needs disappear. Graph inputs stay.
Expected<Graph> remove_unused(const Graph& graph);

// All of the above, in the order that finds most, until nothing more is found. What `run`, `plan` and `verify` compute
// is the simplified graph.
Expected<Graph> simplify(const Graph& graph);

}  // namespace onnx_split
