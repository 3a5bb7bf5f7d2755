// Small networks made by hand, and stages asked for by hand.
#pragma once

#include <string>
#include <vector>

#include "graph/builder.h"
#include "partition/planner.h"
#include "tests/support/expect.h"

namespace onnx_split::testing {

inline std::vector<std::string> devices(std::size_t count) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < count; ++i) names.push_back(fmt::format("pi{}", i));
  return names;
}

// A chain of layers with zero weights: what planning needs.
class Chain {
 public:
  explicit Chain(Shape input) : builder_("chain") {
    now_ = must(builder_.add_input("x", {DataType::kFloat32, std::move(input)}));
  }

  Chain& conv(const std::string& name, std::int64_t outputs, std::int64_t kernel = 3, std::int64_t stride = 1,
              std::int64_t groups = 1) {
    const std::int64_t pad = kernel / 2;
    const Shape weights{outputs, shape()[1] / groups, kernel, kernel};
    return add(name, OpType::kConv,
               {{"group", groups}, {"strides", Ints{stride, stride}}, {"pads", Ints{pad, pad, pad, pad}}},
               {constant(name + ".w", weights), constant(name + ".b", Shape{outputs})});
  }
  Chain& fc(const std::string& name, std::int64_t outputs) {
    return add(name, OpType::kGemm, {{"transB", std::int64_t{1}}},
               {constant(name + ".w", Shape{outputs, shape()[1]}), constant(name + ".b", Shape{outputs})});
  }
  Chain& add(const std::string& name, OpType op, Attributes attributes = {}, std::vector<ValueId> others = {}) {
    others.insert(others.begin(), now_);
    now_ = must(builder_.add(name, op, std::move(attributes), std::move(others)));
    return *this;
  }
  Chain& relu(const std::string& name) { return add(name, OpType::kRelu); }

  ValueId now() const { return now_; }
  // Once.
  Graph graph() { return must(std::move(builder_).build({now_})); }

 private:
  const Shape& shape() const { return builder_.value(now_).shape(); }
  ValueId constant(const std::string& name, const Shape& shape) {
    TensorBuilder builder({DataType::kFloat32, shape}, true);
    return must(builder_.add_constant(name, std::move(builder).build()));
  }

  GraphBuilder builder_;
  ValueId now_;
};

inline StageRequest stage(std::vector<std::string> until, Split split, std::size_t ways, Grid grid = {}) {
  StageRequest request;
  request.until = std::move(until);
  request.split = split;
  request.ways = ways;
  request.grid = grid;
  if (split == Split::kSpatial && grid == Grid{}) request.grid = {ways, 1};
  return request;
}

inline Expected<Plan> plan_stages(const Graph& graph, std::size_t device_count, std::vector<StageRequest> stages) {
  PlanRequest request;
  request.devices = devices(device_count);
  request.stages = std::move(stages);
  return make_plan(graph, request);
}

}  // namespace onnx_split::testing
