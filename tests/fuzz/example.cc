#include "tests/fuzz/example.h"

#include <fmt/format.h>

#include <cstdlib>

#include "base/check.h"
#include "graph/builder.h"
#include "partition/planner.h"
#include "partition/predict.h"

namespace onnx_split::fuzz {
namespace {

template <class T>
T must(Expected<T> result) {
  if (result) return std::move(*result);
  fmt::print(stderr, "{}\n", result.error().message);
  std::abort();
}

ValueId constant(GraphBuilder& builder, const std::string& name, Shape shape) {
  const std::vector<float> data(static_cast<std::size_t>(shape.elements()), 0.5F);
  return must(builder.add_constant(name, Tensor::floats(std::move(shape), data)));
}

Graph make_graph() {
  GraphBuilder builder("example");
  const ValueId x = must(builder.add_input("x", {DataType::kFloat32, Shape{1, 2, 6, 6}}));
  const Attributes same{{"pads", Ints{1, 1, 1, 1}}};
  const ValueId w1 = constant(builder, "w1", {4, 2, 3, 3});
  const ValueId w2 = constant(builder, "w2", {4, 4, 3, 3});
  const ValueId fc = constant(builder, "fc", {3, 36});
  const ValueId conv1 = must(builder.add("conv1", OpType::kConv, same, {x, w1}));
  const ValueId relu1 = must(builder.add("relu1", OpType::kRelu, {}, {conv1}));
  const ValueId conv2 = must(builder.add("conv2", OpType::kConv, same, {relu1, w2}));
  const ValueId sum = must(builder.add("sum", OpType::kAdd, {}, {conv2, relu1}));
  const Attributes window{{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}};
  const ValueId pool = must(builder.add("pool", OpType::kMaxPool, window, {sum}));
  const ValueId flat = must(builder.add("flat", OpType::kFlatten, {{"axis", std::int64_t{1}}}, {pool}));
  const ValueId y = must(builder.add("y", OpType::kGemm, {{"transB", std::int64_t{1}}}, {flat, fc}));
  return must(std::move(builder).build({y}));
}

Plan make_example_plan(std::vector<StageRequest> stages) {
  PlanRequest request;
  request.devices = {"pi0", "pi1", "pi2"};
  request.stages = std::move(stages);
  Plan plan = must(make_plan(example_graph(), request));
  Cluster cluster;
  for (const std::string& name : request.devices) {
    cluster.devices.emplace_back().name = name;
    cluster.devices.back().address = "tcp://127.0.0.1:7070";
  }
  const ClusterModel model = must(make_cluster_model(example_graph(), cluster, nullptr));
  if (!predict(example_graph(), model, plan)) std::abort();
  return plan;
}

StageRequest stage(std::vector<std::string> until, Split split, std::size_t ways, std::size_t replicas = 1,
                   Spare spare = Spare::kNone) {
  StageRequest request;
  request.until = std::move(until);
  request.split = split;
  request.ways = ways;
  request.replicas = replicas;
  request.spare = spare;
  if (split == Split::kSpatial) request.grid = {ways, 1};
  return request;
}

}  // namespace

const Graph& example_graph() {
  static const Graph graph = make_graph();
  return graph;
}

const std::vector<Plan>& example_plans() {
  static const std::vector<Plan> plans = {
      make_example_plan({stage({"sum"}, Split::kWhole, 1, 2), stage({}, Split::kWhole, 1)}),
      make_example_plan({stage({"relu1"}, Split::kSpatial, 2), stage({"sum"}, Split::kInputChannel, 2),
                         stage({}, Split::kOutputChannel, 2)}),
      make_example_plan({stage({"relu1"}, Split::kWhole, 1, 1, Spare::kStandby),
                         stage({"conv2"}, Split::kOutputChannel, 2, 1, Spare::kParity), stage({}, Split::kWhole, 1)})};
  return plans;
}

void check_routing_of(const Plan& plan, const Graph& graph) {
  const auto routing = make_routing(plan, plan.inputs, plan.outputs);
  if (!routing) CHECK(routing.error().code == ErrorCode::kUnsupported);  // too much of it
  if (!routing) return;
  for (const Transfer& transfer : routing->transfers) {
    const auto value = graph.find_value(transfer.what.value);
    CHECK(value && transfer.what.region.inside(graph.value(*value).shape()) && !transfer.what.region.empty());
    CHECK(transfer.to_coordinator || !transfer.consumers.empty());
    for (const PartId consumer : transfer.consumers) CHECK(!transfer.source || transfer.source->stage < consumer.stage);
    for (std::uint64_t request = 0; request < 3; ++request) {
      for (const std::size_t device : receiving_devices(plan, transfer, request)) CHECK(device < plan.devices.size());
    }
  }
  for (const Alternatives& alternatives : routing->alternatives) {
    CHECK(alternatives.needed > 0 && alternatives.needed < alternatives.transfers.size());
    for (const std::size_t i : alternatives.transfers) {
      CHECK(routing->transfers[i].consumers == routing->transfers[alternatives.transfers[0]].consumers);
    }
  }
  for (const PartId id : part_ids(plan)) {
    for (const ValueRegion& input : plan.stages[id.stage].parts[id.part].inputs) {
      std::vector<Region> pieces;
      for (const std::size_t i : routing->pieces_of(id, input)) pieces.push_back(routing->transfers[i].what.region);
      // None where nobody needs the part.
      CHECK(pieces.empty() || covered_elements(input.region, pieces) == input.region.shape().elements());
    }
  }
}

}  // namespace onnx_split::fuzz
