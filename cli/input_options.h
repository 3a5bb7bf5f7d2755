// The options with which `run` and `verify` name their inputs.
#pragma once

#include <CLI/App.hpp>
#include <string>
#include <vector>

#include "cli/input.h"

namespace onnx_split {

struct InputOptions {
  std::vector<std::string> specs;
  std::vector<float> mean;
  std::vector<float> deviation;
  std::optional<std::int64_t> resize;
};

void add_input_options(CLI::App& command, InputOptions& options, bool required);

// `fallback` where no --input was given.
Expected<InputSource> open_inputs(const InputOptions& options, const Graph& graph, const std::string& fallback = "");

}  // namespace onnx_split
