// Runs the parts of a plan one after the other in this process and puts the values together by the manifest alone. The
// slow, obvious counterpart of the fleet: what `run --plan` and `verify` use.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/session.h"
#include "partition/manifest.h"

namespace onnx_split {

using NamedTensors = std::map<std::string, Tensor, std::less<>>;

struct ComposedPart {
  Graph graph;
  KernelChoices choices;  // those for nodes of other parts are ignored
};

// A value as its receiver has it without one of the parts that give it.
struct DecodedValue {
  std::string value;
  PartId without;
  Tensor tensor;
};

class Composer {
 public:
  // `parts` in the manifest's order. `options.choices` isn't used.
  static Expected<Composer> create(Manifest manifest, std::vector<ComposedPart> parts, const SessionOptions& options);
  // The parts of a plan that fits the graph, with the plan's choices.
  static Expected<Composer> create(const Graph& graph, const Plan& plan, const SessionOptions& options);

  // The values that the parts give (cut values and outputs), by name; inputs in the manifest's order.
  // Where `decoded` is given, also each value that can be told from parity, once without each of its parts; otherwise
  // parity parts aren't computed.
  Expected<NamedTensors> run(std::span<const Tensor> inputs, std::vector<DecodedValue>* decoded = nullptr);

  const Manifest& manifest() const { return manifest_; }

 private:
  Composer() = default;
  // What the parts of a stage give of its only value.
  struct Piece {
    PartId part;
    ValueRegion what;
    Tensor tensor;
  };
  static DecodedValue decoded_without(const Piece& lost, const Piece& parity, const std::vector<Piece>& members,
                                      const TensorType& type);
  Manifest manifest_;
  std::vector<std::unique_ptr<Session>> sessions_;
};

// The parts of a folder that `split` wrote, or that somebody else made: manifest.json and the ONNX files it names.
struct PartFolder {
  Manifest manifest;
  std::vector<Graph> parts;
};
Expected<PartFolder> read_part_folder(const std::filesystem::path& folder);

// The choices among `choices` that name a node of the graph.
KernelChoices choices_for(const Graph& graph, const KernelChoices& choices);

}  // namespace onnx_split
