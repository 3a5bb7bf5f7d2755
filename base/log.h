// Logs go to stderr, never to stdout, which carries data. One process-wide logger; thread-safe.
#pragma once

#include <spdlog/spdlog.h>

#include <string_view>

#include "base/error.h"

namespace onnx_split {

// level: trace, debug, info, warn, error or off. Lines begin with `program`.
Expected<void> configure_log(std::string_view program, std::string_view level);

}  // namespace onnx_split
