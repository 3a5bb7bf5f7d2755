// The program onnx-split-runner.
#pragma once

namespace onnx_split {

// Parses the command line, serves until SIGTERM or Ctrl-C. Exit code: 0 done, 1 failed, 2 wrong usage.
int run_runner_program(int argc, char** argv);

}  // namespace onnx_split
