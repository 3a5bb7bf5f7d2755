#include "cli/input_options.h"

#include <CLI/CLI.hpp>

namespace onnx_split {

void add_input_options(CLI::App& command, InputOptions& options, bool required) {
  auto* input = command.add_option("--input", options.specs,
                                   ".npy, .pb, JPEG or PNG, a directory of these, or random[:SEED]; NAME=X for a "
                                   "network with several inputs");
  input->type_name("X")->required(required);
  command.add_option("--mean", options.mean, "of pictures, one value a channel or one for all (default: ImageNet's)")
      ->delimiter(',');
  command.add_option("--std", options.deviation, "of pictures, likewise")->delimiter(',');
  command.add_option("--resize", options.resize, "shorter side of pictures before the crop; 0 stretches")
      ->check(CLI::Range(0, 65535));
}

Expected<InputSource> open_inputs(const InputOptions& options, const Graph& graph, const std::string& fallback) {
  std::vector<std::string> specs = options.specs;
  if (specs.empty()) specs.push_back(fallback);
  PictureOptions pictures;
  pictures.mean = options.mean;
  pictures.deviation = options.deviation;
  pictures.resize = options.resize;
  return InputSource::open(specs, graph, pictures);
}

}  // namespace onnx_split
