// Runners that are processes of their own, so that they can be killed and stopped.
#pragma once

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

}  // namespace onnx_split::testing
