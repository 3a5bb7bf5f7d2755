// manifest.json: all that a third party needs to run the parts elsewhere and put the answer together (docs/cli.md).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "partition/plan.h"

namespace onnx_split {

struct ManifestTensor {
  std::string tensor;  // the name in the part's ONNX file
  ValueRegion region;  // of which value, in the value's own coordinates
  // Of an output that is parity: the parts of the same stage whose outputs it is the sum of.
  std::vector<std::size_t> members;
};

struct ManifestPart {
  std::string file;  // a plain file name in the manifest's folder
  PartId id;
  std::vector<ManifestTensor> inputs;
  std::vector<ManifestTensor> outputs;
};

struct ManifestValue {
  std::string name;
  TensorType type;
};

struct Manifest {
  std::string model;
  std::vector<ManifestValue> values;  // inputs, cut values and outputs
  std::vector<ManifestPart> parts;    // in the order in which they can be run
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;

  const TensorType* find_value(std::string_view name) const;
  const ManifestPart* find_part(PartId id) const;
};

// The manifest of a plan that fits the graph; files are named stage<S>_part<P>.onnx. Standby parts aren't in it: their
// files are those of the parts that they repeat.
Manifest make_manifest(const Graph& graph, const Plan& plan);

// {"name": …, "dtype": …, "shape": …}: one value by itself.
Json manifest_value_to_json(const ManifestValue& value);
Expected<ManifestValue> manifest_value_from_json(const JsonReader& reader);

Json manifest_to_json(const Manifest& manifest);
// Checks that regions lie inside their values, that every input is there before it is needed, and that files are plain
// names.
Expected<Manifest> manifest_from_json(const Json& json);
Expected<Manifest> read_manifest(const std::filesystem::path& path);

}  // namespace onnx_split
