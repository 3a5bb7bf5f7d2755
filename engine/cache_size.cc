#include "engine/cache_size.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <string_view>

namespace onnx_split {
namespace {

constexpr std::int64_t kUnknown = 256 * 1024;
constexpr std::int64_t kSmallest = 64 * 1024, kLargest = std::int64_t{1} << 30;

std::string word_of(const std::string& path) {
  std::string word;
  std::ifstream(path) >> word;
  return word;
}

// What remains of the text is behind the number.
std::optional<std::int64_t> take_number(std::string_view& text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return number;
}

// "2048K"
std::optional<std::int64_t> bytes_of(std::string_view text) {
  const auto number = take_number(text);
  if (!number || *number <= 0 || *number > kLargest) return std::nullopt;
  if (text == "K") return *number * 1024;
  if (text == "M") return *number * 1024 * 1024;
  return std::nullopt;
}

// "0-3,8": 5
std::optional<std::int64_t> cores_of(std::string_view text) {
  std::int64_t cores = 0;
  while (true) {
    const auto first = take_number(text);
    if (!first) return std::nullopt;
    std::int64_t last = *first;
    if (text.starts_with('-')) {
      text.remove_prefix(1);
      const auto number = take_number(text);
      if (!number || *number < *first) return std::nullopt;
      last = *number;
    }
    cores += last - *first + 1;
    if (text.empty()) return cores;
    if (!text.starts_with(',')) return std::nullopt;
    text.remove_prefix(1);
  }
}

}  // namespace

std::optional<std::int64_t> own_second_cache_bytes(const std::string& folder) {
  for (int i = 0; i < 8; ++i) {
    const std::string cache = folder + "/index" + std::to_string(i) + "/";
    if (word_of(cache + "level") != "2" || word_of(cache + "type") == "Instruction") continue;
    const auto bytes = bytes_of(word_of(cache + "size"));
    const auto cores = cores_of(word_of(cache + "shared_cpu_list"));
    if (bytes && cores) return std::max(*bytes / *cores, kSmallest);
  }
  return std::nullopt;
}

std::int64_t own_second_cache_bytes() {
  static const std::int64_t bytes = [] {
    if (const auto said = own_second_cache_bytes("/sys/devices/system/cpu/cpu0/cache")) return *said;
    const std::int64_t known = ::sysconf(_SC_LEVEL2_CACHE_SIZE);
    return known >= kSmallest && known <= kLargest ? known : kUnknown;
  }();
  return bytes;
}

std::int64_t cached_floats() { return own_second_cache_bytes() * 3 / 4 / static_cast<std::int64_t>(sizeof(float)); }

}  // namespace onnx_split
