// Runners that are processes of their own, so that they can be killed and stopped.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <filesystem>

#include "fleet/local_fleet.h"
#include "tests/support/expect.h"

namespace onnx_split::testing {

inline LocalFleet process_runners(std::size_t count) {
  LocalFleetOptions options;
  options.runner = std::filesystem::path(ONNX_SPLIT_BIN) / "onnx-split-runner";
  options.log_level = "off";
  return must(LocalFleet::start(count, options));
}

// Stops one. It may go on for a moment after the signal: returns when it doesn't.
inline void stop(const LocalFleet& fleet, std::size_t runner) {
  siginfo_t info;
  ASSERT_EQ(::kill(fleet.pid(runner), SIGSTOP), 0);
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(fleet.pid(runner)), &info, WSTOPPED | WNOWAIT), 0);
}

}  // namespace onnx_split::testing
