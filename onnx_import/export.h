// Graph → ONNX file at opset 17 (19 where a node needs it) with external weights (raw, little-endian, each 64-byte
// aligned, one `.weights` file), which any ONNX runtime loads.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace onnx_split {

// What a graph without a name is called, where it is imported and where it is exported: a plan names its model.
inline constexpr const char* kUnnamedGraph = "graph";

// An exported model before it is written: the ONNX message, and where each constant's bytes stand in the weights file.
// Refers to the graph's constants by sharing them: nothing is copied.
struct ExportedModel {
  struct Piece {
    std::uint64_t offset = 0;  // in the weights file; pieces are in order, gaps are zeros
    Buffer data;
  };
  std::string model;         // the serialised ModelProto
  std::string weights_name;  // the file name that it refers to
  std::vector<Piece> weights;
  std::uint64_t weights_bytes = 0;  // size of the weights file
};

// `weights_name`: a plain file name without folder.
Expected<ExportedModel> export_onnx(const Graph& graph, const std::string& weights_name);

// The graph as one ModelProto with all of its constants inside: for graphs without large ones. kExhausted over 2 GB.
Expected<std::string> export_onnx_bytes(const Graph& graph);

// Writes `path` and, beside it, its weights (path with the extension .weights). Neither is left behind on failure.
Expected<void> export_onnx_file(const Graph& graph, const std::filesystem::path& path);

}  // namespace onnx_split
