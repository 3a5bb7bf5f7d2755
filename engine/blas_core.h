// OpenBLAS chooses its kernels when the library loads, and Debian's 0.3.21 doesn't know newer cores: it falls back to
// slow ones. The right choice must stand in the environment before the process starts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace onnx_split {

// Call first in main(): where OpenBLAS's own choice isn't the best for this processor and the user hasn't set
// OPENBLAS_CORETYPE, sets it (and OPENBLAS_NUM_THREADS=1: our threads own the parallelism) and executes the program
// again. Returns where nothing has to change, or if executing again fails (slower, not wrong).
void ensure_blas_core(char** argv);

// The core type whose kernels OpenBLAS uses in this process: "SkylakeX". Plans record it, because it decides the bits.
std::string blas_core();

// What decides the best core type.
struct CpuFacts {
  std::string openblas_core;  // OpenBLAS's own choice
  bool avx512 = false;        // F, DQ, BW and VL
  bool avx2_fma = false;
  std::uint32_t arm_part = 0;  // of an Arm Ltd. core: MIDR's part number; 0 elsewhere
};

// The core type that OPENBLAS_CORETYPE should name; empty where OpenBLAS's own choice is good.
std::string best_core(const CpuFacts& facts);

// The part number of the fastest Arm Ltd. core that a /proc/cpuinfo lists ("CPU implementer : 0x41", "CPU part :
// 0xd08"); 0 if none.
std::uint32_t arm_part_of_cpuinfo(std::string_view cpuinfo);

}  // namespace onnx_split
