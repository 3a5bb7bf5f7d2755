// Small ONNX models, made in a few words for the tests.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "onnx/onnx.pb.h"
#include "onnx_import/import.h"

namespace onnx_split {

using Dims = std::vector<std::int64_t>;
using Names = std::vector<std::string>;

class NodeMaker {
 public:
  explicit NodeMaker(onnx::NodeProto& node) : node_(&node) {}
  NodeMaker& name(const std::string& text);
  NodeMaker& domain(const std::string& text);
  NodeMaker& attribute(const std::string& name, std::int64_t value);
  NodeMaker& attribute(const std::string& name, float value);
  NodeMaker& attribute(const std::string& name, const char* value);
  NodeMaker& attribute(const std::string& name, const Dims& values);
  NodeMaker& attribute(const std::string& name, const std::vector<float>& values);
  onnx::NodeProto& proto() { return *node_; }

 private:
  onnx::NodeProto* node_;
};

class ModelMaker {
 public:
  explicit ModelMaker(std::int64_t opset);

  ModelMaker& input(const std::string& name, const Dims& dims, int type = onnx::TensorProto::FLOAT);
  ModelMaker& output(const std::string& name, int type = onnx::TensorProto::FLOAT);
  ModelMaker& floats(const std::string& name, const Dims& dims, const std::vector<float>& values);
  ModelMaker& ints(const std::string& name, const std::vector<std::int64_t>& values);
  NodeMaker node(const std::string& op, const Names& inputs, const Names& outputs);

  onnx::ModelProto& proto() { return model_; }
  std::string bytes() const { return model_.SerializeAsString(); }
  Expected<Graph> import(const ImportOptions& options = {}) const;

 private:
  onnx::ModelProto model_;
};

Expected<Graph> import_string(const std::string& bytes, const std::filesystem::path& folder = {},
                              const ImportOptions& options = {});

// 0, 1, 2, …
std::vector<float> counting(std::size_t count, float first = 0.0F);
std::vector<float> seeded(std::size_t count, std::uint64_t seed);

// Computes the graph node by node with the operators' reference.
Expected<std::vector<Tensor>> reference_run(const Graph& graph, std::span<const Tensor> inputs);

}  // namespace onnx_split
