#include "cli/model.h"

#include <sched.h>

#include <CLI/CLI.hpp>

#include "engine/blas_core.h"
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

EngineFacts engine_facts(unsigned threads) {
  const std::string core = blas_core();
  return {threads, core, [core](const Graph& graph) { return default_choices(graph, core); },
          [core](const Graph& graph) { return weight_memory(graph, core).bytes(); }};
}

unsigned available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<unsigned>(CPU_COUNT(&set));
}

}  // namespace onnx_split
