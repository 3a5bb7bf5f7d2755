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

// What the user says of how to compute.
struct EngineOptions {
  std::string gemm = "fastest";
  std::string weights = "fp32";
};

void add_engine_options(CLI::App& command, EngineOptions& options);
void add_weights_option(CLI::App& command, EngineOptions& options);  // of these, only that

// This machine's rule within what the user says.
ChoiceRule rule_of(const EngineOptions& options);

// What a plan must repeat: the choices that a rule makes.
EngineFacts engine_facts(unsigned threads, const ChoiceRule& rule);

// Cores that this process may use.
unsigned available_cores();

}  // namespace onnx_split
