#include "fleet/companion.h"

#include <utility>

#include "fleet/machine.h"

namespace onnx_split {

void Companion::compute(std::chrono::milliseconds most) {
  {
    const std::scoped_lock lock(mutex_);
    until_ = Clock::now() + most;
    if (std::exchange(is_running_, true)) return;
  }
  if (thread_.joinable()) thread_.join();  // it has ended
  thread_ = std::thread([this, before_ns = own_ns_.load()] { loop(before_ns); });
}

void Companion::stop() {
  {
    const std::scoped_lock lock(mutex_);
    until_ = {};
  }
  if (thread_.joinable()) thread_.join();
}

bool Companion::goes_on() {
  const std::scoped_lock lock(mutex_);
  return is_running_ = Clock::now() < until_;
}

void Companion::loop(std::int64_t before_ns) {
  while (goes_on()) own_ns_ = before_ns + thread_time_ns();
}

std::int64_t Companion::others_time_ns() const {
  constexpr std::int64_t kShortNs = 20'000;
  constexpr int kMostTries = 100;
  std::int64_t others_ns = 0;
  for (int i = 0; i < kMostTries; ++i) {
    const std::int64_t before_ns = own_ns_;
    others_ns = process_time_ns() - before_ns;
    if (own_ns_ - before_ns < kShortNs) break;  // it hasn't computed much in between
  }
  return others_ns;
}

}  // namespace onnx_split
