#include <CLI/CLI.hpp>
#include <memory>

#include "base/json.h"
#include "cli/commands.h"
#include "cli/load.h"
#include "cli/model.h"
#include "graph/zoo/zoo.h"

namespace onnx_split {
namespace {

struct Options {
  ModelOptions model;
  BackendOptions backend;
  LoadOptions load;
  std::string scenario = "single-stream";
  std::size_t warm_up = 2;
  bool json = false;
};

// A few different inputs, so that no cache holds the one answer.
constexpr std::uint64_t kInputs = 4;

Expected<std::vector<std::vector<Tensor>>> random_inputs(const Graph& graph) {
  std::vector<std::vector<Tensor>> inputs(kInputs);
  for (std::uint64_t i = 0; i < kInputs; ++i) {
    for (const ValueId id : graph.inputs()) {
      const Value& input = graph.value(id);
      if (input.type.type != DataType::kFloat32) {
        return fail(ErrorCode::kUnsupported, "input \"{}\" is {}: bench makes float32 inputs only", input.name,
                    input.type.to_string());
      }
      inputs[i].push_back(zoo::random_input(input.shape(), i * graph.inputs().size() + inputs[i].size()));
    }
  }
  return inputs;
}

void print_report(const Graph& graph, const Backend& backend, const LoadOptions& load, const LoadReport& report,
                  bool as_json) {
  const double min = report.latency_ms.front();
  const double max = report.latency_ms.back();
  if (as_json) {
    Json json = {{"model", graph.name()},
                 {"scenario", scenario_name(load.scenario)},
                 {"requests", report.requests},
                 {"threads", backend.threads()},
                 {"throughput_per_s", report.throughput_per_s},
                 {"latency_ms",
                  {{"min", min},
                   {"mean", report.mean_ms()},
                   {"p50", report.percentile_ms(50)},
                   {"p90", report.percentile_ms(90)},
                   {"p99", report.percentile_ms(99)},
                   {"max", max}}},
                 {"backend", backend.describe()}};
    if (report.steady_per_s) json["steady_per_s"] = *report.steady_per_s;
    if (load.refuse) json["refused"] = report.refused;
    if (load.deadline.count() > 0.0) json["late"] = report.late;
    fmt::print("{}\n", to_text(json, 1));
    return;
  }
  fmt::print("{}, {}, {}: {} requests\n", graph.name(), backend.describe(), scenario_name(load.scenario),
             report.requests);
  if (load.refuse) fmt::print("refused     {}\n", report.refused);
  if (load.deadline.count() > 0.0) fmt::print("late        {}\n", report.late);
  fmt::print("throughput  {:.2f} per s\n", report.throughput_per_s);
  if (report.steady_per_s) fmt::print("            {:.2f} per s while the window was full\n", *report.steady_per_s);
  fmt::print("latency     min {:.2f}  mean {:.2f}  p50 {:.2f}  p90 {:.2f}  p99 {:.2f}  max {:.2f} ms\n", min,
             report.mean_ms(), report.percentile_ms(50), report.percentile_ms(90), report.percentile_ms(99), max);
}

Expected<void> run(Options& options, const CommonOptions& common) {
  options.backend.quiet = common.quiet;
  options.backend.log_level = common.log_level;
  TRY_ASSIGN(options.load.scenario, scenario_from_name(options.scenario));
  TRY_ASSIGN(const Graph graph, load_model(options.model));
  TRY_ASSIGN(const auto inputs, random_inputs(graph));
  TRY_ASSIGN(const std::unique_ptr<Backend> backend, make_backend(graph, options.backend));
  TRY_ASSIGN(const LoadReport report, generate_load(*backend, inputs, options.load, options.warm_up));
  print_report(graph, *backend, options.load, report, options.json);
  return {};
}

}  // namespace

Command add_bench(CLI::App& program, const CommonOptions& common) {
  auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("bench", "measure throughput and latency under a load");
  add_model_options(*command, options->model);
  add_backend_options(*command, options->backend);
  command->add_option("--scenario", options->scenario, "single-stream, server or offline")
      ->check(CLI::IsMember({"single-stream", "server", "offline"}))
      ->capture_default_str();
  auto* rate = command->add_option("--rate", options->load.rate_per_s, "requests a second (with --scenario server)")
                   ->type_name("PER_S")
                   ->check(CLI::PositiveNumber);
  auto* requests = command->add_option("--requests", options->load.requests, "how many requests")
                       ->type_name("N")
                       ->check(CLI::PositiveNumber);
  command->add_option("--duration-s", options->load.duration_s, "for how long, where no number is given")
      ->type_name("S")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->excludes(requests);
  auto* refuse =
      command->add_flag("--refuse", options->load.refuse,
                        "with --scenario server: requests that find the window full are refused, not queued");
  command
      ->add_option_function<double>(
          "--deadline-ms",
          [options](double ms) { options->load.deadline = std::chrono::duration<double, std::milli>(ms); },
          "requests that aren't answered by then are counted, and don't count otherwise")
      ->type_name("D")
      ->check(CLI::PositiveNumber);
  command->add_option("--warm-up", options->warm_up, "requests before, which don't count")->capture_default_str();
  command->add_flag("--json", options->json, "as JSON");
  command->final_callback([options, rate, refuse] {
    if (refuse->count() > 0 && options->scenario != "server") {
      throw CLI::ValidationError("--refuse goes with --scenario server");
    }
    if ((options->scenario == "server") != (rate->count() > 0)) {
      throw CLI::ValidationError("--rate goes with --scenario server, and --scenario server with --rate");
    }
  });
  command->footer("Example:\n  onnx-split bench resnet50.onnx --local 2 --scenario offline");
  return [options, &common] { return run(*options, common); };
}

}  // namespace onnx_split
