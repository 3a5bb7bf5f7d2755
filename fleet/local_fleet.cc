#include "fleet/local_fleet.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <thread>

#include "base/log.h"

extern char** environ;  // NOLINT(readability-identifier-naming): POSIX's name

namespace onnx_split {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kStartTimeout{10};
constexpr std::chrono::seconds kStopTimeout{2};
constexpr std::string_view kReady = "listening on ";

Expected<std::filesystem::path> runner_beside_us() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return fail(ErrorCode::kNotFound, "/proc/self/exe: {}", error.message());
  return self.parent_path() / "onnx-split-runner";
}

struct Spawned {
  pid_t pid;
  int output;  // the read end of its stdout
};

// The child gets a process group of its own, so that a terminal's Ctrl-C reaches us alone and we end it in order, and
// an empty signal mask, because ours may block what ends it.
Expected<Spawned> spawn(const std::vector<std::string>& arguments) {
  std::array<int, 2> pipe_ends{};
  if (::pipe2(pipe_ends.data(), O_CLOEXEC) != 0) {
    return fail(ErrorCode::kExhausted, "cannot start {}: {}", arguments[0], errno_message(errno));
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, argv[0], &actions, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  ::close(pipe_ends[1]);
  if (error != 0) {
    ::close(pipe_ends[0]);
    return fail(ErrorCode::kNotFound, "cannot start {}: {}", arguments[0], errno_message(error));
  }
  return Spawned{pid, pipe_ends[0]};
}

// The first line of the output, without its end; what there is of it at the end of the output or of the time.
std::string first_line(int descriptor, Clock::time_point deadline) {
  std::string line;
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    pollfd poll_one{descriptor, POLLIN, 0};
    const int ready = ::poll(&poll_one, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return line;
    char c = 0;
    const ssize_t count = ::read(descriptor, &c, 1);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0 || c == '\n') return line;
    line += c;
  }
}

std::string describe_end(pid_t pid) {
  int status = 0;
  // Its output closes a moment before it has ended.
  const auto deadline = Clock::now() + std::chrono::seconds(1);
  while (::waitpid(pid, &status, WNOHANG) != pid) {
    if (Clock::now() > deadline) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, &status, 0);
      return "it didn't say that it listens";
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  if (WIFSIGNALED(status)) return fmt::format("it was ended by signal {}", WTERMSIG(status));
  return fmt::format("it ended with exit status {}", WEXITSTATUS(status));
}

}  // namespace

Expected<LocalFleet> LocalFleet::start(std::size_t count, const LocalFleetOptions& options) {
  TRY_ASSIGN(TemporaryDirectory folder, TemporaryDirectory::create("onnx-split"));
  LocalFleet fleet(std::move(folder));
  std::filesystem::path program = options.runner;
  if (program.empty()) {
    TRY_ASSIGN(program, runner_beside_us());
  }
  std::vector<int> outputs;
  std::optional<Error> failure;
  for (std::size_t i = 0; i < count && !failure; ++i) {
    RunnerProcess runner{device_name(i), "", -1};
    std::vector<std::string> arguments = {program.string(),
                                          "--listen",
                                          "tcp://127.0.0.1:0",
                                          "--name",
                                          runner.name,
                                          "--threads",
                                          std::to_string(options.threads),
                                          "--model-dir",
                                          (fleet.folder_.path() / runner.name).string(),
                                          "--log-level",
                                          options.log_level,
                                          "--parent",
                                          std::to_string(::getpid())};
    if (options.memory_limit_bytes > 0) {
      arguments.insert(arguments.end(), {"--memory-limit", std::to_string(options.memory_limit_bytes)});
    }
    auto spawned = spawn(arguments);
    if (!spawned) {
      failure = std::move(spawned.error());
      break;
    }
    runner.pid = spawned->pid;
    outputs.push_back(spawned->output);
    fleet.runners_.push_back(std::move(runner));
  }
  const auto deadline = Clock::now() + kStartTimeout;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const std::string line = failure ? "" : first_line(outputs[i], deadline);
    ::close(outputs[i]);
    if (failure) continue;
    if (line.starts_with(kReady)) {
      fleet.runners_[i].url = line.substr(kReady.size());
      continue;
    }
    failure = Error{ErrorCode::kUnavailable, fmt::format("runner \"{}\": {}", fleet.runners_[i].name,
                                                         describe_end(std::exchange(fleet.runners_[i].pid, -1)))};
  }
  if (failure) return tl::unexpected(std::move(*failure));
  return fleet;
}

std::vector<std::string> LocalFleet::urls() const {
  std::vector<std::string> urls;
  for (const RunnerProcess& runner : runners_) urls.push_back(runner.url);
  return urls;
}

LocalFleet::~LocalFleet() {
  for (const RunnerProcess& runner : runners_) {
    if (runner.pid > 0) ::kill(runner.pid, SIGTERM);
  }
  const auto deadline = Clock::now() + kStopTimeout;
  for (const RunnerProcess& runner : runners_) {
    if (runner.pid <= 0) continue;
    while (::waitpid(runner.pid, nullptr, WNOHANG) == 0) {
      if (Clock::now() > deadline) {
        log_warn("runner \"{}\" doesn't stop; killing it", runner.name);
        ::kill(runner.pid, SIGKILL);
        ::waitpid(runner.pid, nullptr, 0);
        break;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
}

}  // namespace onnx_split
