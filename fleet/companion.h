// A thread that computes while messages are measured, as parts do while messages come and go: a processor that has
// something else to do receives more at a time than one that waits for every byte, and needn't be woken.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <thread>

namespace onnx_split {

// Not thread-safe.
class Companion {
 public:
  Companion() = default;
  ~Companion() { stop(); }
  Companion(const Companion&) = delete;
  Companion& operator=(const Companion&) = delete;

  // Computes from now on, for `most` at the longest.
  void compute(std::chrono::milliseconds most);
  void stop();

  // Processor time that all other threads of this process have had so far.
  std::int64_t others_time_ns() const;

 private:
  using Clock = std::chrono::steady_clock;

  void loop(std::int64_t before_ns);
  bool goes_on();

  std::mutex mutex_;
  Clock::time_point until_;
  bool is_running_ = false;              // the thread will look at `until_` again
  std::atomic<std::int64_t> own_ns_{0};  // of the thread, and of those before it
  std::thread thread_;
};

}  // namespace onnx_split
