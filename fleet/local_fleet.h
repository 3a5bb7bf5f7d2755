// N runner processes on this machine's loopback, started and stopped by us: the embedded default of `run` and `bench`.
//
// Whatever ends this object ends the processes: the destructor asks them to stop (SIGTERM) and, after two seconds,
// kills them; if this process itself is killed, the kernel ends them. Start it on a thread that lives as long as it
// does (the kernel ties the children to the thread). Not thread-safe.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace onnx_split {

struct LocalFleetOptions {
  std::filesystem::path runner;  // the program; empty: onnx-split-runner beside this program
  unsigned threads = 1;          // of each
  std::string log_level = "warn";
  std::uint64_t memory_limit_bytes = 0;
};

class LocalFleet {
 public:
  // Returns when every runner listens. If one dies or is silent for ten seconds the others are ended, and the error
  // says which.
  static Expected<LocalFleet> start(std::size_t count, const LocalFleetOptions& options);
  LocalFleet(LocalFleet&& other) noexcept = default;
  LocalFleet& operator=(LocalFleet&&) = delete;
  ~LocalFleet();

  std::size_t size() const { return runners_.size(); }
  std::string name(std::size_t i) const { return runners_[i].name; }
  const std::string& url(std::size_t i) const { return runners_[i].url; }
  pid_t pid(std::size_t i) const { return runners_[i].pid; }
  // Where a runner keeps its parts.
  std::filesystem::path model_dir(std::size_t i) const { return folder_.path() / runners_[i].name; }
  std::vector<std::string> urls() const;

  static std::string device_name(std::size_t i) { return fmt::format("local{}", i); }

 private:
  struct RunnerProcess {
    std::string name;
    std::string url;
    pid_t pid = -1;
  };

  explicit LocalFleet(TemporaryDirectory folder) : folder_(std::move(folder)) {}
  TemporaryDirectory folder_;
  std::vector<RunnerProcess> runners_;
};

}  // namespace onnx_split
