#include <CLI/CLI.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/model.h"
#include "cli/part_report.h"
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
  bool json = false;
};

Expected<void> run(const Options& options) {
  TRY_ASSIGN(const Graph graph, load_model(options.model));
  PlanRequest request;
  unsigned threads = options.threads;
  if (!options.cluster.empty()) {
    TRY_ASSIGN(const Cluster cluster, read_cluster_file(options.cluster));
    for (const Device& device : cluster.devices) {
      request.devices.push_back(device.name);
      request.gflops.push_back(device.gflops);
    }
    threads = cluster.devices.front().threads;
  } else {
    for (std::size_t i = 0; i < options.devices; ++i) request.devices.push_back(LocalFleet::device_name(i));
  }
  if (!options.stages.empty()) {
    TRY_ASSIGN(request.stages, read_stages_file(options.stages));
  }
  request.engine = engine_facts(threads);
  auto plan = make_plan(graph, request);
  if (!plan) return options.stages.empty() ? tl::unexpected(plan.error()) : fail_in(options.stages, plan.error());
  TRY(write_plan(*plan, options.output));
  print_parts(*plan, options.json);
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
  command->add_option("--stages", options->stages, "cut and divided by hand as this file says")->type_name("FILE");
  command->add_option("-o,--output", options->output, "the plan to write")->type_name("PLAN.json")->required();
  command->add_flag("--json", options->json, "print the parts as JSON");
  command->final_callback([options] {
    if (options->devices == 0 && options->cluster.empty()) throw CLI::RequiredError("--devices or --cluster");
  });
  command->footer("Example:\n  onnx-split plan resnet50.onnx --devices 4 -o plan.json");
  return [options] { return run(*options); };
}

}  // namespace onnx_split
