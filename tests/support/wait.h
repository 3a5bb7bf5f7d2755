// Waits for what other threads and processes do.
#pragma once

#include <chrono>
#include <thread>

namespace onnx_split::testing {

// Whether the condition is true before the time is over.
template <class Condition>
bool comes_true(const Condition& condition, std::chrono::milliseconds within) {
  const auto end = std::chrono::steady_clock::now() + within;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace onnx_split::testing
