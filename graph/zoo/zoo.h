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

// Computes a graph: inputs and outputs in the graph's order. The engine supplies it (engine/evaluate.h): the zoo may not see the
// engine, and calibration with the reference kernels would take minutes.
using Evaluate = std::function<Expected<std::vector<Tensor>>(const Graph& graph, std::span<const Tensor> inputs)>;

// Builds a network whose weights depend only on its name and `seed`. Calibration computes it on a small seeded batch, layer by
// layer: batch-norm statistics are the batch's own; where there is no batch norm, weights and bias are scaled so
// that pre-activations have mean 0 and deviation 1; the logits have a standard deviation between 0.5 and 5. Ends at
// logits (no softmax). An unknown name is kNotFound and lists the known ones.
Expected<Graph> build(std::string_view name, std::uint64_t seed, const Evaluate& evaluate);

// A seeded standard-normal tensor: what `--input random:SEED` means.
Tensor random_input(const Shape& shape, std::uint64_t seed);

}  // namespace onnx_split::zoo
