#include "engine/blas_core.h"

#include <cblas.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <iterator>

namespace onnx_split {
namespace {

constexpr const char* kCoreVariable = "OPENBLAS_CORETYPE";
constexpr const char* kThreadsVariable = "OPENBLAS_NUM_THREADS";
// Set before the program is executed again, so that it never is a third time.
constexpr const char* kGuardVariable = "ONNX_SPLIT_BLAS_CORE_CHOSEN";

// Kernels for AVX-512, and for AVX2 with FMA. Compared without regard to case: OpenBLAS itself isn't consistent.
constexpr std::array<std::string_view, 3> kAvx512Cores = {"skylakex", "cooperlake", "sapphirerapids"};
constexpr std::array<std::string_view, 3> kAvx2Cores = {"haswell", "zen", "excavator"};

struct ArmCore {
  std::uint32_t part;
  std::string_view core;
};
// The slowest first. Part numbers: Arm's MIDR_EL1 documentation.
constexpr std::array kArmCores = {
    ArmCore{0xd03, "CORTEXA53"},                                 // Raspberry Pi 3
    ArmCore{0xd07, "CORTEXA57"},  ArmCore{0xd08, "CORTEXA72"},   // Raspberry Pi 4
    ArmCore{0xd09, "CORTEXA73"},  ArmCore{0xd0b, "NEOVERSEN1"},  // Cortex-A76, Raspberry Pi 5
    ArmCore{0xd0c, "NEOVERSEN1"},
};

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return text;
}

template <std::size_t kCount>
bool among(const std::array<std::string_view, kCount>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

CpuFacts this_cpu() {
  CpuFacts facts;
  facts.openblas_core = blas_core();
#if defined(__x86_64__)
  __builtin_cpu_init();
  facts.avx512 = __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
                 __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0;
  facts.avx2_fma = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
#elif defined(__aarch64__)
  std::ifstream file("/proc/cpuinfo");  // not by read_file: it has no size beforehand
  const std::string cpuinfo{std::istreambuf_iterator<char>(file), {}};
  facts.arm_part = arm_part_of_cpuinfo(cpuinfo);
#endif
  return facts;
}

// The hexadecimal number behind "name ... : 0x", if the line is of that name.
std::uint32_t hexadecimal_field(std::string_view line, std::string_view name) {
  const std::size_t mark = line.find(": 0x");
  std::uint32_t number = 0;
  if (!line.starts_with(name) || mark == std::string_view::npos) return 0;
  std::from_chars(line.data() + mark + 4, line.data() + line.size(), number, 16);
  return number;
}

}  // namespace

std::string blas_core() { return openblas_get_corename(); }

std::string best_core(const CpuFacts& facts) {
  const std::string own = lower(facts.openblas_core);
  std::string_view best;
  if (facts.avx512) {
    if (!among(kAvx512Cores, own)) best = "SkylakeX";
  } else if (facts.avx2_fma) {
    if (!among(kAvx2Cores, own)) best = "Haswell";
  } else if (facts.arm_part != 0) {
    const auto row = std::find_if(kArmCores.begin(), kArmCores.end(),
                                  [&](const ArmCore& core) { return core.part == facts.arm_part; });
    if (row != kArmCores.end() && lower(std::string(row->core)) != own) best = row->core;
  }
  return std::string(best);
}

std::uint32_t arm_part_of_cpuinfo(std::string_view cpuinfo) {
  constexpr std::uint32_t kArmLtd = 0x41;
  const auto rank = [](std::uint32_t part) {
    return std::find_if(kArmCores.begin(), kArmCores.end(), [&](const ArmCore& core) { return core.part == part; }) -
           kArmCores.begin();
  };
  std::uint32_t implementer = 0;
  std::uint32_t fastest = 0;
  while (!cpuinfo.empty()) {
    const std::string_view line = cpuinfo.substr(0, cpuinfo.find('\n'));
    cpuinfo.remove_prefix(std::min(line.size() + 1, cpuinfo.size()));
    if (const std::uint32_t value = hexadecimal_field(line, "CPU implementer")) implementer = value;
    const std::uint32_t part = hexadecimal_field(line, "CPU part");
    if (part == 0 || implementer != kArmLtd) continue;
    const bool known = rank(part) < static_cast<std::ptrdiff_t>(kArmCores.size());
    if (known && (fastest == 0 || rank(part) > rank(fastest))) fastest = part;
  }
  return fastest;
}

void ensure_blas_core(char** argv) {
  openblas_set_num_threads(1);
  if (std::getenv(kCoreVariable) != nullptr || std::getenv(kGuardVariable) != nullptr) return;
  const std::string core = best_core(this_cpu());
  if (core.empty()) return;
  setenv(kCoreVariable, core.c_str(), 1);
  setenv(kThreadsVariable, "1", 0);
  setenv(kGuardVariable, "1", 1);
  execv("/proc/self/exe", argv);
  unsetenv(kCoreVariable);
}

}  // namespace onnx_split
