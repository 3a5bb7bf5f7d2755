#include "cli/progress.h"

#include <fmt/core.h>
#include <unistd.h>

#include <cstdio>

namespace onnx_split {

constexpr int kWidth = 32;

Progress::Progress(std::string label, bool quiet) : label_(std::move(label)), shown_(!quiet && ::isatty(2) == 1) {}

void Progress::update(std::uint64_t done, std::uint64_t total) {
  if (!shown_ || total == 0) return;
  const int percent = static_cast<int>(100.0 * static_cast<double>(done) / static_cast<double>(total));
  if (percent == last_percent_) return;
  last_percent_ = percent;
  const int filled = kWidth * percent / 100;
  fmt::print(stderr, "\r{:<24} [{:#<{}}{: <{}}] {:3d} %", label_, "", filled, "", kWidth - filled, percent);
  std::fflush(stderr);
}

Progress::~Progress() {
  if (last_percent_ >= 0) fmt::print(stderr, "\r\033[K");
}

}  // namespace onnx_split
