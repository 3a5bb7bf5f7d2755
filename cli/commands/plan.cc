#include <CLI/CLI.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/model.h"
#include "cli/table.h"
#include "fleet/local_fleet.h"
#include "partition/cluster.h"
#include "partition/plan_json.h"
#include "partition/planner.h"

namespace onnx_split {
namespace {

struct Options {
  ModelOptions model;
  std::size_t devices = 0;
  std::string cluster;
  std::string stages;
  std::string output;
  unsigned threads = 1;
};

std::int64_t bytes_of(const Graph& graph, const std::vector<ValueRegion>& regions) {
  std::int64_t bytes = 0;
  for (const ValueRegion& region : regions) {
    const Value& value = graph.value(*graph.find_value(region.value));
    bytes += region.region.shape().elements() * static_cast<std::int64_t>(element_bytes(value.type.type));
  }
  return bytes;
}

void print_plan(const Graph& graph, const Plan& plan) {
  Table table({">stage", "split", "devices", "first node", "last node", ">nodes", ">MACs", ">weights", ">activations",
               ">received", ">sent"});
  for (const PartId id : part_ids(plan)) {
    const Stage& stage = plan.stages[id.stage];
    const Part& part = stage.parts[id.part];
    std::string devices;
    for (const std::size_t device : part.devices) devices += (devices.empty() ? "" : ", ") + plan.devices[device];
    const auto size = [](std::int64_t bytes) { return human(static_cast<double>(bytes), "B"); };
    table.add({std::to_string(id.stage), std::string(split_name(stage.split)), devices, stage.nodes.front(),
               stage.nodes.back(), std::to_string(stage.nodes.size()), human(static_cast<double>(part.macs)),
               size(part.weight_bytes), size(part.activation_bytes), size(bytes_of(graph, part.inputs)),
               size(bytes_of(graph, part.outputs))});
  }
  fmt::print("{}", table.to_string());
}

Expected<void> run(const Options& options) {
  TRY_ASSIGN(const Graph graph, load_model(options.model));
  PlanRequest request;
  unsigned threads = options.threads;
  if (!options.cluster.empty()) {
    TRY_ASSIGN(const Cluster cluster, read_cluster_file(options.cluster));
    for (const Device& device : cluster.devices) request.devices.push_back(device.name);
    threads = cluster.devices.front().threads;
  } else {
    for (std::size_t i = 0; i < options.devices; ++i) request.devices.push_back(LocalFleet::device_name(i));
  }
  if (!options.stages.empty()) {
    TRY_ASSIGN(request.stages, read_stages_file(options.stages));
  }
  request.engine = engine_facts(graph, threads);
  auto plan = make_plan(graph, request);
  if (!plan) return options.stages.empty() ? tl::unexpected(plan.error()) : fail_in(options.stages, plan.error());
  TRY(write_plan(*plan, options.output));
  print_plan(graph, *plan);
  return {};
}

}  // namespace

Command add_plan(CLI::App& program, const CommonOptions&) {
  auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("plan", "decide how to cut a network");
  add_model_options(*command, options->model);
  auto* devices = command->add_option("--devices", options->devices, "this many equal devices, named local0, local1, …")
                      ->type_name("N")
                      ->check(CLI::Range(1, 4096));
  auto* cluster = command->add_option("--cluster", options->cluster, "the devices of this file")->type_name("FILE");
  devices->excludes(cluster);
  command->add_option("--threads", options->threads, "threads of each device (with --devices)")
      ->type_name("N")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str()
      ->excludes(cluster);
  command->add_option("--stages", options->stages, "cut by hand as this file says")->type_name("FILE");
  command->add_option("-o,--output", options->output, "the plan to write")->type_name("PLAN.json")->required();
  command->final_callback([options] {
    if (options->devices == 0 && options->cluster.empty()) throw CLI::RequiredError("--devices or --cluster");
  });
  command->footer("Example:\n  onnx-split plan resnet50.onnx --devices 4 -o plan.json");
  return [options] { return run(*options); };
}

}  // namespace onnx_split
