#include <CLI/CLI.hpp>
#include <memory>
#include <optional>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/draw_plan.h"
#include "cli/model.h"
#include "cli/plan_report.h"
#include "cli/planning.h"
#include "partition/plan_json.h"

namespace onnx_split {
namespace {

struct Options {
  ModelOptions model;
  PlanningOptions planning;
  EngineOptions engine;
  std::size_t devices = 0;
  std::string cluster;
  std::string plan;  // empty: make one
  std::string output;
  std::string svg;  // empty: none
  unsigned threads = 1;
  ReportOptions report;
};

Expected<void> run(const Options& options) {
  TRY_ASSIGN(const Graph graph, load_model(options.model));
  std::optional<Plan> given;
  if (!options.plan.empty()) {
    TRY_ASSIGN(given, plan_of_file(graph, options.plan));
  }
  Cluster cluster = local_cluster(options.devices, given ? given->threads : options.threads);
  if (!options.cluster.empty()) {
    TRY_ASSIGN(cluster, read_cluster_file(options.cluster));
  }
  TRY_ASSIGN(const Plan plan, given ? plan_again(graph, cluster, options.planning, options.plan, std::move(*given))
                                    : plan_for(graph, cluster, options.planning, rule_of(options.engine)));
  TRY(write_plan(plan, options.output));
  if (!options.svg.empty()) {
    TRY_ASSIGN(const std::string picture, draw_plan(plan));
    TRY(write_file(options.svg, picture));
  }
  return print_plan(graph, plan, options.report);
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
  add_engine_options(*command, options->engine);
  auto* plan =
      command->add_option("--plan", options->plan, "make no plan, predict this one anew")->type_name("PLAN.json");
  for (const char* decides : {"--max-latency-ms", "--no-replicas", "--no-splits", "--spares", "--stages", "--gemm",
                              "--weights", "--threads"}) {
    plan->excludes(command->get_option(decides));
  }
  command->add_option("-o,--output", options->output, "the plan to write")->type_name("PLAN.json")->required();
  command->add_option("--svg", options->svg, "draw the plan: who does what when, and how busy that keeps everybody")
      ->type_name("FILE");
  command->add_flag("--parts", options->report.parts, "print a table of all parts, too");
  command->add_flag("--json", options->report.json, "print the plan as JSON");
  command->final_callback([options] {
    if (options->devices == 0 && options->cluster.empty()) throw CLI::RequiredError("--devices or --cluster");
  });
  command->footer(
      "Example:\n  onnx-split plan resnet50.onnx --cluster cluster.yaml --profile profile.json -o plan.json --svg "
      "plan.svg");
  return [options] { return run(*options); };
}

}  // namespace onnx_split
