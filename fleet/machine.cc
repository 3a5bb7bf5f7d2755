#include "fleet/machine.h"

#include <malloc.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <vector>

#include "base/log.h"
#include "base/utf8.h"

namespace fs = std::filesystem;

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

// A control group with a limit on processor time, and where its hierarchy is mounted.
struct CpuGroup {
  fs::path folder, mounted;
  bool is_v2 = false;
};

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream stream(line);
  return {std::istream_iterator<std::string>(stream), {}};
}

bool has_item(std::string_view list, std::string_view item) {
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    if (list.substr(begin, end - begin) == item) return true;
    begin = end + 1;
  }
  return false;
}

// The groups of this process as /proc/self/cgroup names them, "4:cpu,cpuacct:/path" in v1 and "0::/path" in v2: their
// paths by kind. A name may have colons.
std::optional<fs::path> group_path(const fs::path& root, bool is_v2) {
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string_view controllers = std::string_view(line).substr(first + 1, second - first - 1);
    if (is_v2 ? controllers.empty() : has_item(controllers, "cpu")) return line.substr(second + 1);
  }
  return std::nullopt;
}

// proc(5), mountinfo: number, parent, device, what of the hierarchy is mounted, where, options, …, "-", type, source,
// options of the hierarchy. A container may see only what is below its own group, under the path of the whole.
std::vector<CpuGroup> cpu_groups(const fs::path& root) {
  std::vector<CpuGroup> groups;
  std::ifstream file(root / "proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> words = words_of(line);
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (words.size() < 6 || words.end() - dash < 4) continue;
    const bool is_v2 = dash[1] == "cgroup2";
    if (!is_v2 && (dash[1] != "cgroup" || !has_item(dash[3], "cpu"))) continue;
    const std::optional<fs::path> path = group_path(root, is_v2);
    if (!path) continue;
    const fs::path mounted = root / fs::path(words[4]).relative_path();
    const fs::path below = path->lexically_relative(words[3]);
    const bool is_seen = !below.empty() && *below.begin() != ".." && below != ".";
    groups.push_back({is_seen ? mounted / below : mounted, mounted, is_v2});
  }
  return groups;
}

// Microseconds in a file of one or two words, the first of which may be "max" or -1: no limit.
CpuQuota quota_of(const fs::path& folder, bool is_v2) {
  double run_us = 0.0, period_us = 0.0;
  if (is_v2) {
    std::ifstream(folder / "cpu.max") >> run_us >> period_us;
  } else {
    std::ifstream(folder / "cpu.cfs_quota_us") >> run_us;
    std::ifstream(folder / "cpu.cfs_period_us") >> period_us;
  }
  if (run_us <= 0.0 || period_us <= 0.0) return {};
  return {run_us * 1e-3, period_us * 1e-3};
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

void keep_freed_memory() {
  constexpr int kAnyAmount = 1 << 30;
  constexpr int kLargestThreshold = 32 << 20;  // that glibc allows
  ::mallopt(M_ARENA_MAX, 1);
  ::mallopt(M_TRIM_THRESHOLD, kAnyAmount);
  ::mallopt(M_MMAP_THRESHOLD, kLargestThreshold);
}

void give_back_freed_memory() { ::malloc_trim(0); }

std::uint64_t trimmed_resident_bytes() {
  give_back_freed_memory();
  return kilobytes(field_of("/proc/self/status", "VmRSS"));
}

std::int64_t process_time_ns() { return time_ns(CLOCK_PROCESS_CPUTIME_ID); }
std::int64_t thread_time_ns() { return time_ns(CLOCK_THREAD_CPUTIME_ID); }

void lower_priority(int nice) {
  if (::getpriority(PRIO_PROCESS, 0) >= nice) return;
  if (::setpriority(PRIO_PROCESS, 0, nice) != 0) log_debug("{}", errno_message(errno));  // on Linux: of the thread
}

CpuQuota cpu_quota(const std::filesystem::path& root) {
  CpuQuota tightest;
  for (const CpuGroup& group : cpu_groups(root)) {
    // A group's limit holds for all below it.
    for (fs::path folder = group.folder;; folder = folder.parent_path()) {
      const CpuQuota found = quota_of(folder, group.is_v2);
      const bool is_tighter = found.run_ms * tightest.period_ms < tightest.run_ms * found.period_ms;
      if (found.period_ms > 0.0 && (tightest.period_ms == 0.0 || is_tighter)) tightest = found;
      if (folder == group.mounted || !folder.has_relative_path()) break;
    }
  }
  return tightest;
}

}  // namespace onnx_split
