#include "graph/zoo/zoo.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "base/json.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "engine/evaluate.h"
#include "onnx_import/export.h"

namespace onnx_split {
namespace {

struct Options {
  std::string name;
  std::string output;
  std::uint64_t seed = 1;
  bool list = false;
  bool json = false;
};

void print_list(bool as_json) {
  Table table({"name", "input", ">parameters", "what it is"});
  Json list = Json::array();
  for (const zoo::Network& network : zoo::networks()) {
    table.add({std::string(network.name), network.input.to_string(), fmt::format("{}", network.parameters),
               std::string(network.description)});
    list.push_back({{"name", network.name},
                    {"input", network.input.vector()},
                    {"parameters", network.parameters},
                    {"description", network.description}});
  }
  fmt::print("{}", as_json ? to_text(list, 1) + "\n" : table.to_string());
}

Expected<void> build(const Options& options, const CommonOptions& common) {
  Progress progress("calibrating " + options.name, common.quiet);
  std::uint64_t layers = 0;
  const zoo::Evaluate evaluate = [&](const Graph& graph,
                                     std::span<const Tensor> inputs) -> Expected<std::vector<Tensor>> {
    TRY(check_interrupted());
    progress.update(++layers % 100, 100);  // a sign of life: how many layers there are isn't known before
    SessionOptions session;
    session.threads = available_cores();
    return evaluate_once(graph, inputs, session);
  };
  TRY_ASSIGN(const Graph graph, zoo::build(options.name, options.seed, evaluate));
  return export_onnx_file(graph, options.output);
}

Expected<void> run(const Options& options, const CommonOptions& common) {
  if (options.list) {
    print_list(options.json);
    return {};
  }
  return build(options, common);
}

}  // namespace

Command add_zoo(CLI::App& program, const CommonOptions& common) {
  auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("zoo", "build a standard network with seeded, calibrated weights");
  auto* list = command->add_flag("--list", options->list, "list the networks");
  command->add_flag("--json", options->json, "as JSON (with --list)")->needs(list);
  auto* name = command->add_option("NAME", options->name, "the network's name");
  auto* output = command->add_option("-o,--output", options->output, "the ONNX file to write")->type_name("FILE");
  command->add_option("--seed", options->seed, "of the weights")->capture_default_str();
  list->excludes(name)->excludes(output);
  name->needs(output);
  command->final_callback([options] {
    if (!options->list && options->name.empty()) throw CLI::RequiredError("NAME or --list");
  });
  command->footer("Example:\n  onnx-split zoo resnet50 -o resnet50.onnx");
  return [options, &common] { return run(*options, common); };
}

}  // namespace onnx_split
