// A progress bar on stderr, only where stderr is a terminal. Not thread-safe.
#pragma once

#include <cstdint>
#include <string>

namespace onnx_split {

class Progress {
 public:
  // `quiet` shows nothing.
  Progress(std::string label, bool quiet);
  ~Progress();  // removes the bar
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(std::uint64_t done, std::uint64_t total);

 private:
  std::string label_;
  bool shown_;
  int last_percent_ = -1;
};

}  // namespace onnx_split
