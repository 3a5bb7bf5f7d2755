// Ctrl-C, SIGTERM and SIGHUP, turned into a flag and callbacks, so that an interrupted command ends its runners and
// removes its files like any other failure. A second Ctrl-C ends the program at once.
#pragma once

#include <functional>

#include "base/error.h"

namespace onnx_split {

// Call once, early in main(): from then on these signals are handled, on a thread of its own.
void watch_for_interrupts();

bool interrupted();
// kCancelled "interrupted" if it happened.
Expected<void> check_interrupted();

// Calls `callback`, on the watching thread, when the interrupt comes (at once if it has come already), until this
// object ends.
class OnInterrupt {
 public:
  explicit OnInterrupt(std::function<void()> callback);
  ~OnInterrupt();
  OnInterrupt(const OnInterrupt&) = delete;
  OnInterrupt& operator=(const OnInterrupt&) = delete;

 private:
  std::function<void()> callback_;
};

}  // namespace onnx_split
