// The zoo: the standard networks of the papers, built layer by layer with their exact structure and seeded, calibrated
// weights (docs/architecture.md, "Networks with random weights"), so that every test and measurement has real
// networks without a download.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "graph/graph.h"

namespace onnx_split::zoo {

struct Network {
  std::string_view name;         // "resnet50"
  std::string_view description;  // what it is and the paper it comes from
  Shape input;                   // with batch 1
  std::int64_t parameters;       // the published count of trainable parameters
};

std::span<const Network> networks();

// Computes a graph: inputs and outputs in the graph's order. The engine supplies it (engine/evaluate.h): the zoo may
// not see the engine, and calibration with the reference kernels would take minutes.
using Evaluate = std::function<Expected<std::vector<Tensor>>(const Graph& graph, std::span<const Tensor> inputs)>;

// Builds a network whose weights depend only on its name and `seed`. Calibration computes it on a small seeded batch,
// layer by layer, and sets each channel's size from what it sees: batch-norm statistics are the batch's own; where
// there is no batch norm, weights and bias are scaled so that pre-activations have deviation 1. Means are a little
// above 0: with half of all ReLUs off, deep networks blow up rounding errors, to 8e-5 of the logits in a resnet101.
// Logits have a standard deviation between 0.5 and 5. Ends at logits (no softmax). An unknown name is kNotFound and
// lists the known ones.
//
// The same machine gives the same bits, and so does any `evaluate` that gives the same bits. Between core types the
// calibrated numbers differ by rounding: who compares machines ships the file.
// At its peak it holds the network's weights, a second copy of one layer's, and a few activations of the batch.
Expected<Graph> build(std::string_view name, std::uint64_t seed, const Evaluate& evaluate);

// The same nodes, values and shapes, with zeros for weights, which occupy no memory until they are read: what it takes
// to count, to plan and to print.
Expected<Graph> structure(std::string_view name);

// The trainable parameters of a graph: elements of its nodes' constants, without batch norms' running statistics.
// A constant that several nodes share counts for each.
std::int64_t count_parameters(const Graph& graph);

// A seeded standard-normal tensor: what `--input random:SEED` means.
Tensor random_input(const Shape& shape, std::uint64_t seed);

}  // namespace onnx_split::zoo
