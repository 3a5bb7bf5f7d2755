#include <CLI/CLI.hpp>
#include <array>
#include <iostream>
#include <map>

#include "base/log.h"
#include "cli/commands.h"
#include "engine/blas_core.h"

namespace onnx_split {
namespace {

constexpr std::array kCommands = {&add_zoo,   &add_inspect, &add_plan,     &add_split,  &add_verify, &add_run,
                                  &add_bench, &add_profile, &add_simulate, &add_status, &add_certs};

// CLI11 gives --help and --version as exceptions with code 0.
int report(const CLI::App& program, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) return program.exit(error);
  fmt::print(stderr, "onnx-split: {}\n", error.what());
  fmt::print(stderr, "Run with --help for more information.\n");
  return 2;
}

}  // namespace

int run_program(int argc, char** argv) {
  CLI::App program("Cuts a convolutional network and runs the pieces on several small computers.", "onnx-split");
  program.require_subcommand(1);
  program.set_version_flag("--version", ONNX_SPLIT_VERSION);
  program.fallthrough();
  CommonOptions common;
  program.add_flag("-q,--quiet", common.quiet, "no progress");
  program.add_option("--log-level", common.log_level, "trace, debug, info, warn, error or off")->capture_default_str();
  std::map<const CLI::App*, Command> commands;
  for (const auto& add : kCommands) {
    Command command = add(program, common);
    commands.emplace(program.get_subcommands({}).back(), std::move(command));
  }
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return report(program, error);
  }
  if (auto configured = configure_log("onnx-split", common.log_level); !configured) {
    fmt::print(stderr, "onnx-split: {}\n", configured.error().message);
    return 2;
  }
  log_debug("OpenBLAS core type {}", blas_core());
  Expected<void> done;
  try {
    done = commands.at(program.get_subcommands().front())();
  } catch (const std::exception& error) {  // the last resort: out of memory, no more threads, a closed stdout
    done = fail(ErrorCode::kExhausted, "{}", error.what());
  }
  if (done && std::fflush(stdout) != 0) done = fail(ErrorCode::kIo, "stdout: cannot write: {}", errno_message(errno));
  if (!done) {
    fmt::print(stderr, "onnx-split: {}\n", done.error().message);
    return 1;
  }
  return 0;
}

}  // namespace onnx_split
