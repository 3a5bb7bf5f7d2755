#include "fleet/companion.h"

#include "fleet/machine.h"

namespace onnx_split {

void Companion::compute(std::chrono::milliseconds most) {
  const bool has_ended = Clock::now() > until_.load();
  until_ = Clock::now() + most;
  if (thread_.joinable() && !has_ended) return;
  stop();
  thread_ = std::thread([this, before_ns = own_ns_.load()] { loop(before_ns); });
}

void Companion::stop() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
  stopping_ = false;
}

void Companion::loop(std::int64_t before_ns) {
  while (!stopping_ && Clock::now() < until_.load()) own_ns_ = before_ns + thread_time_ns();
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
