// What `--input X` names: the inputs of a network, found and checked at once, loaded one at a time.
//
//   X.npy              an array (cli/npy.h)
//   X.pb               an ONNX TensorProto
//   X.jpg .jpeg .png   a picture (cli/picture.h), for float32 [1,3,H,W] or [1,1,H,W]
//   a directory        each of its files, in the order of their names; those that begin with a dot are left out
//   random[:SEED]      seeded standard-normal noise (zoo::random_input); the seed is 0 unless given
//
// An array or tensor has the type of the network's input, or lacks only its leading extent of 1. An array [N,…] for an
// input of [1,…] is N items.
//
// A network with one input takes any number of these. One with several takes NAME=X for each of its inputs, with the
// same number of items for each, which go together in their order; plain random[:SEED] is an item for each input, with
// the seeds SEED, SEED+1, ….
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "cli/picture.h"
#include "graph/graph.h"

namespace onnx_split {

// The items, in order. Holds names, not data. Immutable: any number of threads may load.
class InputSource {
 public:
  // Finds all files and checks their headers against the graph's inputs, so that a long run doesn't fail at its last
  // item: only damage inside a picture, and files that change, are left for load() to find. At least one item. Errors
  // name the file, or the spec.
  static Expected<InputSource> open(std::span<const std::string> specs, const Graph& graph,
                                    const PictureOptions& options = {});

  std::size_t size() const { return size_; }
  // A name for the item, unique among them, and good for a file's name: the file's name without its extension (with it,
  // where two would be the same), and for an array of several items "name[0]", "name[1]", …. Of a network with several
  // inputs: the first input's.
  std::string label(std::size_t item) const;
  // The item's tensors, in the order of the graph's inputs and of exactly their types, in memory of their own.
  Expected<std::vector<Tensor>> load(std::size_t item) const;

 private:
  enum class Kind : std::uint8_t { kArray, kTensor, kPicture, kRandom };
  struct Source {
    Kind kind;
    std::filesystem::path path;  // not for kRandom
    std::uint64_t seed = 0;      // for kRandom
    std::string label;
    std::size_t items = 1;
    std::size_t first_item = 0;
  };
  // What feeds one input of the network.
  struct Feed {
    std::string input;
    TensorType type;
    std::vector<Source> sources;

    std::size_t items() const { return sources.empty() ? 0 : sources.back().first_item + sources.back().items; }
    const Source& source_of(std::size_t item) const;
  };

  InputSource() = default;
  Expected<void> add_spec(const std::string& spec);
  Expected<void> add_path(Feed& feed, const std::filesystem::path& path);
  Expected<void> add_directory(Feed& feed, const std::filesystem::path& path);
  Expected<void> add_file(Feed& feed, const std::filesystem::path& path);
  Expected<void> add_random(Feed& feed, const std::string& spec, std::uint64_t seed);
  Expected<void> check_counts() const;
  void make_labels_unique();
  Expected<Tensor> load_from(const Source& source, const TensorType& type, std::size_t item) const;

  std::vector<Feed> feeds_;
  PictureOptions options_;
  std::size_t size_ = 0;
};

}  // namespace onnx_split
