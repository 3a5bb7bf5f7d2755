#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <exception>
#include <memory>
#include <string>

namespace onnx_split {
namespace {

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return spdlog::level::debug;
    case LogLevel::kInfo: return spdlog::level::info;
    case LogLevel::kWarn: break;
  }
  return spdlog::level::warn;
}

}  // namespace

Expected<void> configure_log(std::string_view program, std::string_view level) {
  const std::string name(level);
  const spdlog::level::level_enum parsed = spdlog::level::from_str(name);
  if (parsed == spdlog::level::off && name != "off") {
    return fail(ErrorCode::kInvalid, "log level \"{}\": expected trace, debug, info, warn, error or off", level);
  }
  auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
  auto logger = std::make_shared<spdlog::logger>(std::string(program), std::move(sink));
  logger->set_pattern("%H:%M:%S.%e %n %^%l%$ %v");
  logger->set_level(parsed);
  spdlog::set_default_logger(std::move(logger));
  return {};
}

// Formatted here, once for the whole program: spdlog's own templates bring fmt's code into every file that logs.
// Like spdlog, this doesn't throw: a line that can't be made is no reason to fail.
void write_log(LogLevel level, fmt::string_view format, fmt::format_args arguments) {
  spdlog::logger& logger = *spdlog::default_logger_raw();
  const spdlog::level::level_enum its_level = spdlog_level(level);
  if (!logger.should_log(its_level)) return;
  try {
    fmt::memory_buffer line;
    fmt::vformat_to(fmt::appender(line), format, arguments);
    logger.log(its_level, spdlog::string_view_t(line.data(), line.size()));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "a line of the log is lost: %s\n", error.what());
  }
}

}  // namespace onnx_split
