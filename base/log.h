// Logs go to stderr, never to stdout, which carries data. One process-wide logger; thread-safe.
#pragma once

#include <fmt/core.h>

#include <string_view>

#include "base/error.h"

namespace onnx_split {

// level: trace, debug, info, warn, error or off. Lines begin with `program`.
Expected<void> configure_log(std::string_view program, std::string_view level);

enum class LogLevel { kDebug, kInfo, kWarn };
void write_log(LogLevel level, fmt::string_view format, fmt::format_args arguments);

template <class... T>
void log_debug(fmt::format_string<T...> format, T&&... arguments) {
  write_log(LogLevel::kDebug, format, fmt::make_format_args(arguments...));
}
template <class... T>
void log_info(fmt::format_string<T...> format, T&&... arguments) {
  write_log(LogLevel::kInfo, format, fmt::make_format_args(arguments...));
}
template <class... T>
void log_warn(fmt::format_string<T...> format, T&&... arguments) {
  write_log(LogLevel::kWarn, format, fmt::make_format_args(arguments...));
}

}  // namespace onnx_split
