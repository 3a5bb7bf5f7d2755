// What every command that reads a model does first.
#pragma once

#include <CLI/App.hpp>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/session.h"
#include "graph/graph.h"
#include "partition/planner.h"

namespace onnx_split {

struct ModelOptions {
  std::string path;
  std::int64_t batch = 1;
};

void add_model_options(CLI::App& command, ModelOptions& options);

// The simplified graph.
Expected<Graph> load_model(const ModelOptions& options);

// What a plan must repeat: the choices that the engine's rule makes on this machine.
EngineFacts engine_facts(unsigned threads);

// Cores that this process may use.
unsigned available_cores();

}  // namespace onnx_split
