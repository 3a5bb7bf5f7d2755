// What `--output Y` and `--top K` write: a network's outputs as .npy files, and its likeliest classes.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "graph/graph.h"

namespace onnx_split {

// Where outputs go. A `path` that ends in .npy (and isn't a folder) is one file, for one item of a network with one
// output. Any other is a folder, created if missing, with LABEL.npy for each item or, where the network has several
// outputs, LABEL.OUTPUT.npy. Characters that don't belong in a file's name become "_". A file that exists is replaced;
// each is written whole or not at all. Not thread-safe.
class OutputSink {
 public:
  // Checks that `path` can be written, so that a long run doesn't fail at its end. `items`: how many will come.
  static Expected<OutputSink> open(const std::filesystem::path& path, const Graph& graph, std::size_t items);

  // The item's outputs, in the graph's order. No two items may have the same label. After an error the item's earlier
  // outputs may have been written.
  Expected<void> write(const std::string& label, std::span<const Tensor> outputs);

 private:
  OutputSink(std::filesystem::path path, std::vector<std::string> suffixes, bool folder)
      : path_(std::move(path)), suffixes_(std::move(suffixes)), folder_(folder) {}

  std::filesystem::path path_;
  std::vector<std::string> suffixes_;  // an output: what follows the label
  bool folder_;
  std::unordered_set<std::string> written_;
};

// One class's name a line, the first line for class 0. An empty line is a class without a name, except at the end.
Expected<std::vector<std::string>> read_labels(const std::filesystem::path& path);

struct Ranked {
  std::size_t index = 0;  // of the class
  float value = 0;
  double probability = 0;  // softmax of all classes' values: meant for networks that end at logits
  std::string label;       // empty where there are no labels
};

// The min(k, classes) classes with the largest values, largest first; equal ones in the order of their index, NaN last.
// `scores` is float32 with one value a class: no more than one extent above 1. `labels` has a name for each class, or
// nothing.
Expected<std::vector<Ranked>> top_k(const Tensor& scores, std::size_t k, std::span<const std::string> labels = {});

}  // namespace onnx_split
