// A network's structure without its large weights, and random numbers in their place: so that a runner can measure how
// long nodes take whose weights it doesn't have. Plain data and pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace onnx_split {

// Constants up to this size, and all that aren't float32, keep their data: what a node does may depend on it.
inline constexpr std::size_t kKeptConstantBytes = 1024;

struct Weightless {
  Graph graph;
  std::vector<std::string> constants;  // those of the graph's inputs that are constants without their data
};

// Nodes [begin, end) of a graph as one of its own, with the same names. What they read of other nodes is an input, what
// others read of them an output, as are the graph's own.
Expected<Weightless> without_weights(const Graph& graph, std::size_t begin, std::size_t end);

// The graph with constants again, all zeros that occupy no memory: to see what it would need. Errors: a name that isn't
// a float32 input, or is given twice.
Expected<Graph> with_blank_weights(const Weightless& weightless);

// Seeded random numbers, normally distributed with deviation 1, in one block of memory.
class RandomBlock {
 public:
  explicit RandomBlock(std::size_t size_bytes);

  // A tensor of numbers of the block; it begins behind the last one, or at the block's begin where there is no room
  // left. The type is float32, and not larger than the block.
  Tensor next(const TensorType& type);
  std::size_t size_bytes() const { return block_.size(); }

 private:
  Buffer block_;
  std::size_t at_ = 0;
};

// The graph with random constants: scaled so that networks of any depth neither overflow nor come down to denormal
// numbers (deviation sqrt(2 / fan-in) where they are multiplied and summed; otherwise from 0.5 to 1.5). With a `block`
// they share its memory and its deviation: for graphs of a single layer. Errors as with_blank_weights.
Expected<Graph> with_random_weights(const Weightless& weightless, RandomBlock* block = nullptr);

// Values for an input: normally distributed; zeros if it isn't float32.
Tensor random_input(const TensorType& type, RandomBlock* block = nullptr);

}  // namespace onnx_split
