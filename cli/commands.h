// The commands of onnx-split, one source file each in cli/commands/. Each adds its subcommand with its options to the
// program; what it returns is called if the user chose it.
#pragma once

#include <CLI/App.hpp>
#include <functional>
#include <string>

#include "base/error.h"

namespace onnx_split {

// Options that every command has.
struct CommonOptions {
  bool quiet = false;
  std::string log_level = "warn";
};

using Command = std::function<Expected<void>()>;

Command add_zoo(CLI::App& program, const CommonOptions& common);
Command add_inspect(CLI::App& program, const CommonOptions& common);
Command add_plan(CLI::App& program, const CommonOptions& common);
Command add_split(CLI::App& program, const CommonOptions& common);
Command add_verify(CLI::App& program, const CommonOptions& common);
Command add_run(CLI::App& program, const CommonOptions& common);
Command add_bench(CLI::App& program, const CommonOptions& common);
Command add_profile(CLI::App& program, const CommonOptions& common);
Command add_simulate(CLI::App& program, const CommonOptions& common);
Command add_certs(CLI::App& program, const CommonOptions& common);
Command add_status(CLI::App& program, const CommonOptions& common);

// The whole program: parses, runs, prints errors as one line on stderr. Exit code: 0 done, 1 failed, 2 wrong usage.
int run_program(int argc, char** argv);

}  // namespace onnx_split
