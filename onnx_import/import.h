// ONNX file → graph. The only room that sees the ONNX schema; no header here includes it.
//
// What comes in may be hostile: every length is checked before it is used, external data must lie inside the model's
// folder, and an error names the file and the node. Weights are held once: moved out of the parsed message, or mapped
// from external data files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace onnx_split {

struct ImportOptions {
  std::int64_t batch = 1;  // what a symbolic batch dimension (the first of an input) becomes
  bool simplify = true;    // run the passes of graph/passes/passes.h; parts are imported as they are
};

// Opsets 7 to 21 (1 to 6 for the operators that old models use): onnx_import/op_table.cc is the list. Unsupported
// operators are refused with the list of all of them (name, type, opset): kUnsupported. Errors begin with the path.
Expected<Graph> import_onnx(const std::filesystem::path& path, const ImportOptions& options = {});

// The same from memory; `folder` is where external data may lie (empty: nowhere).
Expected<Graph> import_onnx_bytes(std::span<const std::byte> bytes, const std::filesystem::path& folder,
                                  const ImportOptions& options = {});

// A node that import_onnx would refuse, and why.
struct UnsupportedNode {
  std::string name;
  std::string op;  // with its domain, where that isn't ONNX's own: "com.microsoft.FusedConv"
  std::int64_t opset = 0;
  std::string reason;
};

// All of them; empty for a model whose operators can all be imported. An error where the file can't be read as a model.
Expected<std::vector<UnsupportedNode>> list_unsupported(const std::filesystem::path& path);

// A TensorProto file (.pb), as ONNX's test data and `--input X.pb` use. Float, int64, int32 (→ int64) and bool.
Expected<Tensor> import_tensor(const std::filesystem::path& path);

}  // namespace onnx_split
