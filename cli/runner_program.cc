#include "cli/runner_program.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <optional>
#include <thread>

#include "base/log.h"
#include "cli/interrupt.h"
#include "engine/blas_core.h"
#include "fleet/machine.h"
#include "fleet/runner.h"
#include "partition/cluster.h"

namespace onnx_split {
namespace {

struct RunnerProgramOptions {
  RunnerOptions runner;
  std::string memory_limit;
  std::string keep;
  std::string certificate;
  std::string key;
  std::string authorities;
  std::string log_level = "info";
  pid_t parent = 0;
};

void add_options(CLI::App& program, RunnerProgramOptions& options) {
  RunnerOptions& runner = options.runner;
  runner.listen = "tcp://127.0.0.1:7070";
  program.add_option("--listen", runner.listen, "address of the control port; port 0: a free one")
      ->type_name("URL")
      ->capture_default_str();
  program.add_option("--data-port", runner.data_port, "port that receives tensors; 0: a free one")
      ->type_name("PORT")
      ->capture_default_str();
  program.add_option("--name", runner.name, "what this device calls itself")->capture_default_str();
  program.add_option("--threads", runner.threads, "computing threads")
      ->type_name("N")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  program.add_option("--memory-limit", options.memory_limit, "refuse deployments that need more, e.g. 900MB")
      ->type_name("SIZE");
  auto* folder = program
                     .add_option("--model-dir", runner.model_dir,
                                 "folder of its own for received parts; of models that lie there nothing is sent "
                                 "(default: in the temporary folder)")
                     ->type_name("DIR");
  program
      .add_option("--keep", options.keep,
                  "keep so much of the parts for later deployments, which then needn't send them (default: nothing)")
      ->type_name("SIZE")
      ->needs(folder);
  auto* insecure = program.add_flag("--insecure", runner.insecure, "allow an address beyond loopback without TLS");
  auto* certificate =
      program.add_option("--tls-cert", options.certificate, "this device's certificate, for tls+tcp://");
  auto* key = program.add_option("--tls-key", options.key, "its private key");
  auto* authorities = program.add_option("--tls-ca", options.authorities, "the authorities' certificates");
  for (CLI::Option* option : {certificate, key, authorities}) {
    option->type_name("FILE")->excludes(insecure)->needs(certificate)->needs(key)->needs(authorities);
  }
  program.add_option("--log-level", options.log_level, "trace, debug, info, warn, error or off")->capture_default_str();
  program.add_option("--parent", options.parent, "end when this process, our parent, ends")->type_name("PID");
  program.footer("Example:\n  onnx-split-runner --listen tcp://10.0.0.11:7070 --insecure --threads 4 --name pi1");
}

// The kernel ends us with our parent; if it has ended already, nobody would.
Expected<void> tie_to_parent(pid_t parent) {
  if (parent == 0) return {};
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
    return fail(ErrorCode::kIo, "cannot tie this runner to its parent: {}", errno_message(errno));
  }
  if (::getppid() != parent) return fail(ErrorCode::kUnavailable, "the parent process {} has ended", parent);
  return {};
}

// A part's computation or a load can't be interrupted, but a service must end within two seconds of SIGTERM.
void end_soon(std::filesystem::path leftovers) {
  std::thread([leftovers = std::move(leftovers)] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));
    std::error_code ignored;  // the process is ending
    if (!leftovers.empty()) std::filesystem::remove_all(leftovers, ignored);
    ::_exit(0);
  }).detach();
}

Expected<void> serve(RunnerProgramOptions& options) {
  TRY(tie_to_parent(options.parent));
  if (!options.memory_limit.empty()) {
    auto limit = parse_size_bytes(options.memory_limit);
    if (!limit) return fail_in("--memory-limit", std::move(limit.error()));
    options.runner.memory_limit_bytes = *limit;
  }
  if (!options.keep.empty()) {
    auto bytes = parse_size_bytes(options.keep);
    if (!bytes) return fail_in("--keep", std::move(bytes.error()));
    options.runner.keep_bytes = *bytes;
  }
  std::optional<TemporaryDirectory> temporary;
  if (options.runner.model_dir.empty()) {
    TRY_ASSIGN(TemporaryDirectory created, TemporaryDirectory::create("onnx-split-runner"));
    temporary.emplace(std::move(created));
    options.runner.model_dir = temporary->path();
  }
  options.runner.version = ONNX_SPLIT_VERSION;
  if (!options.certificate.empty()) {
    TRY_ASSIGN(options.runner.identity,
               transport::TlsIdentity::read(options.certificate, options.key, options.authorities));
    if (options.runner.identity->name() != options.runner.name) {
      return fail(ErrorCode::kInvalid, "{}: the certificate is for \"{}\", and --name is \"{}\"", options.certificate,
                  options.runner.identity->name(), options.runner.name);
    }
  }
  TRY_ASSIGN(const std::unique_ptr<Runner> runner, Runner::create(options.runner));
  fmt::print("listening on {}\n", runner->url());
  std::fflush(stdout);
  log_debug("OpenBLAS core type {}", blas_core());
  const std::filesystem::path leftovers = temporary ? temporary->path() : std::filesystem::path();
  const OnInterrupt stop([&] {
    end_soon(leftovers);
    runner->stop();
  });
  return runner->serve();
}

}  // namespace

int run_runner_program(int argc, char** argv) {
  keep_freed_memory();
  CLI::App program("Executes the parts of a plan on this device.", "onnx-split-runner");
  program.set_version_flag("--version", ONNX_SPLIT_VERSION);
  RunnerProgramOptions options;
  add_options(program, options);
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return program.exit(error);
    fmt::print(stderr, "onnx-split-runner: {}\nRun with --help for more information.\n", error.what());
    return 2;
  }
  const std::string label = "runner " + options.runner.name;
  if (auto configured = configure_log(label, options.log_level); !configured) {
    fmt::print(stderr, "onnx-split-runner: {}\n", configured.error().message);
    return 2;
  }
  Expected<void> served;
  try {
    served = serve(options);
  } catch (const std::exception& error) {  // the last resort: out of memory, no more threads
    served = fail(ErrorCode::kExhausted, "{}", error.what());
  }
  if (!served) {
    fmt::print(stderr, "onnx-split-runner: {}\n", served.error().message);
    return 1;
  }
  return 0;
}

}  // namespace onnx_split
