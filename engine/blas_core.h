// OpenBLAS chooses its kernels when the library loads, and Debian's 0.3.21 doesn't know newer cores: it falls back to slow
// ones. The right choice must stand in the environment before the process starts.
#pragma once

#include <string>

namespace onnx_split {

// Call first in main(): where OpenBLAS's own choice isn't the best for this processor and the user hasn't set OPENBLAS_CORETYPE,
// sets it (and OPENBLAS_NUM_THREADS=1: our threads own the parallelism) and executes the program again. Returns where
// nothing has to change, or if executing again fails (slower, not wrong).
void ensure_blas_core(char** argv);

// The core type whose kernels OpenBLAS uses in this process: "SkylakeX". Plans record it, because it decides the bits.
std::string blas_core();

}  // namespace onnx_split
