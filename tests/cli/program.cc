#include "tests/cli/program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <sstream>
#include <thread>

#include "tests/support/expect.h"

extern char** environ;  // NOLINT(readability-identifier-naming): POSIX's name

namespace onnx_split::testing {
namespace {

constexpr std::chrono::milliseconds kPoll{10};

std::string slurp(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

template <class Condition>
bool wait_until(std::chrono::milliseconds timeout, const Condition& condition) {
  const auto end = std::chrono::steady_clock::now() + timeout;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(kPoll);
  }
  return true;
}

}  // namespace

Program::Program(const std::filesystem::path& scratch, const std::vector<std::string>& arguments) {
  static std::atomic<int> count{0};
  const int number = ++count;
  out_ = scratch / fmt::format(".captured-{}.out", number);
  err_ = scratch / fmt::format(".captured-{}.err", number);
  std::vector<std::string> words = arguments;
  if (words[0].find('/') == std::string::npos) words[0] = std::string(ONNX_SPLIT_BIN) + "/" + words[0];
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const std::string tmpdir = "TMPDIR=" + scratch.string();
  std::vector<char*> environment{const_cast<char*>(tmpdir.c_str())};
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (!std::string_view(*entry).starts_with("TMPDIR=")) environment.push_back(*entry);
  }
  environment.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, out_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_addopen(&actions, 2, err_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const int error = ::posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environment.data());
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::runtime_error(words[0] + ": " + errno_message(error));
}

Program::~Program() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

std::string Program::out() const { return slurp(out_); }

void Program::wait_for_output(const std::string& text) const {
  const bool came = wait_until(std::chrono::seconds(30), [&] { return out().find(text) != std::string::npos; });
  if (!came) throw std::runtime_error("no \"" + text + "\" in: " + out() + slurp(err_));
}

void Program::signal(int number) const { ::kill(pid_, number); }

Outcome Program::wait(std::chrono::seconds timeout) {
  int status = 0;
  const bool ended = wait_until(timeout, [&] { return ::waitpid(pid_, &status, WNOHANG) == pid_; });
  if (!ended) {
    ADD_FAILURE() << "process " << pid_ << " doesn't end: " << out() << slurp(err_);
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, &status, 0);
  }
  pid_ = -1;
  return {WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status), out(), slurp(err_)};
}

Outcome run_program(const std::filesystem::path& scratch, const std::vector<std::string>& arguments) {
  return Program(scratch, arguments).wait();
}

void expect_done(const Outcome& outcome) { EXPECT_EQ(outcome.exit_code, 0) << outcome.err << outcome.out; }

std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> children;
  std::ifstream file(fmt::format("/proc/{}/task/{}/children", parent, parent));
  const auto program_of = [](pid_t pid) {
    std::error_code error;  // a process that has ended has no program
    return std::filesystem::read_symlink(fmt::format("/proc/{}/exe", pid), error);
  };
  for (pid_t child = 0; file >> child;) {
    const std::filesystem::path program = program_of(child);
    if (!program.empty() && program != program_of(parent)) children.push_back(child);
  }
  return children;
}

std::vector<pid_t> wait_for_children(pid_t parent, std::size_t count) {
  std::vector<pid_t> children;
  const bool came = wait_until(std::chrono::seconds(30), [&] {
    children = children_of(parent);
    return children.size() >= count;
  });
  if (!came) throw std::runtime_error(fmt::format("process {} has {} children", parent, children.size()));
  return children;
}

bool is_alive(pid_t pid) {
  // A zombie has ended; its parent just hasn't looked.
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string stat;
  if (!std::getline(file, stat)) return false;
  const std::size_t name_end = stat.rfind(')');
  return name_end != std::string::npos && stat[name_end + 2] != 'Z';
}

bool ends_soon(pid_t pid) {
  return wait_until(std::chrono::seconds(5), [&] { return !is_alive(pid); });
}

Workplace::Workplace() : folder_(must(TemporaryDirectory::create("cli-test"))) {
  std::filesystem::create_directory(tmp());
}

std::vector<std::string> Workplace::names_in(const std::filesystem::path& folder) const {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(".captured-")) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace onnx_split::testing
