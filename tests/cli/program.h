// Runs the built programs as a user would: real processes, captured output, a temporary folder of their own so that a
// test can see whether they leave anything behind.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"

namespace onnx_split::testing {

inline const std::string kDigitsFolder = std::string(ONNX_SPLIT_TEST_DATA) + "/digits/";
inline const std::string kDigits = kDigitsFolder + "digits.onnx";

struct Outcome {
  int exit_code = -1;  // 128 + signal where a signal ended it
  std::string out;
  std::string err;
};

class Program {
 public:
  // Starts it; TMPDIR is `scratch`. The first argument names a program of the build, or is a path.
  Program(const std::filesystem::path& scratch, const std::vector<std::string>& arguments);
  ~Program();  // kills it if it still runs
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  pid_t pid() const { return pid_; }
  // What it has written to stdout so far.
  std::string out() const;
  // Until the text stands in stdout; fails the test after 30 s.
  void wait_for_output(const std::string& text) const;
  void signal(int number) const;
  // Waits for its end; kills it after `timeout`.
  Outcome wait(std::chrono::seconds timeout = std::chrono::seconds(300));

 private:
  std::filesystem::path out_;
  std::filesystem::path err_;
  pid_t pid_ = -1;
};

// Start, wait.
Outcome run_program(const std::filesystem::path& scratch, const std::vector<std::string>& arguments);
void expect_done(const Outcome& outcome);

// Processes whose parent is `parent` and that run a program of their own (just after a fork they still are their
// parent).
std::vector<pid_t> children_of(pid_t parent);
// Waits until there are `count` of them; throws after 30 s.
std::vector<pid_t> wait_for_children(pid_t parent, std::size_t count);
bool is_alive(pid_t pid);
// Waits until it has gone; false after 5 s.
bool ends_soon(pid_t pid);

// A folder for a test's files and, in it, "tmp", which the programs see as TMPDIR.
class Workplace {
 public:
  Workplace();
  std::filesystem::path path(const std::string& name) const { return folder_.path() / name; }
  std::string operator/(const std::string& name) const { return path(name).string(); }
  std::filesystem::path tmp() const { return folder_.path() / "tmp"; }
  // The names in a folder (default: TMPDIR) that aren't captured output.
  std::vector<std::string> names_in(const std::filesystem::path& folder) const;
  std::vector<std::string> left_behind() const { return names_in(tmp()); }

  Outcome run(const std::vector<std::string>& arguments) const { return run_program(tmp(), arguments); }

 private:
  TemporaryDirectory folder_;
};

}  // namespace onnx_split::testing
