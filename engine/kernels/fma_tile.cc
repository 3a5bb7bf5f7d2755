#include "engine/kernels/fma_tile.h"

#include <array>
#include <utility>

#include "engine/kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/fma_tile.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "engine/kernels/widen-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onnx_split {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::CappedTag<float, 16>;
constexpr std::int64_t kLanes = hn::MaxLanes(Floats());
constexpr std::int64_t kBlock = 16;
constexpr std::int64_t kCacheLine = 64;
#if HWY_TARGET <= HWY_AVX3
constexpr std::int64_t kPanel = 32, kPositions = 14, kDepthwisePositions = 8;
#elif HWY_TARGET == HWY_AVX2 || HWY_ARCH_ARM
constexpr std::int64_t kPanel = 16, kPositions = 6, kDepthwisePositions = 4;
#else
constexpr std::int64_t kPanel = 16, kPositions = 2, kDepthwisePositions = 2;
#endif

using Vector = hn::Vec<Floats>;

template <std::int64_t kCount, std::int64_t kVectors>
HWY_INLINE void finish(const FmaTile& tile, Vector (&sums)[kCount][kVectors]) {
  const Floats d;
  const Vector low = hn::Set(d, tile.low), high = hn::Set(d, tile.high);
#pragma GCC unroll 16
  for (std::int64_t v = 0; v < kVectors; ++v) {
    const std::int64_t block = v * kLanes / kBlock;
    if (block >= tile.blocks) break;
    const std::int64_t offset = block * tile.y_block + v * kLanes % kBlock;
#pragma GCC unroll 16
    for (std::int64_t p = 0; p < kCount; ++p) {
      Vector sum = sums[p][v];
      if (tile.bias != nullptr) sum = hn::Add(sum, hn::LoadU(d, tile.bias + v * kLanes));
      if (tile.addend != nullptr) sum = hn::Add(sum, hn::LoadU(d, tile.addend + offset + p * tile.y_step));
      if (tile.clamp) {
        sum = hn::IfThenElse(hn::Lt(sum, low), low, sum);
        sum = hn::IfThenElse(hn::Gt(sum, high), high, sum);
      }
      hn::StoreU(sum, d, tile.y + offset + p * tile.y_step);
    }
  }
}

// kStep: of the positions in x, 0: as the tile says.
template <std::int64_t kCount, std::int64_t kPanelSize, std::int64_t kStep, class Weight>
void multiply(const FmaTile& tile) {
  constexpr std::int64_t kVectors = kPanelSize / kLanes;
  const Floats d;
  Vector sums[kCount][kVectors];
#pragma GCC unroll 16
  for (std::int64_t p = 0; p < kCount; ++p) {
#pragma GCC unroll 16
    for (std::int64_t v = 0; v < kVectors; ++v) sums[p][v] = hn::Zero(d);
  }
  const std::int64_t step = kStep == 0 ? tile.x_step : kStep;
  const std::byte* next = tile.next;
  for (std::int64_t r = 0; r < tile.run_count; ++r) {
    for (std::int64_t line = 0; line < tile.next_lines; ++line, next += kCacheLine) {
      __builtin_prefetch(next, 0, 2);  // to be read, into the second cache
    }
    const Weight* HWY_RESTRICT w = static_cast<const Weight*>(tile.weights) + tile.runs[r].depth * kPanelSize;
    const float* HWY_RESTRICT x = tile.x + tile.runs[r].offset;
    const float* const end = x + tile.runs[r].length;
    for (; x != end; ++x, w += kPanelSize) {
      Vector weights[kVectors];
#pragma GCC unroll 16
      for (std::int64_t v = 0; v < kVectors; ++v) weights[v] = load_weights(d, w + v * kLanes);
#pragma GCC unroll 16
      for (std::int64_t p = 0; p < kCount; ++p) {
        const Vector value = hn::Set(d, x[p * step]);
#pragma GCC unroll 16
        for (std::int64_t v = 0; v < kVectors; ++v) sums[p][v] = hn::MulAdd(value, weights[v], sums[p][v]);
      }
    }
  }
  finish<kCount, kVectors>(tile, sums);
}

template <std::int64_t kCount, std::int64_t kStep>
void multiply_depthwise(const FmaTile& tile) {
  constexpr std::int64_t kVectors = kBlock / kLanes;
  const Floats d;
  Vector sums[kCount][kVectors];
#pragma GCC unroll 16
  for (std::int64_t p = 0; p < kCount; ++p) {
#pragma GCC unroll 16
    for (std::int64_t v = 0; v < kVectors; ++v) sums[p][v] = hn::Zero(d);
  }
  const std::int64_t step = kStep == 0 ? tile.x_step : kStep;
  for (std::int64_t r = 0; r < tile.run_count; ++r) {
    const float* HWY_RESTRICT w = static_cast<const float*>(tile.weights) + tile.runs[r].depth * kBlock;
    const float* HWY_RESTRICT x = tile.x + tile.runs[r].offset;
#pragma GCC unroll 16
    for (std::int64_t v = 0; v < kVectors; ++v) {
      const Vector weights = hn::LoadU(d, w + v * kLanes);
#pragma GCC unroll 16
      for (std::int64_t p = 0; p < kCount; ++p) {
        sums[p][v] = hn::MulAdd(hn::LoadU(d, x + p * step + v * kLanes), weights, sums[p][v]);
      }
    }
  }
  finish<kCount, kVectors>(tile, sums);
}

template <std::int64_t kPanelSize, std::int64_t kStep, class Weight, std::size_t... kIndex>
constexpr std::array<FmaTileFunction, sizeof...(kIndex)> functions_of(std::index_sequence<kIndex...>) {
  return {multiply<std::int64_t{kIndex} + 1, kPanelSize, kStep, Weight>...};
}
template <std::int64_t kPanelSize, std::int64_t kStep, class Weight>
constexpr auto functions() {
  return functions_of<kPanelSize, kStep, Weight>(std::make_index_sequence<kPositions>());
}

template <std::int64_t kPanelSize, class Weight>
FmaTileFunction function_of_panel(std::int64_t positions, std::int64_t x_step) {
  static constexpr auto k16 = functions<kPanelSize, 16, Weight>(), k32 = functions<kPanelSize, 32, Weight>(),
                        kAny = functions<kPanelSize, 0, Weight>();
  return (x_step == 16 ? k16 : x_step == 32 ? k32 : kAny)[static_cast<std::size_t>(positions - 1)];
}

FmaTileFunction find_function(std::int64_t positions, std::int64_t x_step, bool narrow, bool half) {
  if (half) {
    return narrow ? function_of_panel<16, Half>(positions, x_step) : function_of_panel<kPanel, Half>(positions, x_step);
  }
  return narrow ? function_of_panel<16, float>(positions, x_step) : function_of_panel<kPanel, float>(positions, x_step);
}

template <std::int64_t kStep, std::size_t... kIndex>
constexpr std::array<FmaTileFunction, sizeof...(kIndex)> depthwise_functions_of(std::index_sequence<kIndex...>) {
  return {multiply_depthwise<std::int64_t{kIndex} + 1, kStep>...};
}
template <std::int64_t kStep>
constexpr auto depthwise_functions() {
  return depthwise_functions_of<kStep>(std::make_index_sequence<kDepthwisePositions>());
}

FmaTileFunction find_depthwise(std::int64_t positions, std::int64_t x_step) {
  static constexpr auto k16 = depthwise_functions<16>(), k32 = depthwise_functions<32>(),
                        kAny = depthwise_functions<0>();
  return (x_step == 16 ? k16 : x_step == 32 ? k32 : kAny)[static_cast<std::size_t>(positions - 1)];
}

FmaTiles find_tiles() { return {kPanel, kPositions, find_function, kDepthwisePositions, find_depthwise}; }

}  // namespace HWY_NAMESPACE
}  // namespace onnx_split
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onnx_split {

HWY_EXPORT(find_tiles);

namespace {
constexpr std::int64_t kCacheLine = 64;
}

void prefetch_meanwhile(FmaTile& tile, const void* next, std::int64_t bytes, std::int64_t calls) {
  tile.next = static_cast<const std::byte*>(next);
  tile.next_end = next == nullptr ? nullptr : tile.next + bytes;
  const std::int64_t lines_per_run = kCacheLine * calls * tile.run_count;
  tile.next_lines = next == nullptr || lines_per_run == 0 ? 0 : (bytes + lines_per_run - 1) / lines_per_run;
}

void prefetch_further(FmaTile& tile) {
  const std::int64_t bytes = tile.next_lines * tile.run_count * kCacheLine;
  if (tile.next_end - tile.next <= bytes) {
    tile.next_lines = 0;
  } else {
    tile.next += bytes;
  }
}

const FmaTiles& fma_tiles() {
  static const FmaTiles tiles = HWY_DYNAMIC_DISPATCH(find_tiles)();
  return tiles;
}

std::vector<std::pair<std::string, FmaTiles>> all_fma_tiles() {
  std::vector<std::pair<std::string, FmaTiles>> all;
  for (const auto target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    all.emplace_back(hwy::TargetName(target), HWY_DYNAMIC_DISPATCH(find_tiles)());
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  return all;
}

}  // namespace onnx_split
#endif
