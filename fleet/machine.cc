#include "fleet/machine.h"

#include <malloc.h>
#include <sys/utsname.h>
#include <time.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <vector>

#include "base/utf8.h"

namespace onnx_split {
namespace {

// The text behind the colon of the first line of `path` that begins with `key`; empty if there is none.
std::string field_of(const char* path, std::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    const std::size_t begin = line.find_first_not_of(" \t:", key.size());
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

// "12345 kB" as bytes.
std::uint64_t kilobytes(const std::string& text) {
  std::uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number * 1024;
}

std::int64_t time_ns(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

std::string machine_name() {
  utsname system{};
  std::string name = ::uname(&system) == 0 ? system.machine : "unknown";
  std::string model;
  std::ifstream tree("/proc/device-tree/model");
  std::getline(tree, model, '\0');
  if (model.empty()) model = field_of("/proc/cpuinfo", "model name");
  if (!model.empty() && is_utf8(model)) name += ", " + model;
  return name;
}

std::uint64_t available_memory_bytes() { return kilobytes(field_of("/proc/meminfo", "MemAvailable")); }

std::uint64_t trimmed_resident_bytes() {
  ::malloc_trim(0);
  return kilobytes(field_of("/proc/self/status", "VmRSS"));
}

std::int64_t process_time_ns() { return time_ns(CLOCK_PROCESS_CPUTIME_ID); }
std::int64_t thread_time_ns() { return time_ns(CLOCK_THREAD_CPUTIME_ID); }

CpuQuota find_cpu_quota(std::chrono::milliseconds busy) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::microseconds kStandstill{700};
  constexpr std::size_t kFewest = 6;
  constexpr double kEven = 0.2;  // how far the quartiles of the periods may be apart, over the median
  std::vector<double> run_ms, period_ms;
  const Clock::time_point end = Clock::now() + busy;
  std::optional<Clock::time_point> begun;  // of the run, behind a standstill
  Clock::time_point last = Clock::now();
  while (last < end) {
    const Clock::time_point now = Clock::now();
    if (now - last > kStandstill) {
      if (begun) {
        run_ms.push_back(std::chrono::duration<double, std::milli>(last - *begun).count());
        period_ms.push_back(std::chrono::duration<double, std::milli>(now - *begun).count());
      }
      begun = now;
    }
    last = now;
  }
  if (period_ms.size() < kFewest) return {};
  std::sort(run_ms.begin(), run_ms.end());
  std::sort(period_ms.begin(), period_ms.end());
  const double middle = period_ms[period_ms.size() / 2];
  if (period_ms[period_ms.size() * 3 / 4] - period_ms[period_ms.size() / 4] > kEven * middle) return {};
  return {run_ms[run_ms.size() / 2], middle};
}

}  // namespace onnx_split
