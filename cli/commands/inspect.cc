#include <CLI/CLI.hpp>
#include <memory>

#include "base/json.h"
#include "cli/commands.h"
#include "cli/model.h"
#include "cli/plan_report.h"
#include "cli/table.h"
#include "graph/operators.h"
#include "graph/order.h"
#include "onnx_import/import.h"
#include "partition/extract.h"
#include "partition/plan_json.h"

namespace onnx_split {
namespace {

struct Options {
  ModelOptions model;
  std::string plan;
  bool parts = false;
  bool json = false;
};

Json unsupported_to_json(const std::vector<UnsupportedNode>& unsupported) {
  Json list = Json::array();
  for (const UnsupportedNode& node : unsupported) {
    list.push_back({{"name", node.name}, {"op", node.op}, {"opset", node.opset}, {"reason", node.reason}});
  }
  return list;
}

// A model that can't be imported still tells what stands in the way.
void print_unsupported(const std::vector<UnsupportedNode>& unsupported, bool as_json) {
  if (as_json) {
    const Json json = {{"macs", nullptr},
                       {"weights", nullptr},
                       {"weight_bytes", nullptr},
                       {"nodes", Json::array()},
                       {"unsupported", unsupported_to_json(unsupported)}};
    fmt::print("{}\n", to_text(json, 1));
    return;
  }
  Table table({"unsupported node", "op", ">opset", "reason"});
  for (const UnsupportedNode& node : unsupported) {
    table.add({node.name, node.op, std::to_string(node.opset), node.reason});
  }
  fmt::print("{}", table.to_string());
}

// Bytes of the values that cross the cut behind each node.
std::vector<std::int64_t> cut_bytes(const Graph& graph) {
  std::vector<std::int64_t> bytes(graph.node_count(), 0);
  const std::vector<Lifetime> alive = lifetimes(graph);
  for (std::size_t i = 0; i < graph.value_count(); ++i) {
    const Value& value = graph.values()[i];
    if (value.constant) continue;
    const std::size_t last_use = value.consumers.empty() ? alive[i].first : value.consumers.back().index();
    for (std::size_t node = alive[i].first; node < last_use; ++node) {
      bytes[node] += static_cast<std::int64_t>(value.type.size_bytes());
    }
  }
  return bytes;
}

struct Totals {
  std::int64_t macs = 0;
  std::int64_t weights = 0;
  std::int64_t weight_bytes = 0;
};

Totals totals_of(const Graph& graph) {
  Totals totals;
  for (const Node& node : graph.nodes()) totals.macs += node_cost(graph, node).macs;
  for (const Value& value : graph.values()) {
    if (!value.constant) continue;
    totals.weights += value.shape().elements();
    totals.weight_bytes += static_cast<std::int64_t>(value.type.size_bytes());
  }
  return totals;
}

void print_json(const Graph& graph, const Totals& totals, const std::vector<std::int64_t>& cuts) {
  Json nodes = Json::array();
  for (std::size_t i = 0; i < graph.node_count(); ++i) {
    const Node& node = graph.nodes()[i];
    const NodeCost cost = node_cost(graph, node);
    const Value& output = graph.value(node.outputs.front());
    nodes.push_back({{"name", node.name},
                     {"op", op_name(node.op)},
                     {"output", output.name},
                     {"shape", output.shape().vector()},
                     {"macs", cost.macs},
                     {"weight_bytes", cost.weight_bytes},
                     {"output_bytes", cost.activation_bytes},
                     {"cut_bytes", cuts[i]}});
  }
  const Json json = {{"model", graph.name()},
                     {"macs", totals.macs},
                     {"weights", totals.weights},
                     {"weight_bytes", totals.weight_bytes},
                     {"peak_activation_bytes", peak_activation_bytes(graph)},
                     {"nodes", std::move(nodes)},
                     {"unsupported", Json::array()}};
  fmt::print("{}\n", to_text(json, 1));
}

void print_table(const Graph& graph, const Totals& totals, const std::vector<std::int64_t>& cuts) {
  Table table({"node", "op", "output", "shape", ">MACs", ">weights", ">output", ">cut behind"});
  for (std::size_t i = 0; i < graph.node_count(); ++i) {
    const Node& node = graph.nodes()[i];
    const NodeCost cost = node_cost(graph, node);
    const Value& output = graph.value(node.outputs.front());
    const auto number = [](std::int64_t value, const char* unit) {
      return value == 0 ? std::string("-") : human(static_cast<double>(value), unit);
    };
    table.add({node.name, std::string(op_name(node.op)), output.name, output.shape().to_string(), number(cost.macs, ""),
               number(cost.weight_bytes, "B"), number(cost.activation_bytes, "B"), number(cuts[i], "B")});
  }
  fmt::print("{}", table.to_string());
  for (const ValueId id : graph.inputs()) {
    fmt::print("input   {} {}\n", graph.value(id).name, graph.value(id).type.to_string());
  }
  for (const ValueId id : graph.outputs()) {
    fmt::print("output  {} {}\n", graph.value(id).name, graph.value(id).type.to_string());
  }
  fmt::print("total   {} nodes, {}MACs, {} weights ({}), activations peak at {}; {} possible cuts\n",
             graph.node_count(), human(static_cast<double>(totals.macs)), totals.weights,
             human(static_cast<double>(totals.weight_bytes), "B"),
             human(static_cast<double>(peak_activation_bytes(graph)), "B"), graph.node_count() - 1);
}

// A plan in place of the layers.
Expected<void> inspect_plan(const Graph& graph, const Options& options) {
  TRY_ASSIGN(const Plan plan, read_plan(options.plan));
  auto checked = check_parts(graph, plan);
  if (!checked) return fail_in(options.plan, std::move(checked.error()));
  auto printed = print_plan(graph, plan, {options.json, options.parts});
  if (!printed) return fail_in(options.plan, std::move(printed.error()));
  return {};
}

Expected<void> run(const Options& options) {
  TRY_ASSIGN(const std::vector<UnsupportedNode> unsupported, list_unsupported(options.model.path));
  if (!unsupported.empty()) {
    print_unsupported(unsupported, options.json);
    return {};
  }
  TRY_ASSIGN(const Graph graph, load_model(options.model));
  if (!options.plan.empty()) return inspect_plan(graph, options);
  const Totals totals = totals_of(graph);
  const std::vector<std::int64_t> cuts = cut_bytes(graph);
  options.json ? print_json(graph, totals, cuts) : print_table(graph, totals, cuts);
  return {};
}

}  // namespace

Command add_inspect(CLI::App& program, const CommonOptions&) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      program.add_subcommand("inspect", "show layers, shapes, MACs, weights, possible cuts, what isn't supported");
  add_model_options(*command, options->model);
  auto* plan = command->add_option("--plan", options->plan, "show this plan instead")->type_name("PLAN.json");
  command->add_flag("--parts", options->parts, "with a table of all parts")->needs(plan);
  command->add_flag("--json", options->json, "as JSON");
  command->footer("Example:\n  onnx-split inspect resnet50.onnx");
  return [options] { return run(*options); };
}

}  // namespace onnx_split
