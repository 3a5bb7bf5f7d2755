// How a kernel's inner loops are compiled: as plain loops that the compiler vectorises, once for each class of
// processor.
//
// All versions give the same bits: floating-point contraction is off, and every sum has its order written out.
#pragma once

#include <cstdint>
#include <cstring>

// ONNX_SPLIT_CLONES before a function: compiled for several processors, the best is chosen when the program loads.
// Where one baseline serves (arm64 has NEON), or the sanitizers start too late for the choosing, it means nothing.
#if defined(__x86_64__) && defined(__GNUC__) && defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define ONNX_SPLIT_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define ONNX_SPLIT_CLONES
#endif

// For the parts of such a function that are functions themselves: they must be compiled as it is.
#define ONNX_SPLIT_INLINE inline __attribute__((always_inline))

namespace onnx_split {

// Sixteen floats at any address; arithmetic is element by element. The compiler splits it into what the processor has.
typedef float Float16 __attribute__((vector_size(64), aligned(4), may_alias));  // NOLINT(modernize-use-using)
inline constexpr std::int64_t kFloat16Lanes = 16;

// Not a function that returns a Float16: how one is returned differs between processors.
ONNX_SPLIT_INLINE const Float16& at(const float* p) { return *reinterpret_cast<const Float16*>(p); }

ONNX_SPLIT_INLINE float sum_lanes(const Float16& v) {
  float lanes[kFloat16Lanes];
  *reinterpret_cast<Float16*>(lanes) = v;
  for (std::int64_t half = kFloat16Lanes / 2; half > 0; half /= 2) {
    for (std::int64_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

// memcpy without the call, for runs that are mostly short: rows of small pictures.
ONNX_SPLIT_INLINE void copy_run(float* target, const float* source, std::int64_t count) {
  constexpr std::int64_t kLong = 128;
  if (count >= kLong) {
    std::memcpy(target, source, static_cast<std::size_t>(count) * sizeof(float));
    return;
  }
  for (; count >= 16; count -= 16, target += 16, source += 16) std::memcpy(target, source, 16 * sizeof(float));
  if ((count & 8) != 0) {
    std::memcpy(target, source, 8 * sizeof(float));
    target += 8;
    source += 8;
  }
  if ((count & 4) != 0) {
    std::memcpy(target, source, 4 * sizeof(float));
    target += 4;
    source += 4;
  }
  if ((count & 2) != 0) {
    std::memcpy(target, source, 2 * sizeof(float));
    target += 2;
    source += 2;
  }
  if ((count & 1) != 0) *target = *source;
}

}  // namespace onnx_split
