#include <CLI/CLI.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/model.h"
#include "cli/part_report.h"
#include "cli/planning.h"
#include "partition/plan_json.h"

namespace onnx_split {
namespace {

struct Options {
  ModelOptions model;
  PlanningOptions planning;
  std::size_t devices = 0;
  std::string cluster;
  std::string output;
  unsigned threads = 1;
  bool json = false;
};

Expected<void> run(const Options& options) {
  TRY_ASSIGN(const Graph graph, load_model(options.model));
  Cluster cluster = local_cluster(options.devices, options.threads);
  if (!options.cluster.empty()) {
    TRY_ASSIGN(cluster, read_cluster_file(options.cluster));
  }
  TRY_ASSIGN(const Plan plan, plan_for(graph, cluster, options.planning));
  TRY(write_plan(plan, options.output));
  print_parts(plan, options.json);
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
  add_planning_options(*command, options->planning);
  command->add_option("-o,--output", options->output, "the plan to write")->type_name("PLAN.json")->required();
  command->add_flag("--json", options->json, "print the parts as JSON");
  command->final_callback([options] {
    if (options->devices == 0 && options->cluster.empty()) throw CLI::RequiredError("--devices or --cluster");
  });
  command->footer("Example:\n  onnx-split plan resnet50.onnx --devices 4 -o plan.json");
  return [options] { return run(*options); };
}

}  // namespace onnx_split
