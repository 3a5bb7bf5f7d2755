#include "cli/model.h"

#include <sched.h>

#include <CLI/CLI.hpp>

#include "engine/choice.h"
#include "engine/weight_memory.h"
#include "onnx_import/import.h"

namespace onnx_split {

void add_model_options(CLI::App& command, ModelOptions& options) {
  command.add_option("MODEL", options.path, "ONNX file")->required();
  command.add_option("--batch", options.batch, "what a symbolic batch dimension becomes")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
}

Expected<Graph> load_model(const ModelOptions& options) {
  ImportOptions import_options;
  import_options.batch = options.batch;
  return import_onnx(options.path, import_options);
}

void add_engine_options(CLI::App& command, EngineOptions& options) {
  command
      .add_option("--gemm", options.gemm, "openblas: only its matrix products, none of our kernels for convolutions")
      ->check(CLI::IsMember({"fastest", "openblas"}))
      ->capture_default_str();
  add_weights_option(command, options);
  command.parse_complete_callback([&options] {
    if (options.gemm != "openblas" || options.weights != "fp16") return;
    throw CLI::ValidationError("--weights fp16 doesn't go with --gemm openblas, which multiplies floats only");
  });
}

void add_weights_option(CLI::App& command, EngineOptions& options) {
  command.add_option("--weights", options.weights, "fp16: keep weights as half floats, in half the memory")
      ->check(CLI::IsMember({"fp32", "fp16"}))
      ->capture_default_str();
}

ChoiceRule rule_of(const EngineOptions& options) {
  ChoiceRule rule = default_rule();
  if (options.gemm == "openblas") rule.allowed = openblas_algorithms();
  rule.half_weights = options.weights == "fp16";
  return rule;
}

EngineFacts engine_facts(unsigned threads, const ChoiceRule& rule) {
  return {threads, rule.core, [rule](const Graph& graph) { return choose_all(graph, rule); },
          [rule](const Graph& graph) { return weight_memory(graph, rule).bytes(); }};
}

unsigned available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<unsigned>(CPU_COUNT(&set));
}

}  // namespace onnx_split
